"""The table of docs/metrics.md, from the registry: ``python -m tests.support.metrics_table`` writes it anew."""

from __future__ import annotations

from gateway.own.metrics import METRICS, Metric
from tests.support.documents import ROOT

PAGE = ROOT / "docs" / "metrics.md"
BEGIN, END = "<!-- table -->\n", "<!-- /table -->\n"


def table() -> str:
    """All metrics, in their order."""
    head = "| Prometheus | labels | point | unit | what it says |\n|---|---|---|---|---|\n"
    return head + "".join(_row(metric) for metric in METRICS)


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.all_labels)
    said = metric.help.removesuffix(".") + (f": {', '.join(metric.texts)}" if metric.texts else "")
    point = metric.template.replace("{", "<").replace("}", ">")
    unit = f"`{metric.unit}`" if metric.unit else ""
    return f"| `{metric.exposed}` | {labels} | `{point}` | {unit} | {said} |\n"


def written(page: str) -> str:
    """The page with the table that is true now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
