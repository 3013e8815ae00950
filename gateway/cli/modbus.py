"""``onpath modbus``: tools for whoever stands before a device and wonders what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="modbus",
    help="Read, probe, scan, verify and simulate Modbus devices; plan what a configuration asks of its bus.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Url = Annotated[
    str, typer.Argument(help="tcp://HOST:502, rtu:///dev/ttyUSB0?baudrate=9600, rtu+tcp://, udp://, tls://")
]
Unit = Annotated[int, typer.Option(min=0, max=255, help="Unit id (slave address).")]
At = Annotated[str, typer.Option(help="Table and zero-based address, such as holding:0 or input:0x48.")]
Timeout = Annotated[str, typer.Option(metavar="DURATION", help="How long an answer may take.")]
Pause = Annotated[str, typer.Option(metavar="DURATION", help="Quiet time between an answer and the next request.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print for machines.")]
Ca = Annotated[str, typer.Option(metavar="FILE", help="For tls://: certificates that the device's must come from.")]
Cert = Annotated[str, typer.Option(metavar="FILE", help="For tls://: our own certificate.")]
Key = Annotated[str, typer.Option(metavar="FILE", help="For tls://: the private key of --cert.")]
ServerName = Annotated[str, typer.Option(help="For tls://: name in the device's certificate; default: the host.")]
Profiles = Annotated[str, typer.Option(metavar="FOLDER", help="A folder of further profiles, NAME.yaml each.")]
Params = Annotated[
    list[str] | None, typer.Option("--param", metavar="NAME=NUMBER", help="What the profile must know, such as ct=40.")
]


@app.command()
def read(
    url: Url,
    at: At,
    unit: Unit = 1,
    as_: Annotated[str | None, typer.Option("--as", help="Type, such as float32; default uint16, or bool.")] = None,
    order: Annotated[str, typer.Option(help="Order of the bytes: ABCD, CDAB, BADC or DCBA.")] = "ABCD",
    count: Annotated[int, typer.Option(min=1, max=10_000, help="How many values, one behind the other.")] = 1,
    length: Annotated[int | None, typer.Option(help="Registers of a string.")] = None,
    scale: Annotated[float, typer.Option(help="Multiplies each value.")] = 1.0,
    every: Annotated[str | None, typer.Option(metavar="DURATION", help="Read again and again, such as 1s.")] = None,
    times: Annotated[int | None, typer.Option(min=1, help="With --every: how often; default: until stopped.")] = None,
    timeout: Timeout = "1s",
    pause: Pause = "0",
    ca: Ca = "", cert: Cert = "", key: Key = "", server_name: ServerName = "",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Read values, and show the registers that they were made of."""
    from gateway.cli.modbus_run import Link, run_read

    options = {"at": at, "as": as_, "order": order, "length": length, "scale": scale}
    link = Link(url, timeout, pause, (ca, cert, key, server_name))
    given = {name: value for name, value in options.items() if value is not None}
    run_read(link, unit, given, count, every=every, times=times, as_json=as_json)


@app.command()
def plan(
    config: Annotated[Path, typer.Argument(help="A configuration: a file or a folder.")],
    turnaround: Annotated[
        str, typer.Option(metavar="DURATION", help="What a device takes to begin its answer.")
    ] = "5ms",
    round_trip: Annotated[
        str, typer.Option(metavar="DURATION", help="What a request takes through a network.")
    ] = "5ms",
    baudrate: Annotated[int, typer.Option(min=0, help="Of a serial bus behind a network; 0: there is none.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Show the requests of a configuration, what they cost on the bus, and the shortest period it can hold."""
    from gateway.cli.modbus_run import run_plan

    run_plan(config, turnaround=turnaround, round_trip=round_trip, baudrate=baudrate, as_json=as_json)


@app.command()
def probe(
    url: Url,
    at: At,
    unit: Unit = 1,
    expect: Annotated[float | None, typer.Option(help="What the device's own display shows.")] = None,
    between: Annotated[
        str, typer.Option(metavar="DURATION", help="Between two looks, to see what grows; 0 looks once.")
    ] = "1s",
    top: Annotated[int, typer.Option(min=1, help="How many guesses to show.")] = 10,
    timeout: Timeout = "1s",
    pause: Pause = "0",
    ca: Ca = "", cert: Cert = "", key: Key = "", server_name: ServerName = "",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Guess what lies at a place: types, orders of words, both tables, an address beside; the likeliest first."""
    from gateway.cli.modbus_run import Link, run_probe

    link = Link(url, timeout, pause, (ca, cert, key, server_name))
    run_probe(link, unit, at, expect=expect, between=between, top=top, as_json=as_json)


@app.command()
def scan(
    url: Url,
    units: Annotated[str, typer.Option(help="Units to ask: 1-247, or 1,3,100-110.")] = "1-247",
    ranges: Annotated[bool, typer.Option("--ranges", help="Also find the addresses that can be read.")] = False,
    within: Annotated[str, typer.Option(help="With --ranges: where to look.")] = "0-511",
    timeout: Timeout = "300ms",
    pause: Pause = "50ms",
    ca: Ca = "", cert: Cert = "", key: Key = "", server_name: ServerName = "",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Find the units on a bus, what they say of themselves, SunSpec models, and readable addresses."""
    from gateway.cli.modbus_run import Link, run_scan

    link = Link(url, timeout, pause, (ca, cert, key, server_name))
    run_scan(link, units, within=within if ranges else None, as_json=as_json)


@app.command()
def verify(
    profile: Annotated[str, typer.Argument(help="Name of a profile.")],
    url: Url,
    unit: Unit = 1,
    profiles: Profiles = "",
    param: Params = None,
    timeout: Timeout = "1s",
    pause: Pause = "0",
    patience: Annotated[str, typer.Option(metavar="DURATION", help="For two samples of each point.")] = "15s",
    ca: Ca = "", cert: Cert = "", key: Key = "", server_name: ServerName = "",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Read all points of a profile from a device and check whether they can be true; exit 1 if some cannot."""
    from gateway.cli.modbus_run import Link
    from gateway.cli.modbus_verify import run_verify

    link = Link(url, timeout, pause, (ca, cert, key, server_name))
    run_verify(link, unit, profile, profiles=profiles, params=param or [], patience=patience, as_json=as_json)


@app.command()
def simulate(
    profile: Annotated[str, typer.Argument(help="Name of a profile.")],
    listen: Annotated[
        str, typer.Option(help="tcp://HOST:PORT (0: a free one), udp://, rtu+tcp://, rtu:///dev/ttyS0 or rtu://pty.")
    ] = "tcp://127.0.0.1:0",
    unit: Annotated[str, typer.Option(help="Units that play it: 1, or 1-5.")] = "1",
    fault: Annotated[
        list[str] | None,
        typer.Option(help="KIND, KIND:SHARE or KIND:ARGUMENT:SHARE: timeout:0.1, exception:2:0.05, late ..."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of values and faults.")] = 1,
    profiles: Profiles = "",
    param: Params = None,
    for_: Annotated[str | None, typer.Option("--for", metavar="DURATION", help="End by itself.")] = None,
) -> None:
    """Play a profile: a server with values that move, and faults if wanted. Says where as a line of JSON."""
    from gateway.cli.modbus_verify import run_simulate

    run_simulate(profile, listen, unit, fault or [], seed=seed, profiles=profiles, params=param or [], for_=for_)
