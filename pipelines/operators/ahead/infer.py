"""``infer``: run a model of your own (ONNX) over windows of points."""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from gateway.errors import FieldError
from gateway.units import Duration
from pipelines.base import OperatorConfig
from pipelines.operators.shape.joining import stars

if TYPE_CHECKING:
    from pipelines.base import Operator, Points

MAX_ROWS: Final = 10_000
"""How many steps of the grid a window may reach back."""
MAX_CELLS: Final = 100_000
"""Numbers that one run may take for one group."""
_MAX_WAIT_S: Final = 7 * 86_400
_NAME: Final = re.compile(r"[^\x00-\x20\x7f+?/]+(?:/[^\x00-\x20\x7f+?/]+)*\Z")
_EXAMPLE: Final = str(Path(__file__).parents[2] / "examples" / "mean4.onnx")


class Layout(enum.StrEnum):
    """Which axis follows the batch."""

    TIME = "time"
    POINTS = "points"


class Fill(enum.StrEnum):
    """What a point has between two samples."""

    LAST = "last"
    LINEAR = "linear"


class InferInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one input of the model is fed with."""

    points: list[str]
    """The points, in the order of the model: ``m1/u``, or ``*/u`` for each device."""
    window: int = 1
    """How many values of each point, the newest last."""
    every: Duration = Duration(1)
    """How far they lie apart: a multiple of the shortest ``every`` of the step, on a grid since 1970 UTC."""
    layout: Layout = Layout.TIME
    """``time``: batch x window x points; ``points``: batch x points x window."""


class InferOutput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of one output of the model."""

    set: str | list[str]
    """The name of its point, with a ``*`` for each one of the inputs; of several numbers a list of names."""
    unit: str = ""
    """Its unit, in UCUM."""

    @property
    def names(self) -> list[str]:
        """As a list, also if a single name was written."""
        return [self.set] if isinstance(self.set, str) else list(self.set)


