"""``onpath``: the verbs and their options. What they end with: :data:`gateway.errors.EXIT_CODES`."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Annotated

import typer

from gateway import __version__
from gateway.cli import (
    caring,
    coap,
    console,
    controller,
    demo_scenes,
    hub,
    importing,
    modbus,
    service,
    spool,
    versions,
    watching,
)
from gateway.cli.exits import Verbs, ending
from gateway.cli.options import DEFAULT_CONFIG, AsJson, ConfigPath, StatePath
from gateway.errors import ConfigError, OnpathError

app = typer.Typer(
    name="onpath",
    cls=Verbs,
    help="An edge gateway that computes on the data while it passes.",
    no_args_is_help=True,
    add_completion=False,  # onpath completion prints it; no verb writes to files of the user's shell
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

# Verbs with verbs of their own: one line each here
app.add_typer(modbus.app)
app.add_typer(coap.app)
app.add_typer(spool.app)
app.add_typer(versions.app)
app.add_typer(console.app)
app.add_typer(controller.app)
app.add_typer(hub.app)
app.add_typer(importing.app)
app.add_typer(demo_scenes.app)
service.register(app)

# Verbs that ask the running gateway
watching.register(app)
caring.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"onpath {__version__}")
        raise typer.Exit


@app.callback()
def entry(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """An edge gateway that computes on the data while it passes."""


@app.command()
def run(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Run the gateway in the foreground; SIGTERM stops it in order, SIGHUP reloads."""
    from gateway.cli.run import run_gateway

    run_gateway(config)


@app.command()
def check(
    config: ConfigPath = DEFAULT_CONFIG,
    path: Annotated[Path | None, typer.Argument()] = None,
    as_json: AsJson = False,
) -> None:
    """Check a configuration: all problems of all files at once; exit 78 if there are any."""
    from gateway.cli.configuration import check_config

    check_config(path or config, as_json=as_json)


@app.command()
def schema(
    service: Annotated[bool, typer.Option("--service", help="Of services, for a network of gateways.")] = False,
) -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from gateway.cli.configuration import print_schema

    print_schema(of_service=service)


@app.command()
def plugins(as_json: AsJson = False) -> None:
    """List adapters, operators and uplinks with what they are for."""
    from gateway.cli.configuration import list_plugins

    list_plugins(as_json=as_json)


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("onpath.yaml"),
    gateway: Annotated[str | None, typer.Option(help="The gateway's name.")] = None,
    state: Annotated[str | None, typer.Option(help="Folder for what must survive a restart.")] = None,
    modbus: Annotated[
        list[str] | None, typer.Option(help="URL of a Modbus endpoint, such as tcp://10.0.0.5:502.")
    ] = None,
    unit: Annotated[int, typer.Option(min=0, max=255, help="Unit id of the Modbus device.")] = 1,
    profile: Annotated[str | None, typer.Option(help="Profile of the Modbus device.")] = None,
    mqtt: Annotated[list[str] | None, typer.Option(help="URL of an MQTT broker that devices publish to.")] = None,
    topic: Annotated[str, typer.Option(help="Topic pattern of the MQTT devices.")] = "site/{device}/telemetry",
    coap: Annotated[
        list[str] | None, typer.Option(help="URL of a CoAP resource, such as coap://10.0.0.9/temp.")
    ] = None,
    uplink: Annotated[
        str | None, typer.Option(help="Where results go: mqtt://..., mqtts://..., a file path, or stdout.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Overwrite an existing file.")] = False,
) -> None:
    """Write a first configuration, by asking or from flags."""
    from gateway.cli.init import Answers, write_first_config

    write_first_config(
        path,
        Answers(
            gateway=gateway, state=state, modbus=modbus or [], unit=unit, profile=profile,
            mqtt=mqtt or [], topic=topic, coap=coap or [], uplink=uplink,
        ),
        force=force,
    )  # fmt: skip


