"""What the running gateway says of itself, and the files that it would read next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway import __version__
from gateway.doctor.diagnosis import Diagnosis, Severity, fine, found
from gateway.doctor.patient import Patient


def check_config(patient: Patient) -> Iterator[Diagnosis]:
    """The files on disk."""
    words = patient.words
    if not patient.path.exists():
        yield found("config-missing", f"{patient.path} is not there", str(patient.path), **words)
        return
    if patient.problems:
        first, count = patient.problems[0], len(patient.problems)
        more = f", and {count - 1} more" if count > 1 else ""
        yield found("config-broken", f"{first}{more}", str(patient.path), **words)
    elif patient.loaded is not None and patient.loaded.warnings:
        warnings = patient.loaded.warnings
        more = f", and {len(warnings) - 1} more" if len(warnings) > 1 else ""
        yield found("config-warnings", f"{warnings[0]}{more}", str(patient.path), **words)
    else:
        yield fine("config", "can be used", str(patient.path))


def check_credentials(patient: Patient) -> Iterator[Diagnosis]:
    """Secrets that the configuration refers to. Who asks at a terminal cannot see those of the service."""
    if patient.missing and patient.status is not None and not patient.within:
        yield fine("config", f"credentials are the service's: {', '.join(sorted(patient.missing))}")
        return
    for name, why in sorted(patient.missing.items()):
        yield found("credential-missing", why, name, **{**patient.words, "name": name})


def check_gateway(patient: Patient) -> Iterator[Diagnosis]:
    """The process, its links, and what it has lost."""
    status, words = patient.status, patient.words
    if status is None:
        yield found("not-running", f"no gateway answers for {patient.state}", str(patient.state), **words)
        return
    uptime_h = status["uptime_s"] / 3600
    yield fine("gateway", f"{status['gateway']} runs, version {status['version']}, since {uptime_h:.1f} h")
    if status["version"] != __version__:
        what = f"version {status['version']} runs, {__version__} is installed"
        yield found("other-version", what, "", **words)
    yield from _links(status, words)
    yield from _lost(status, words)
    yield from _files(patient)
    yield from _health(patient)


def _links(status: dict[str, Any], words: dict[str, object]) -> Iterator[Diagnosis]:
    for section, word in (("adapters", "adapter"), ("uplinks", "uplink")):
        for name, one in status[section].items():
            down = sorted(device for device, facts in one.get("devices", {}).items() if facts.get("link") == "down")
            if one["link"] == "down":
                yield found("link-down", f"{word} {name} is down", f"{word} {name}", **words)
            elif down:
                yield found("link-down", f"devices are down: {', '.join(down[:10])}", f"{word} {name}", **words)
            else:
                yield fine("gateway", f"{word} {name} is {one['link'] or 'starting'}", f"{word} {name}")


def _lost(status: dict[str, Any], words: dict[str, object]) -> Iterator[Diagnosis]:
    for name, one in status["uplinks"].items():
        lost = one["spool"].get("lost", 0)
        if lost:
            what = f"{lost} samples gave way before they were sent"
            yield found("samples-lost", what, f"uplink {name}", **words)


def _files(patient: Patient) -> Iterator[Diagnosis]:
    current, words, path = patient.current, patient.words, str(patient.path)
    differs = current is not None and not current["running"]
    reloads = (patient.status or {}).get("reloads", {})
    failed = reloads.get("failed", 0)
    if differs:
        yield found("config-differs", "the files on disk are not what the gateway runs with", path, **words)
    if failed and not reloads.get("ok", 0):
        yield found("reload-failed", f"{failed} reloads were refused", path, **words)
    if current is not None and current.get("unconfirmed"):
        waits = current["unconfirmed"]
        what = f"version {waits['version']} is undone in {waits['remaining_s']:.0f} s"
        yield found("config-unconfirmed", what, path, **words)


def _health(patient: Patient) -> Iterator[Diagnosis]:
    overview = patient.overview or {}
    health = overview.get("health", "ok")
    if health != "ok":
        one = found("health", f"{health}: {'; '.join(overview.get('reasons', []))}", "", **patient.words)
        bad = Severity.PROBLEM if health == "failing" else one.severity
        yield Diagnosis(**{**vars(one), "severity": bad})
    raised = {level: count for level, count in (overview.get("alerts") or {}).items() if count and level != "info"}
    if raised:
        text = ", ".join(f"{count} {level}" for level, count in raised.items())
        yield found("alerts-raised", f"alerts are raised: {text}", "", **patient.words)