class InferConfig(OperatorConfig, frozen=True, kw_only=True):
    """Feed windows of points to a model and send on what it gives. Needs the extra: ``pip install 'onpath[infer]'``.

    The points of all inputs are put on one grid, the shortest ``every``: at each of its times a point has its last
    sample, or a value on the line between two (``fill``), if that is not older, or the two not further apart, than
    ``max_gap``. When a window is full, it is run: all groups (what ``*`` stood for) and all times that a tick brings
    in one batch, on one thread, in the numbers that the model takes (float32 as a rule). Results carry the newest time
    of their window. Rows wait until the watermark of the device has passed by ``lateness`` (with ``linear`` by
    ``max_gap`` as well).

    An input of the model is a tensor of batch x window x points, or batch x (window * points), the batch open or 1;
    an output gives one number a window, or a list of numbers. Names, types and shapes are checked when the
    configuration is, with a run on zeros.

    Where a value of the window is missing or invalid the model is not asked: the result has no value, for the same
    reason. A result has the worst quality of its window; one that is no number is invalid. A run that fails is
    repeated window by window; those that fail have no value (other-exception), counted as ``model-error``.

    The model runs between two commits, so its time is time that all wait, but at most ``timeout`` for one run (of up
    to 1,024 windows): a run that takes longer is ended, its windows have no value, counted as ``model-timeout``, and
    the model rests for 1 s, doubling to 60 s while it stays too slow; what comes meanwhile is ``model-resting``.
    onnxruntime ends a run before its next node or turn of a loop; a single node that computes on is left to itself in
    a thread and not waited for. Loading, and a first run on zeros, may take ten times as long, at most 20 s: else the
    configuration is refused. A replay of the journal needs the same file, and does not miss time limits in the same
    places.

    Example::

        steps:
          - infer:
              model: pipelines/examples/mean4.onnx
              inputs: {x: {points: ["*/u", "*/i"], window: 4, every: 1s}}
              outputs: {y: {set: "*/load", unit: W}}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {
            "model": _EXAMPLE,
            "inputs": {"x": {"points": ["*/voltage", "*/power"], "window": 4, "every": "1s"}},
            "outputs": {"y": {"set": "*/load", "unit": "W"}},
            "lateness": "1s",
        },
        {
            "model": _EXAMPLE,
            "inputs": {"x": {"points": ["m1/power", "m2/power"], "window": 4, "every": "500ms"}},
            "outputs": {"y": {"set": ["site/load"]}},
            "fill": "linear",
            "max_gap": "5s",
            "run": "2s",
            "keep": False,
        },
    )

    model: str
    """The file (.onnx); absolute, or relative to the working directory of the daemon (under systemd: ``/``)."""
    inputs: dict[str, InferInput]
    """What each input of the model is fed with, by its name."""
    outputs: dict[str, InferOutput]
    """Which outputs of the model become points, by their names."""
    run: Duration | None = None
    """How often the model is run, a multiple of the shortest ``every``; left out: at each time of the grid."""
    fill: Fill = Fill.LAST
    """What a point has between its samples: the ``last`` one, or a value on the ``linear`` way to the next."""
    max_gap: Duration = Duration(10)
    """How old the last sample may be, or how far two samples may lie apart; at most 10,000 times ``every``."""
    lateness: Duration = Duration(5)
    """How long rows wait for samples that come out of order."""
    keep: bool = True
    """Whether the inputs pass on as well; without it they are consumed."""
    timeout: Duration = Duration(2)
    """Longest that one run of the model may take, 1 ms to 10 s; all pipelines wait with it."""

    def __post_init__(self) -> None:
        if not self.inputs:
            raise FieldError("inputs", "needs the inputs of the model, by their names")
        if not self.outputs:
            raise FieldError("outputs", "needs at least one output of the model, by its name")
        for name, given in self.inputs.items():
            if not given.points or given.window < 1:
                raise FieldError(("inputs", name), "needs points, and a window of at least 1")
            if given.every.ns < 1_000_000:
                raise FieldError(("inputs", name, "every"), "must be at least 1ms")
        self._check_grid()
        self._check_names()
        from pipelines.operators.ahead.infer_model import ModelError

        try:
            self.load()
        except ModelError as error:
            raise FieldError(error.field, str(error)) from None

    def _check_grid(self) -> None:
        base = self.grid_ns
        for name, given in self.inputs.items():
            if given.every.ns % base:
                raise FieldError(("inputs", name, "every"), "must be a multiple of the shortest every of the step")
            if (given.window - 1) * (given.every.ns // base) >= MAX_ROWS:
                raise FieldError(("inputs", name, "window"), f"reaches back more than {MAX_ROWS:,} times every")
        if sum(given.window * len(given.points) for given in self.inputs.values()) > MAX_CELLS:
            raise FieldError("inputs", f"take more than {MAX_CELLS:,} numbers a run")
        if self.run is not None and (self.run.ns % base or self.run.ns < base):
            raise FieldError("run", "must be a multiple of the shortest every of the step")
        if not 0 <= self.max_gap.ns <= MAX_ROWS * base or self.max_gap > _MAX_WAIT_S:
            raise FieldError("max_gap", f"must be at most {MAX_ROWS:,} times every, and 7d")
        if self.fill is Fill.LINEAR and self.max_gap.ns <= 0:
            raise FieldError("max_gap", "must be longer than 0 with fill: linear")
        if self.lateness > _MAX_WAIT_S:
            raise FieldError("lateness", "must be at most 7d")
        if not 1_000_000 <= self.timeout.ns <= 10 * 10**9:
            raise FieldError("timeout", "must be 1ms to 10s: everything waits with it")

    def _check_names(self) -> None:
        count = stars("inputs", self.patterns, shared=True)
        seen: set[str] = set()
        for output, given in self.outputs.items():
            for name in given.names:
                if not _NAME.match(name) or name.count("*") != count or name in seen:
                    told = f"with {count} *, as the inputs have" if count else "without *, as the inputs have none"
                    raise FieldError(("outputs", output, "set"), f"{name!r} must be a point's name of its own, {told}")
                seen.add(name)
            if not given.names:
                raise FieldError(("outputs", output, "set"), "needs a name")

    @property
    def grid_ns(self) -> int:
        """The shortest ``every``, in ns."""
        return min(given.every.ns for given in self.inputs.values())

    @property
    def patterns(self) -> list[str]:
        """The points of all inputs, one behind the other."""
        return [pattern for given in self.inputs.values() for pattern in given.points]

    def load(self) -> Any:
        """The model (:class:`pipelines.operators.ahead.infer_model.Model`).

        Raises:
            ModelError: it cannot be loaded or does not fit.
        """
        from pipelines.operators.ahead.infer_model import Model, ModelError, Window

        file = Path(self.model)
        if not file.is_file():
            where = "" if file.is_absolute() else f" in {Path.cwd()}; better write an absolute path"
            raise ModelError("model", f"there is no file {self.model}{where}")
        windows = {
            name: Window(given.window, len(given.points), given.layout is Layout.POINTS)
            for name, given in self.inputs.items()
        }
        widths = {name: len(given.names) for name, given in self.outputs.items()}
        return Model(self.model, windows, widths, limit_s=float(self.timeout))

    def create(self, points: Points) -> Operator:
        """The operator for these options."""
        from pipelines.operators.ahead.infer_step import Infer

        return Infer(self, points)


def deepest(config: InferConfig) -> int:
    """How many times of the grid a window reaches back at most, itself not counted."""
    base = config.grid_ns
    return max((given.window - 1) * (given.every.ns // base) for given in config.inputs.values())