@app.command()
def discover(
    targets: Annotated[
        list[str] | None,
        typer.Argument(help="tcp://HOST:502, rtu:///dev/ttyUSB0, coap://HOST, mqtt://BROKER; none: ask the gateway."),
    ] = None,
    apply_to: Annotated[Path | None, typer.Option(help="Write what is accepted to this YAML file.")] = None,
    accept: Annotated[
        list[str] | None, typer.Option(help="Number, device or key of a finding to write, or all; else you are asked.")
    ] = None,
    join: Annotated[
        list[str] | None, typer.Option(help="Number, device or key of a finding that the gateway takes in at once.")
    ] = None,
    topic: Annotated[list[str] | None, typer.Option(help="Topic filter to listen to at an MQTT broker.")] = None,
    for_: Annotated[str, typer.Option("--for", metavar="DURATION", help="How long to look and listen.")] = "5s",
    config: ConfigPath = DEFAULT_CONFIG,
    state: StatePath = None,
    as_json: AsJson = False,
) -> None:
    """Show what could be read and is not configured, and write its YAML."""
    from gateway.cli.discover import Request, run_discover
    from gateway.cli.modbus_run import duration

    run_discover(
        Request(
            config=config, state=state, targets=targets or [], topics=topic or ["#"],
            for_s=duration("--for", for_), apply_to=apply_to, accept=accept or [], join=join or [], as_json=as_json,
        )
    )  # fmt: skip


