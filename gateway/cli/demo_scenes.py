"""``onpath demo``: the main job, and scenes of a network, each a verb below it. Light: a scene imports when it runs.

A new scene is one more command here; the plain ``onpath demo`` stays what it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import AsJson

app = typer.Typer(
    name="demo",
    help="Run the main job on this machine: 50 simulated devices, broker, gateway and receiver. Or another scene.",
    invoke_without_command=True,
)

For = Annotated[str | None, typer.Option("--for", metavar="DURATION", help="End by itself, such as 20s.")]
DeviceRate = Annotated[float, typer.Option("--rate", min=0.1, max=500, help="Messages a second of each MQTT device.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the devices' noise.")]
Judged = Annotated[str, typer.Option("--for", metavar="DURATION", help="How long windows are counted, such as 40s.")]
Picture = Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Write a picture of what went where.")]


@app.callback()
def demo(
    context: typer.Context, for_: For = None, as_json: AsJson = False, rate: DeviceRate = 5.0, seed: Seed = 1
) -> None:
    """Run the main job on this machine: 50 simulated devices, broker, gateway and receiver. Or another scene."""
    if context.invoked_subcommand is None:
        site(for_=for_, as_json=as_json, rate=rate, seed=seed)


@app.command()
def site(for_: For = None, as_json: AsJson = False, rate: DeviceRate = 5.0, seed: Seed = 1) -> None:
    """The main job: 50 simulated devices, broker, gateway and receiver. What `onpath demo` alone runs."""
    from gateway.cli.demo import run_demo

    run_demo(for_=for_, as_json=as_json, rate=rate, seed=seed)


@app.command()
def cluster(
    workers: Annotated[int, typer.Option(min=2, max=64, help="Processes that learn together.")] = 8,
    aggregators: Annotated[int, typer.Option(min=1, max=16, help="Gateways between them and the root.")] = 2,
    rounds: Annotated[int | None, typer.Option(min=8, help="Steps of each way of learning; default: 40.")] = None,
    for_: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="Instead of --rounds: about so long in all.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the first weights and the samples.")] = 1,
    picture: Picture = None,
    as_json: AsJson = False,
) -> None:
    """Learn with many workers: sums are made on the way, by AllReduce and by a parameter server, exact to the bit."""
    from gateway.cli.demo_cluster import Request, run_cluster

    if rounds is not None and for_ is not None:
        raise typer.BadParameter("--rounds and --for exclude each other")
    if aggregators > workers:
        raise typer.BadParameter("more aggregators than workers", param_hint="--aggregators")
    run_cluster(
        Request(
            workers=workers, aggregators=aggregators, rounds=rounds, for_=for_, seed=seed, picture=picture,
            as_json=as_json,
        )
    )  # fmt: skip


@app.command()
def grid(
    for_: Judged = "40s",
    meters: Annotated[int, typer.Option(min=12, max=400, help="Households, on four feeders.")] = 60,
    seed: Seed = 1,
    picture: Picture = None,
    as_json: AsJson = False,
) -> None:
    """One transformer area as a network of gateways: demand, line loss, voltage, an outage found, exact throughout."""
    from gateway.cli.demo_network import Request, run_grid

    run_grid(Request(for_=for_, seed=seed, picture=picture, as_json=as_json), meters)


@app.command()
def park(
    for_: Judged = "40s",
    rooms: Annotated[int, typer.Option(min=2, max=60, help="Room sensors of each floor (CoAP).")] = 12,
    units: Annotated[int, typer.Option(min=1, max=20, help="Units of ventilation of each floor (MQTT).")] = 4,
    seed: Seed = 1,
    picture: Picture = None,
    as_json: AsJson = False,
) -> None:
    """A building whose devices join by themselves: occupancy and runtime of the ventilation by floor and building."""
    from gateway.cli.demo_network import Request, run_park

    run_park(Request(for_=for_, seed=seed, picture=picture, as_json=as_json), rooms, units)
