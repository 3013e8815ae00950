"""What is examined: a configuration, its state folder, and the gateway that runs over them, if one does."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from gateway.config import GatewayConfig, Loaded, load_checked
from gateway.config.lenient import STAND_IN, LenientExpander
from gateway.editing.change import state_folder
from gateway.errors import ConfigError, Problem

UNIT: Final = "onpath"
_SERVICE_USER: Final = "onpath"


@dataclass(frozen=True, kw_only=True)
class Patient:
    """Everything the checks look at."""

    path: Path
    env: Mapping[str, str]
    state: Path
    loaded: Loaded | None = None
    problems: list[Problem] = field(default_factory=list)
    missing: Mapping[str, str] = field(default_factory=dict)
    """Credentials that cannot be read from here, and why."""
    status: dict[str, Any] | None = None
    """Of the running gateway; None: none answers."""
    current: dict[str, Any] | None = None
    """What it says of its configuration's files."""
    overview: dict[str, Any] | None = None
    """Health and its reasons, if it tells."""
    within: bool = False
    """We are that gateway ourselves, and see of the box what its sandbox lets us see."""
    unit: str = UNIT

    @property
    def config(self) -> GatewayConfig | None:
        """The configuration, if it can be used."""
        return None if self.loaded is None else self.loaded.config

    @property
    def pid(self) -> int | None:
        """Of the running gateway."""
        return None if self.status is None else int(self.status["pid"])

    @property
    def user(self) -> str:
        """Who the gateway runs as, or would."""
        if self.pid is not None:
            try:
                return str(psutil.Process(self.pid).username())
            except psutil.Error:
                pass
        if not self.within and os.geteuid() == 0:
            try:
                return pwd.getpwnam(_SERVICE_USER).pw_name
            except KeyError:
                pass
        return name_of(os.geteuid())

    @property
    def words(self) -> dict[str, object]:
        """For remedies."""
        return {"config": self.path, "state": self.state, "unit": self.unit, "user": self.user}


def name_of(uid: int) -> str:
    """The name of a user, or the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def is_known(value: str) -> bool:
    """Whether a text is what the configuration says, and not a stand-in for a credential that cannot be read here."""
    return STAND_IN not in value


def read(path: Path, env: Mapping[str, str], state: Path | None = None, **more: Any) -> Patient:
    """The patient as far as files tell; ``more`` are the other fields."""
    state = state or state_folder(path, env)
    if not path.exists():
        return Patient(path=path, env=env, state=state, **more)
    expander = LenientExpander(env)
    try:
        loaded = load_checked(path, env, expander)
    except ConfigError as error:
        return Patient(path=path, env=env, state=state, problems=error.problems, missing=expander.missing, **more)
    return Patient(path=path, env=env, state=state, loaded=loaded, missing=expander.missing, **more)
