"""``onpath coap``: tools for whoever looks for a CoAP device and wonders what it says."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    name="coap",
    help="Find CoAP devices, and read and observe their resources.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Url = Annotated[str, typer.Argument(help="coap://HOST/PATH, coap://HOST:PORT/PATH?QUERY, coap+tcp://HOST/PATH")]
Payload = Annotated[str, typer.Option(help="Read payloads as text, json, cbor or senml; auto: as the device says.")]
Accept = Annotated[
    str | None,
    typer.Option(help="Ask for a format: text, link, json, cbor, senml, senml+cbor, or a Content-Format number."),
]
Timeout = Annotated[str, typer.Option(metavar="DURATION", help="How long an answer may take.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print for machines.")]


@app.command()
def get(
    url: Url,
    payload: Payload = "auto",
    accept: Accept = None,
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Read a resource: its values, its code, format, Max-Age and entity tag."""
    from gateway.cli.coap_run import run_get

    run_get(url, payload=payload, accept=accept, timeout=timeout, as_json=as_json)


@app.command()
def observe(
    url: Url,
    payload: Payload = "auto",
    for_: Annotated[str | None, typer.Option("--for", metavar="DURATION", help="End by itself.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many values.")] = None,
    timeout: Timeout = "10s",
    as_json: AsJson = False,
) -> None:
    """Be told of a resource's changes, and print each; exit 1 if the device does not let it be observed."""
    from gateway.cli.coap_run import run_observe

    run_observe(url, payload=payload, for_=for_, count=count, timeout=timeout, as_json=as_json)


@app.command()
def discover(
    targets: Annotated[
        list[str] | None,
        typer.Argument(help="Hosts, URLs, and multicast (or multicast:PORT) for all CoAP nodes; default: multicast."),
    ] = None,
    rt: Annotated[str, typer.Option("--rt", help="Resource type, such as temperature-c or 'core.*'.")] = "",
    if_: Annotated[str, typer.Option("--if", help="Interface description, such as 'core.s'.")] = "",
    interface: Annotated[str, typer.Option(help="Out of which a multicast goes, such as eth0; default: of all.")] = "",
    timeout: Annotated[
        str, typer.Option(metavar="DURATION", help="How long to wait for hosts; those of a multicast take up to 5 s.")
    ] = "6s",
    yaml: Annotated[
        bool, typer.Option("--yaml", help="Print the configuration that would ask what was found.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find CoAP devices and the resources that they list; exit 1 if there are none."""
    from gateway.cli.coap_run import Look, run_discover

    look = Look(targets=targets or ["multicast"], rt=rt, if_=if_, interface=interface, timeout=timeout)
    run_discover(look, as_yaml=yaml, as_json=as_json)
