"""What a benchmark gives back, and how large it is."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from pathlib import Path
from statistics import median

import msgspec


class Row(msgspec.Struct, kw_only=True):
    """One line of the table."""

    name: str
    measured: float
    unit: str
    reference: float | None = None
    """The bare reference in the same unit."""
    ratio: float | None = None
    """Measured to reference, or the other way round where ``bar`` says "faster"."""
    bar: str = ""
    """What the row must reach (or, with "aim", should); empty: reported only."""
    ok: bool | None = None
    """Whether it does; None without a bar."""
    notes: str = ""
    details: dict[str, float | int | str] = {}
    """More figures, for machines."""

    def __post_init__(self) -> None:
        self.measured = significant(self.measured)
        self.reference = None if self.reference is None else significant(self.reference)
        self.ratio = None if self.ratio is None else round(self.ratio, 2)


def significant(number: float, digits: int = 4) -> float:
    """Rounded to so many significant digits."""
    return float(f"{number:.{digits}g}")


def costs(name: str, ours: Sequence[float], bare: Sequence[float], unit: str, most: float | None, **more) -> Row:
    """A row of costs from interleaved rounds: the median of each, and the ratio of the two.

    The median and not the best: two processes that talk to each other run in one of two states, on one core or on
    two, that differ by half and more; the best of each would compare one with the other.

    Args:
        ours, bare: cost in ``unit``, one a round.
        most: the ratio that is allowed, None if it is only reported.
    """
    middle, reference = median(ours), median(bare)
    ratio = middle / reference if reference else inf  # the kernel counts in ticks: a tiny run may take none
    return Row(
        name=name,
        measured=middle,
        reference=reference,
        ratio=ratio,
        unit=unit,
        bar=f"at most {most:g}x" if most else "",
        ok=ratio <= most if most else None,
        notes=lines(more.pop("notes", ""), f"rounds {shown(ours)} to {shown(bare)}"),
        **more,
    )


def shown(figures: Sequence[float]) -> str:
    """Figures of all rounds, in short."""
    return "/".join(f"{significant(figure, 3):g}" for figure in figures)


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """How much each row does."""

    rounds: int = 3
    messages: int = 200_000
    """MQTT messages of a run at saturation."""
    qos1_messages: int = 80_000
    """The same with QoS 1: the broker keeps each on disk, and is slower by far."""
    window_messages: int = 15_000
    """QoS 1 through a window of 20."""
    topics: int = 10_000
    large_messages: int = 2_000
    """Of 64 kB."""
    adapter_messages: int = 100_000
    paced_rate: int = 5_000
    """Messages a second."""
    paced_messages: int = 20_000
    paced_rounds: int = 2
    maps: int = 200
    """Random register maps that are planned."""
    fleet: int = 1_000
    """Modbus devices, each with a connection of its own."""
    fleet_s: float = 20.0
    jitter_s: float = 30.0
    """How long the periods of live units are watched, with dead ones beside them and without."""
    modbus_s: float = 2.0
    modbus_rounds: int = 4
    """More than elsewhere: two processes that wait for each other in turn are measured least evenly."""
    observed: int = 100
    """CoAP devices with ten observed resources each."""
    notifications: int = 20_000
    samples: int = 100_000
    """Samples that the operators' rows work through."""
    simulated: int = 1_000_000
    """Samples of each file that is simulated."""
    operator_rounds: int = 7
    each_operator: bool = True
    latency_rates: tuple[int, ...] = (1_000, 10_000)
    """Samples a second."""
    latency_s: float = 5.0
    warm_s: float = 1.0
    """What is sent before the latency counts."""
    looked_at: int = 25_000
    """Devices of four points each that a console shows."""
    look_s: float = 3.0
    """What passes before the CPU of a gateway that is looked at counts."""
    devices: int = 20
    registers: int = 500
    """Of each device, one point each."""
    settle_s: float = 5.0
    """How long the daemon runs before its memory is read."""
    starts: int = 3
    backlog_quiet_s: float = 10.0
    backlog_cut_s: float = 20.0
    """How long the uplink is away."""
    commits: int = 600
    """Group commits of 500 samples."""
    uplink_batches: int = 500
    """Batches of 2,000 samples that an uplink has to send."""
    history_s: int = 6 * 3600
    """Seconds of a thousand samples that the local history holds."""
    spool_bytes: int = 2**30
    """Of the spool that a start finds."""
    recovered_points: int = 100_000
    recovered_s: float = 60.0
    """Of journal that is replayed, at 10,000 samples a second."""
    codec_s: float = 0.25
    """How long each codec is repeated."""
    reduced_rounds: int = 100
    """Rounds of each way in which workers learn together."""
    plan_small: int = 100
    plan_large: int = 1_000
    """Gateways that are planned."""
    plan_storm: int = 1_000
    plan_reference_s: float = 20.0
    """How long HiGHS has for the relaxation."""


FULL = Sizes()
QUICK = Sizes(
    reduced_rounds=30,
    rounds=1,
    messages=100_000,
    qos1_messages=40_000,
    window_messages=9_000,
    large_messages=1_000,
    adapter_messages=40_000,
    paced_messages=10_000,
    paced_rounds=1,
    modbus_s=1.0,
    fleet_s=5.0,
    jitter_s=6.0,
    maps=50,
    modbus_rounds=1,
    notifications=10_000,
    operator_rounds=3,
    each_operator=False,
    latency_s=1.5,
    warm_s=0.5,
    settle_s=2.0,
    backlog_quiet_s=4.0,
    backlog_cut_s=6.0,
    starts=1,
    commits=200,
    spool_bytes=2**28,
    codec_s=0.1,
    plan_storm=200,
    uplink_batches=200,
    history_s=1800,
)
TINY = msgspec.structs.replace(
    QUICK,
    messages=1_000,
    qos1_messages=500,
    window_messages=200,
    topics=50,
    large_messages=50,
    adapter_messages=500,
    paced_messages=500,
    modbus_s=0.1,
    fleet=10,
    fleet_s=0.2,
    jitter_s=1.6,
    maps=2,
    observed=4,
    notifications=500,
    samples=20_000,
    simulated=20_000,
    operator_rounds=1,
    latency_rates=(800,),
    latency_s=0.3,
    warm_s=0.1,
    looked_at=4_000,
    look_s=0.5,
    devices=3,
    registers=130,
    settle_s=0.1,
    backlog_quiet_s=0.5,
    backlog_cut_s=1.0,
    commits=10,
    spool_bytes=2**21,
    recovered_points=1_000,
    recovered_s=1.0,
    codec_s=0.01,
    plan_small=20,
    plan_large=60,
    plan_storm=30,
    uplink_batches=5,
    history_s=120,
)
"""To show that the rows work at all."""


class Bench(msgspec.Struct, frozen=True):
    """What every row gets: sizes, and a fresh folder on a disk."""

    sizes: Sizes
    folder: Path
    fsync_ms: float


def lines(*parts: str) -> str:
    """Parts of a note, the empty ones left out."""
    return "; ".join(filter(None, parts))
