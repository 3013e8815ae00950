"""Outcomes of tests as JUnit XML, which build servers read."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from gateway.trial.check import Outcome


def junit(outcomes: Sequence[Outcome]) -> str:
    """One suite a file."""
    files = dict.fromkeys(outcome.file for outcome in outcomes)
    suites = [_suite(file, [outcome for outcome in outcomes if outcome.file == file]) for file in files]
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>", *suites, "</testsuites>", ""])


def _suite(file: str, outcomes: Sequence[Outcome]) -> str:
    failures = sum(bool(outcome.differences) and not outcome.error for outcome in outcomes)
    errors = sum(bool(outcome.error) for outcome in outcomes)
    head = f"name={quoteattr(file)} tests={quoteattr(str(len(outcomes)))}"
    cases = "\n".join(_case(outcome) for outcome in outcomes)
    return f'<testsuite {head} failures="{failures}" errors="{errors}">\n{cases}\n</testsuite>'


def _case(outcome: Outcome) -> str:
    head = f'<testcase name={quoteattr(outcome.name)} classname={quoteattr(outcome.file)} time="{outcome.seconds:.4f}"'
    if outcome.passed:
        return f"{head}/>"
    if outcome.error:
        return f"{head}><error message={quoteattr(outcome.error)}/></testcase>"
    lines = [f"{d.what}: {d.point} {d.time}: expected {d.expected}, got {d.got}" for d in outcome.differences]
    text = escape("\n".join(lines))
    return f"{head}><failure message={quoteattr(lines[0])}>{text}</failure></testcase>"