@app.command()
def decode(
    files: Annotated[list[Path] | None, typer.Argument(help="Files of frame messages; standard input if none.")] = None,
    ns: Annotated[bool, typer.Option("--ns", help="Times as integer nanoseconds.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a line a sample.")] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Only what the messages cost, by column.")] = False,
    as_hex: Annotated[bool, typer.Option("--hex", help="Messages are words of hex digits.")] = False,
    as_base64: Annotated[bool, typer.Option("--base64", help="Messages are words of base64.")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn frame messages into JSON lines or CSV."""
    from gateway.cli.decode import Request, decode_files

    if as_hex and as_base64:
        raise typer.BadParameter("--hex and --base64 exclude each other")
    if as_csv and stats:
        raise typer.BadParameter("--csv and --stats exclude each other")
    coding = "hex" if as_hex else "base64" if as_base64 else ""
    decode_files(Request(files=files or [], ns=ns, coding=coding, as_csv=as_csv, stats=stats, as_json=as_json))


@app.command()
def receive(
    url: Annotated[str, typer.Argument(help="mqtt://HOST:1883, mqtts://, ws://, wss://, nats://HOST:4222 or tls://.")],
    topic: Annotated[
        list[str] | None, typer.Option(help="Topic filter of the batches; default onpath/#. With NATS a subject.")
    ] = None,
    subject: Annotated[list[str] | None, typer.Option(help="The same as --topic.")] = None,
    stream: Annotated[str, typer.Option(help="JetStream stream; default: the one that takes the topic.")] = "",
    ack_wait: Annotated[
        str, typer.Option(metavar="DURATION", help="JetStream sends again what is not acknowledged by then.")
    ] = "30s",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write; default: standard output.")] = None,
    format_: Annotated[str, typer.Option("--format", help="json (a batch a line), or parquet (out is a folder).")] = (
        "json"
    ),
    ns: Annotated[bool, typer.Option("--ns", help="Times as integer nanoseconds.")] = False,
    state: Annotated[Path | None, typer.Option(help="What came already; default: FILE.state beside --out.")] = None,
    name: Annotated[str, typer.Option(help="Session at the broker, or durable consumer; default: by the file.")] = "",
    username: Annotated[str, typer.Option(help="Name to log in with.")] = "",
    password: Annotated[str, typer.Option(envvar="ONPATH_PASSWORD", help="Password to log in with.")] = "",
    ca: Annotated[str | None, typer.Option(help="File with the certificates to trust.")] = None,
    cert: Annotated[str | None, typer.Option(help="File with our own certificate.")] = None,
    key: Annotated[str | None, typer.Option(help="File with its private key.")] = None,
    receipts: Annotated[bool, typer.Option("--receipts", help="Tell the gateways what is safe here.")] = False,
    for_: Annotated[str | None, typer.Option("--for", metavar="DURATION", help="End by itself.")] = None,
    until_idle: Annotated[str | None, typer.Option(metavar="DURATION", help="End when nothing came for so long.")] = (
        None
    ),
    settle: Annotated[str, typer.Option(metavar="DURATION", help="Missing for longer is a gap.")] = "10s",
    check: Annotated[bool, typer.Option("--check", help="Exit code 1 if something is missing or damaged.")] = False,
    as_json: AsJson = False,
) -> None:
    """Receive batches from a broker: each once, with proof of what is missing."""
    from gateway.cli.modbus_run import duration
    from gateway.cli.receive import Request
    from gateway.cli.receive import receive as run_receiver

    if format_ not in {"json", "parquet"}:
        raise typer.BadParameter("json or parquet", param_hint="--format")
    run_receiver(
        Request(
            url=url, topics=[*(topic or []), *(subject or [])], stream=stream,
            ack_wait_s=duration("--ack-wait", ack_wait), out=out, parquet=format_ == "parquet",
            ns=ns, state=state, name=name, username=username, password=password, ca=ca, cert=cert, key=key,
            receipts=receipts, for_s=duration("--for", for_) if for_ else None,
            idle_s=duration("--until-idle", until_idle) if until_idle else None,
            settle_s=duration("--settle", settle), check=check, as_json=as_json,
        )
    )  # fmt: skip


@app.command("test")
def run_pipeline_tests(
    files: Annotated[list[Path], typer.Argument(help="Files of pipeline tests, or folders of *.test.yaml.")],
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the outcome as JUnit XML, too.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run pipeline tests: given samples and clock steps, expected samples."""
    from gateway.cli.test import run_tests

    run_tests(files, junit, as_json=as_json)


@app.command()
def simulate(
    config: Annotated[Path, typer.Argument(help="A YAML file, or a folder whose *.yaml are merged.")],
    input_: Annotated[
        Path | None,
        typer.Option("--input", "-i", help="CSV, JSON lines, or frames of tap --save; - for standard input."),
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(metavar="STATE", help="Instead: the history in a state folder, or of a gateway's configuration."),
    ] = None,
    since: Annotated[str | None, typer.Option(help="Of the history: from when, 1h (ago) or a time.")] = None,
    until: Annotated[str | None, typer.Option(help="Of the history: until when.")] = None,
    points: Annotated[Path | None, typer.Option(help="YAML with points: unit, limits ... by name or glob.")] = None,
    sort: Annotated[
        bool, typer.Option("--sort", help="Put the samples in the order of time first; in memory.")
    ] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Replay every tick as the daemon has it; slow.")] = False,
    plot: Annotated[
        str | None, typer.Option(metavar="FILE.svg", help="Picture of original and reconstructed; - here.")
    ] = None,
    point: Annotated[list[str] | None, typer.Option(help="Globs of points to plot.")] = None,
    suggest: Annotated[bool, typer.Option("--suggest", help="Find settings that meet --error.")] = False,
    error: Annotated[str, typer.Option(help="The largest error wanted: 1% of the range, or 0.5.")] = "1%",
    as_json: AsJson = False,
) -> None:
    """Run a file of samples through a configuration offline: what is saved, and the error made."""
    from gateway.cli.moments import span

    gc.disable()  # until all is loaded: garbage would be looked for again and again where there is none
    from gateway.cli.simulate import Request, run_simulation

    if (input_ is None) == (journal is None):
        raise typer.BadParameter("one of the two is needed", param_hint="--input or --journal")
    run_simulation(
        Request(
            config=config, input=input_, journal=journal, span=span(since, until), points=points, sort=sort,
            exact=exact, plot=plot, globs=point or [], suggest=suggest, error=error, as_json=as_json,
        )
    )  # fmt: skip


@app.command()
def completion(
    shell: Annotated[str, typer.Argument(help="bash, zsh or fish.")] = "bash",
    words: Annotated[
        list[str] | None, typer.Argument(hidden=True, help="For the scripts: the words of a command line.")
    ] = None,
    asked: Annotated[bool, typer.Option("--words", hidden=True)] = False,
) -> None:
    """Print a script that completes verbs, options, files and names in a shell: source <(onpath completion bash)."""
    from gateway.cli.completion import SHELLS, print_words
    from gateway.cli.completion_scripts import SCRIPTS

    if asked:
        print_words(typer.main.get_command(app), [shell, *(words or [])])
    elif shell in SHELLS:
        print(SCRIPTS[shell], end="")
    else:
        raise typer.BadParameter(f"one of {', '.join(SHELLS)} is wanted", param_hint="SHELL")


def main() -> None:
    """The console command. Errors meant for people are one line and an exit code."""
    with ending():
        _run()


def _run() -> None:
    try:
        app()
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        sys.exit(error.exit_code)
    except OnpathError as error:
        print(f"onpath: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
