"""What the doctor can find: every kind with its severity, why it matters, and a command that helps."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from gateway.doctor.kinds import KINDS


class Severity(enum.StrEnum):
    """How bad it is."""

    OK = "ok"
    """Looked at, and fine."""
    NOTE = "note"
    """Worth knowing."""
    WARNING = "warning"
    """It will cost something one day."""
    PROBLEM = "problem"
    """It does not work, or loses something."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """One finding."""

    check: str
    """What was looked at: ``clock``, ``disk`` ..."""
    kind: str
    """A key of :data:`KINDS`; for what is fine, the name of the check."""
    severity: Severity
    subject: str
    """What it is about: ``uplink cloud``, a folder, a file."""
    what: str
    why: str = ""
    remedy: str = ""
    """A command line; what stands behind # is for the person."""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**vars(self), "severity": self.severity.value}


def fine(check: str, what: str, subject: str = "") -> Diagnosis:
    """It was looked at, and nothing is wrong."""
    return Diagnosis(check=check, kind=check, severity=Severity.OK, subject=subject, what=what)


def found(kind: str, what: str, subject: str = "", **words: object) -> Diagnosis:
    """A finding; ``words`` are filled into the remedy."""
    known = KINDS[kind]
    return Diagnosis(
        check=known.check,
        kind=kind,
        severity=Severity(known.severity),
        subject=subject,
        what=what,
        why=known.why,
        remedy=known.remedy.format(**words),
    )
