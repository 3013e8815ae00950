"""What ``onpath simulate`` prints for people."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console
from rich.table import Table

MOST_POINTS: Final = 10
"""Of a step; the worst ones."""
_GONE: Final = ("filtered", "aggregated", "dropped", "queued", "derived")


def report(result: dict[str, Any]) -> None:
    """The whole result."""
    console = _console()
    raw = result["raw"]
    about = "about " if raw["estimated"] else ""
    console.print(
        f"{result['input']} ({result['kind']}): {raw['samples']:,} samples of {result['points']:,} points, "
        f"{result['from']} to {result['to']}"
    )
    console.print(f"sent as it came, as JSON: {about}{raw['json_bytes']:,} bytes in {raw['batches']:,} batches")
    for name, pipeline in result["pipelines"].items():
        _pipeline(console, name, pipeline)
    if result["above_bound"]:
        console.print(f"ATTENTION: {result['above_bound']:,} samples lie further off than their bound")
    for note in result["notes"]:
        console.print(f"note: {note}")


def _console() -> Console:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 140
    return console


def _pipeline(console: Console, name: str, pipeline: dict[str, Any]) -> None:
    upstream = pipeline["upstream"]
    console.print(f"\n{name} -> {', '.join(pipeline['uplinks']) or '(nowhere)'}")
    console.print(_steps(pipeline))
    console.print(
        f"  upstream {upstream['samples']:,} samples in {upstream['batches']:,} batches: "
        f"{upstream['json_bytes']:,} bytes as json{_saved(pipeline['saved_json'])}, "
        f"{upstream['frame_bytes']:,} as frame{_saved(pipeline['saved_frame'])}"
        f"{' (estimated)' if upstream['estimated'] else ''}"
    )
    for at, step in enumerate(pipeline["steps"]):
        if step.get("points"):
            _errors(console, at, step)
        if step.get("totals"):
            _totals(console, at, step)


def _saved(share: float | None) -> str:
    if share is None:
        return ""
    return f" ({100 * share:.1f} % less)" if share >= 0 else f" ({-100 * share:.1f} % more)"


def _steps(pipeline: dict[str, Any]) -> Table:
    table = Table("step", box=None, pad_edge=True)
    for column in ("in", "out", *_GONE, "why"):
        table.add_column(column, justify="left" if column == "why" else "right")
    for at, step in enumerate(pipeline["steps"]):
        counts = step.get("dry_run", step)
        why = ", ".join(f"{reason} {count:,}" for reason, count in counts["reasons"].items())
        mark = " (dry run: would)" if "dry_run" in step else ""
        figures = [f"{counts[key]:,}" for key in ("in", "out", *_GONE)]
        table.add_row(f"{at} {step['step']}{mark}", *figures, why)
    table.add_row("all", *[f"{pipeline[key]:,}" for key in ("in", "out", *_GONE)], "")
    return table


def _errors(console: Console, at: int, step: dict[str, Any]) -> None:
    rows = sorted(step["points"], key=_badness, reverse=True)
    table = Table("point", box=None, pad_edge=True)
    for column in ("kept", "largest error", "mean error", "bias", "bound", ""):
        table.add_column(column, justify="right")
    for row in rows[:MOST_POINTS]:
        verdict = f"ABOVE: {row['above_bound']:,}" if row.get("above_bound") else ""
        table.add_row(
            row["point"], f"{100 * row['share']:.2f} %", *(_figure(row[key]) for key in _FIGURES),
            _figure(row.get("bound")), verdict,
        )  # fmt: skip
    console.print(f"  step {at} {step['step']}: reconstruction error by point{_more(rows)}")
    console.print(table)
    if step["unjudged"]:
        console.print(f"    {step['unjudged']:,} samples not judged: their times go back, or nothing was kept before")


_FIGURES: Final = ("largest_error", "mean_error", "bias")


def _badness(row: dict[str, Any]) -> tuple[float, float]:
    bound = row.get("bound")
    size = bound if isinstance(bound, float) and bound else 1.0
    return row.get("above_bound", 0), (row["largest_error"] or 0.0) / size


def _more(rows: list[dict[str, Any]]) -> str:
    return f", the {MOST_POINTS} largest of {len(rows):,} (--json has all)" if len(rows) > MOST_POINTS else ""


def _figure(value: float | str | None) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _totals(console: Console, at: int, step: dict[str, Any]) -> None:
    lost = [row for row in step["totals"] if not row["kept"]]
    whole = len(step["totals"]) - len(lost)
    console.print(f"  step {at} {step['step']}: totals kept for {whole:,} of {len(step['totals']):,} points")
    for row in lost[:MOST_POINTS]:
        figures = ", ".join(f"{key} {row[key]:,}" for key in row if key not in {"point", "kept"})
        console.print(f"    {row['point']}: {figures}")


def suggestions(found: dict[str, Any]) -> None:
    """Curves and choices, and the YAML to paste."""
    console = _console()
    console.print(f"settings with a largest error of {found['wanted']}; * is what is suggested")
    for row in found["points"][:MOST_POINTS]:
        _curve(console, row)
    if len(found["points"]) > MOST_POINTS:
        console.print(f"({MOST_POINTS} of {len(found['points']):,} points; --json has all)")
    if found["steps"]:
        from gateway.cli.write_yaml import as_yaml

        console.print("\nsteps for a pipeline:\n")
        console.print(as_yaml({"steps": found["steps"]}), end="")
    for note in found["notes"]:
        console.print(f"note: {note}")


def _curve(console: Console, row: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=True)
    for column in ("", "step", "bound", "kept", "largest error", "mean error"):
        table.add_column(column, justify="left" if column in {"", "step"} else "right")
    for point in row["curve"]:
        table.add_row(
            "*" if point == row["best"] else "", point["step"], _figure(point["bound"]),
            f"{100 * point['share']:.2f} %", _figure(point["largest_error"]), _figure(point["mean_error"]),
        )  # fmt: skip
    console.print(f"\n{row['point']}: wanted {row['error']:.4g} {row['unit']}".rstrip())
    console.print(table)
