"""``onpath console``: signing in to the console and the API.

Password and tokens are kept as hashes in the state folder, so they can be made before the gateway ever ran. Light:
imports what a verb needs when it runs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import DEFAULT_CONFIG, AsJson, ConfigPath, StatePath

app = typer.Typer(name="console", help="The console in the browser and the API: sign in, tokens.", no_args_is_help=True)

TokenName = Annotated[str, typer.Argument(help="A name for the token, such as who or what uses it.")]


def _folder(config: Path, state: Path | None) -> Path:
    from gateway.cli.state import state_of

    return state or state_of(config)


@app.command()
def url(config: ConfigPath = DEFAULT_CONFIG, state: StatePath = None, as_json: AsJson = False) -> None:
    """Print an address that signs in once, within five minutes, without the password."""
    import asyncio

    from gateway.control import ask
    from gateway.errors import OnpathError

    answer = asyncio.run(ask(_folder(config, state), "console", code=True))
    if not answer["ok"]:
        raise OnpathError(answer["error"])
    address = f"{answer['url']}/#code={answer['code']}"
    print(json.dumps({"url": address}) if as_json else address)


@app.command()
def password(
    config: ConfigPath = DEFAULT_CONFIG,
    state: StatePath = None,
    set_: Annotated[
        bool, typer.Option("--set", help="Ask for the password, or read it from standard input, instead of making one.")
    ] = False,
    if_none: Annotated[
        bool, typer.Option(help="Only if none is set yet; else print nothing and change nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a password for the console, and show it this once. Who has signed in with another has to sign in again."""
    from gateway.console.access import Access, random_password

    access = Access(_folder(config, state))
    if if_none and access.stored().password is not None:
        return
    chosen = _asked() if set_ else random_password()
    access.set_password(chosen)
    if as_json:
        print(json.dumps({"password": None if set_ else chosen}))
    elif set_:
        print("the password is set", file=sys.stderr)
    else:
        print(chosen)
    if state is None:
        _tell_of_config(config)


def _asked() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


def _tell_of_config(config: Path) -> None:
    import os

    from gateway.config import load
    from gateway.errors import ConfigError

    try:
        options = load(config, os.environ).console
    except ConfigError:  # credentials are the service's only, and the password is set all the same
        return
    if options is None:
        print(f"note: {config} has no section console: yet; console: {{}} turns it on", file=sys.stderr)
    elif options.password:
        print(f"note: console.password in {config} is what holds", file=sys.stderr)


@app.command()
def token(
    name: TokenName,
    config: ConfigPath = DEFAULT_CONFIG,
    state: StatePath = None,
    role: Annotated[str, typer.Option(help="What it may do: read, or admin for everything.")] = "read",
    as_json: AsJson = False,
) -> None:
    """Make a token for the API, and show it this once: Authorization: Bearer TOKEN."""
    from gateway.console.access import Access, Role

    if role not in {one.value for one in Role}:
        raise typer.BadParameter("read or admin", param_hint="--role")
    if not name or len(name) > 64 or not name.isprintable():
        raise typer.BadParameter("1 to 64 printable characters", param_hint="NAME")
    made = Access(_folder(config, state)).add_token(name, Role(role))
    print(json.dumps({"name": name, "role": role, "token": made}) if as_json else made)


@app.command()
def tokens(config: ConfigPath = DEFAULT_CONFIG, state: StatePath = None, as_json: AsJson = False) -> None:
    """List the tokens: name, role, and since when."""
    import datetime as dt

    from gateway.console.access import Access

    known = Access(_folder(config, state)).stored().tokens
    if as_json:
        rows = [{"name": name, "role": one.role.value, "created_ms": one.created_ms} for name, one in known.items()]
        print(json.dumps({"tokens": rows}))
        return
    for name, one in known.items():
        since = dt.datetime.fromtimestamp(one.created_ms / 1000, dt.UTC)
        print(f"{name:<24} {one.role.value:<6} {since:%Y-%m-%d %H:%M} UTC")
    if not known:
        print("no tokens", file=sys.stderr)


@app.command()
def revoke(
    name: TokenName, config: ConfigPath = DEFAULT_CONFIG, state: StatePath = None, as_json: AsJson = False
) -> None:
    """Let a token go: it is refused from the next request on."""
    from gateway.console.access import Access

    Access(_folder(config, state)).revoke(name)
    print(json.dumps({"revoked": name}) if as_json else f"revoked {name}")
