"""``onpath service`` and ``onpath nodes``: results stated once for a whole network of gateways.

Light: imports what a verb needs when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import AsJson

app = typer.Typer(
    name="service",
    help="Services: results stated once for a network of gateways, computed on the way.",
    no_args_is_help=True,
)

CarrierUrl = Annotated[
    str | None,
    typer.Option("--carrier", metavar="URL", help="The network: local:/folder or nats://host:4222."),
]
NodeConfig = Annotated[
    Path | None,
    typer.Option("-c", "--config", help="Instead: the configuration of one of its nodes. Else $ONPATH_CARRIER."),
]
ServiceName = Annotated[str, typer.Argument(help="Name of the service.")]


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="YAML files of services, or folders of them.")],
    as_json: AsJson = False,
) -> None:
    """Check services: all problems at once, exit 78 if there are any; else what may run where, and how exact it is."""
    from gateway.cli.service_check import check_services

    check_services(files, as_json=as_json)


@app.command("apply")
def apply_(
    file: Annotated[Path, typer.Argument(help="YAML file of a service.")],
    carrier: CarrierUrl = None,
    config: NodeConfig = None,
    as_json: AsJson = False,
) -> None:
    """Check a service and give it to the network; a controller then plans which step runs where."""
    from gateway.cli.service_apply import apply_service

    apply_service(file, carrier, config, as_json=as_json)


@app.command()
def explain(
    service: Annotated[str, typer.Argument(help="Name of the service; or a file, for one that is not applied yet.")],
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Draw the tree with its stages and bytes.")
    ] = None,
    nodes: Annotated[
        str | None, typer.Option(metavar="FILE", help="With a file: what onpath nodes --json printed; default live.")
    ] = None,
    points: Annotated[
        int, typer.Option(min=1, help="With a file: points of the inputs at an access node that does not know it yet.")
    ] = 20,
    rate: Annotated[float, typer.Option(min=0.0001, help="With a file: samples a second of each.")] = 1.0,
    carrier: CarrierUrl = None,
    config: NodeConfig = None,
    as_json: AsJson = False,
) -> None:
    """Show which step runs where, why, what it costs, and the bytes on each link against raw to the core."""
    from gateway.cli.service_explain import Request, explain_service

    explain_service(Request(service, picture, nodes, points, rate, carrier, config, as_json=as_json))


@app.command()
def status(
    service: Annotated[str | None, typer.Argument(help="Name of a service; default all.")] = None,
    carrier: CarrierUrl = None,
    config: NodeConfig = None,
    as_json: AsJson = False,
) -> None:
    """Show what was applied, what is planned, which nodes follow, and what passes through each tier."""
    from gateway.cli.service_status import show_services

    show_services(service, carrier, config, as_json=as_json)


@app.command()
def remove(
    service: ServiceName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    carrier: CarrierUrl = None,
    config: NodeConfig = None,
    as_json: AsJson = False,
) -> None:
    """Remove a service: nodes give what they hold, and then stop; results that there are stay for a week."""
    from gateway.cli.service_apply import remove_service

    remove_service(service, carrier, config, yes=yes, as_json=as_json)


@app.command()
def results(
    service: ServiceName,
    globs: Annotated[list[str] | None, typer.Argument(help="Globs of points, such as '**#mean'; default all.")] = None,
    last: Annotated[int, typer.Option("-n", "--last", min=0, help="So many of the newest.")] = 20,
    following: Annotated[bool, typer.Option("-f", "--follow", help="Then each as it comes.")] = False,
    for_: Annotated[str | None, typer.Option("--for", metavar="DURATION", help="With --follow: end by itself.")] = None,
    carrier: CarrierUrl = None,
    config: NodeConfig = None,
    as_json: AsJson = False,
) -> None:
    """Show results of a service; what a late part of a window has corrected is shown as it holds now."""
    from gateway.cli.modbus_run import duration
    from gateway.cli.service_results import Request, show_results

    for_s = duration("--for", for_) if for_ else None
    show_results(Request(service, globs or [], last, following, for_s, carrier, config, as_json=as_json))


def nodes(carrier: CarrierUrl = None, config: NodeConfig = None, as_json: AsJson = False) -> None:
    """List the network's nodes: tier, site, headroom, links, what waits, health."""
    from gateway.cli.nodes import show_nodes

    show_nodes(carrier, config, as_json=as_json)


def register(main: typer.Typer) -> None:
    """Put the verbs on the command line."""
    main.add_typer(app)
    main.command()(nodes)
