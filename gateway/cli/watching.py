"""Verbs that ask the running gateway, as functions that :func:`register` puts on the command line.

Light: imports what a verb needs when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import DEFAULT_CONFIG, AsJson, ConfigPath, StatePath


def reload(config: ConfigPath = DEFAULT_CONFIG, state: StatePath = None, as_json: AsJson = False) -> None:
    """Make the running gateway read its configuration again; changes only what changed."""
    from gateway.cli.running import reload_gateway

    reload_gateway(config, state, as_json=as_json)


def status(config: ConfigPath = DEFAULT_CONFIG, state: StatePath = None, as_json: AsJson = False) -> None:
    """Show what the running gateway does."""
    from gateway.cli.state import state_of
    from gateway.cli.status import show_status

    show_status(state or state_of(config), as_json=as_json)


def bound(
    pipeline: Annotated[str, typer.Argument(help="Name of the pipeline.")],
    step: Annotated[str, typer.Argument(help="The step: its name, or its number from 0.")],
    value: Annotated[str, typer.Argument(help="The largest error from now on: 0.2 (in the point's unit) or 0.5%.")],
    config: ConfigPath = DEFAULT_CONFIG,
    state: StatePath = None,
    as_json: AsJson = False,
) -> None:
    """Give a running step that trades error for bytes another bound; it stays over restarts."""
    from gateway.cli.running import set_bound

    set_bound(config, state, pipeline, step, value, as_json=as_json)


def tap(
    globs: Annotated[list[str] | None, typer.Argument(help="Globs of points, such as '*/power'; default all.")] = None,
    after: Annotated[
        str | None,
        typer.Option(metavar="STEP", help="Only what leaves a step: live/deadband, live/1 (from 0), deadband."),
    ] = None,
    rejected: Annotated[bool, typer.Option("--rejected", help="Show what adapters could not use, and why.")] = False,
    last: Annotated[int, typer.Option(min=0, help="With --rejected: begin with so many of the newest.")] = 20,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what adapters bring to a file, for onpath simulate.")
    ] = None,
    for_: Annotated[str | None, typer.Option("--for", metavar="DURATION", help="End by itself.")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    state: StatePath = None,
    as_json: AsJson = False,
) -> None:
    """Watch samples of the running gateway go by; it is never slowed down by that."""
    from gateway.cli.modbus_run import duration
    from gateway.cli.state import state_of
    from gateway.cli.tap import save_samples, tap_rejected, tap_samples

    if rejected and (after or save):
        raise typer.BadParameter("--rejected goes neither with --after nor with --save")
    for_s = duration("--for", for_) if for_ else None
    where = state or state_of(config)
    if save is not None:
        save_samples(where, globs or [], after, for_s, save)
    elif rejected:
        tap_rejected(where, last, for_s, as_json=as_json)
    else:
        tap_samples(where, globs or [], after, for_s, as_json=as_json)


def history(
    globs: Annotated[list[str] | None, typer.Argument(help="Globs of points, such as '*/power'; default all.")] = None,
    since: Annotated[
        str | None, typer.Option(help="From when: 1h (ago), or 2026-01-31T12:00:00Z; default 1h, with --newest all.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Until when: 10m (ago), or a time; default now.")] = None,
    newest: Annotated[int | None, typer.Option(min=1, max=1 << 20, help="Only so many samples, the newest.")] = None,
    latest: Annotated[bool, typer.Option("--latest", help="The newest sample of each point, however old.")] = False,
    plot: Annotated[bool, typer.Option("--plot", help="Draw each point's curve here.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    config: ConfigPath = DEFAULT_CONFIG,
    state: StatePath = None,
    as_json: AsJson = False,
) -> None:
    """Show what came in: from the running gateway, or from its state folder if none runs."""
    from gateway.cli.history import Request, show_history
    from gateway.cli.moments import span
    from gateway.cli.state import state_of
    from gateway.history import Asked

    first, last = span(since, until, "1h" if newest is None else None)
    asked = Asked(globs=tuple(globs or ["**"]), since_ns=first, until_ns=last, newest=newest, latest=latest)
    where = state or state_of(config)
    show_history(Request(state=where, asked=asked, plot=plot, as_csv=as_csv, as_json=as_json))


def top(
    view: Annotated[
        str, typer.Option(help="What to begin with: adapters, devices, pipelines, uplinks, alerts or events.")
    ] = "adapters",
    every: Annotated[int, typer.Option(min=1, max=3600, metavar="SECONDS", help="How often it is renewed.")] = 1,
    for_: Annotated[str | None, typer.Option("--for", metavar="DURATION", help="End by itself.")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    state: StatePath = None,
    as_json: AsJson = False,
) -> None:
    """Watch the running gateway live; ? shows the keys. Without a terminal it prints one picture."""
    from gateway.cli.modbus_run import duration
    from gateway.cli.state import state_of
    from gateway.cli.top import show_top
    from gateway.cli.top_views import VIEWS

    if view not in VIEWS:
        raise typer.BadParameter(f"one of {', '.join(VIEWS)} is wanted", param_hint="--view")
    for_s = duration("--for", for_) if for_ else None
    show_top(state or state_of(config), view, for_s, every=every, as_json=as_json)


def graph(
    config: ConfigPath = DEFAULT_CONFIG,
    path: Annotated[Path | None, typer.Argument(help="The configuration, instead of --config.")] = None,
    format_: Annotated[str, typer.Option("--format", help="text, mermaid or svg.")] = "text",
    live: Annotated[bool, typer.Option("--live", help="Of the running gateway, with samples a second.")] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write it there.")] = None,
    state: StatePath = None,
    as_json: AsJson = False,
) -> None:
    """Draw which adapters feed which pipelines, and those which uplinks."""
    from gateway.cli.graph import Request, show_graph

    if format_ not in {"text", "mermaid", "svg"}:
        raise typer.BadParameter("text, mermaid or svg", param_hint="--format")
    show_graph(Request(config=path or config, state=state, format=format_, live=live, out=out, as_json=as_json))


def points(
    words: Annotated[
        list[str] | None, typer.Argument(help="Words that a name holds, or one glob such as '*/power'; default all.")
    ] = None,
    quality: Annotated[str, typer.Option(help="Only good, questionable or invalid ones.")] = "",
    device: Annotated[str, typer.Option(help="Only of this device.")] = "",
    stale: Annotated[bool, typer.Option("--stale", help="Only of devices that have gone silent.")] = False,
    sort: Annotated[str, typer.Option(help="By name, age, value or quality.")] = "name",
    reverse: Annotated[bool, typer.Option("-r", "--reverse", help="The other way round.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1 << 24, help="So many, at most.")] = 100,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Go on: in place on a terminal, else by line.")] = False,
    for_: Annotated[str | None, typer.Option("--for", metavar="DURATION", help="With --watch: end by itself.")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    state: StatePath = None,
    as_json: AsJson = False,
) -> None:
    """List the running gateway's points with latest value, quality and age."""
    from gateway.cli.modbus_run import duration
    from gateway.cli.points import Request, show_points
    from gateway.cli.state import state_of

    if quality not in {"", "good", "questionable", "invalid"}:
        raise typer.BadParameter("good, questionable or invalid", param_hint="--quality")
    if sort not in {"name", "age", "value", "quality"}:
        raise typer.BadParameter("name, age, value or quality", param_hint="--sort")
    if watch and limit > 2000:
        raise typer.BadParameter("2000 points at most can be watched", param_hint="--limit")
    show_points(
        Request(
            state=state or state_of(config), words=" ".join(words or []), quality=quality, device=device, stale=stale,
            sort=sort, descending=reverse, limit=limit, watch=watch, as_json=as_json,
            for_s=duration("--for", for_) if for_ else None,
        )
    )  # fmt: skip


def events(
    last: Annotated[int, typer.Option("-n", "--last", min=0, help="So many of the newest.")] = 20,
    following: Annotated[bool, typer.Option("-f", "--follow", help="Then each as it comes.")] = False,
    for_: Annotated[str | None, typer.Option("--for", metavar="DURATION", help="With --follow: end by itself.")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    state: StatePath = None,
    as_json: AsJson = False,
) -> None:
    """Show the newest lines of the running gateway's log: links that go and return, reloads, alerts."""
    from gateway.cli.events import show_events
    from gateway.cli.modbus_run import duration
    from gateway.cli.state import state_of

    for_s = duration("--for", for_) if for_ else None
    show_events(state or state_of(config), last, for_s, following=following, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Put the verbs on the command line, in this order."""
    for verb in (status, top, points, graph, tap, history, events, reload, bound):
        app.command()(verb)
