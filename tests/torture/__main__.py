"""``make torture``: every row of the table of what must be survived, at a chosen scale, and a report."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.torture.bench import Outcome, Scale, Scenario, report, summary
from tests.torture.rows import SCENARIOS


def main() -> int:
    """Run what was asked for; 1 if anything failed."""
    options = parse()
    chosen = [scenario for scenario in SCENARIOS if not options.only or scenario.name in options.only]
    if unknown := set(options.only) - {scenario.name for scenario in SCENARIOS}:
        print(f"no such scenario: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 64
    if options.list:
        for scenario in chosen:
            print(f"{scenario.name:20} {scenario.counts[options.scale]:>10}  {scenario.must}")
        return 0
    results: dict[str, tuple[Scenario, Outcome]] = {}
    for scenario in chosen:
        results[scenario.name] = scenario, (outcome := attempt(scenario, options.scale))
        facts = ", ".join(f"{name} {value}" for name, value in outcome.facts.items())
        verdict = "FAILED" if outcome.failures else "ok"
        print(f"{scenario.name:20} {verdict:6} N = {outcome.n}, {outcome.seconds:.0f} s  {facts}", flush=True)
        for failure in outcome.failures[:10]:
            print(f"    {failure}", flush=True)
    options.report.write_text(report(options.scale, results), "utf-8")
    print(f"report: {options.report}")
    print(summary(results))
    return int(any(outcome.failures for _, outcome in results.values()))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--scale", type=Scale, choices=list(Scale), default=Scale.SMOKE)
    parser.add_argument("--only", nargs="*", default=[], metavar="SCENARIO")
    parser.add_argument("--list", action="store_true", help="what there is, and how often it would be tried")
    parser.add_argument("--report", type=Path, default=Path("torture.md"))
    return parser.parse_args()


def attempt(scenario: Scenario, scale: Scale) -> Outcome:
    """One scenario; whatever it raises is a failure of it, and the others go on."""
    n = scenario.counts[scale]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"torture-{scenario.name}-") as folder:
        try:
            outcome = asyncio.run(scenario.run(n, Path(folder)))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the scenario's failure
            outcome = Outcome(n, [f"{type(error).__name__}: {error}"[:2000]])
    outcome.seconds = time.monotonic() - began
    return outcome


if __name__ == "__main__":
    sys.exit(main())
