"""Patients made of YAML."""

import pytest

from gateway.doctor.patient import read


@pytest.fixture
def patient_of(tmp_path):
    """A patient over a configuration file; the state folder is there."""

    def make(text="", env=None, **more):
        state = tmp_path / "state"
        state.mkdir(mode=0o700, exist_ok=True)
        path = tmp_path / "onpath.yaml"
        path.write_text(f"gateway: g1\nstate: {state}\n{text}")
        return read(path, env or {}, **more)

    return make


def kinds(found):
    """What was found that is not fine, by kind."""
    return {one.kind: one for one in found if one.severity != "ok"}
