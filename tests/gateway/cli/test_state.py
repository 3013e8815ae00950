"""Where the state is, also of a configuration that cannot be used here."""

from pathlib import Path

import pytest

from gateway.cli.state import state_of
from gateway.errors import ConfigError

SECRET = "adapters: {bus: {type: mqtt, url: 'mqtt://b', username: u, password: '${credential:p}'}}\n"


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("state: /x\n", "/x"),
        ("state: /x\n" + SECRET, "/x"),  # the service has the credential, a shell has not
        (SECRET, "/var/lib/onpath"),
        ("state: ${ONPATH_TEST_STATE}\nadapter: {}\n", "/y"),
    ],
)
def test_it_is_found(tmp_path, monkeypatch, text, state):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setenv("ONPATH_TEST_STATE", "/y")
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text("gateway: g\n")
    assert state_of(tmp_path) == Path(state)


@pytest.mark.parametrize("text", ["state: ${NOT_SET_ANYWHERE}\n", "state: [\n", "adapters: [\n", "state: {a: b}\n"])
def test_a_guess_is_worse_than_the_problem(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError):
        state_of(tmp_path)


def test_nothing_there(tmp_path):
    with pytest.raises(ConfigError):
        state_of(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError):
        state_of(tmp_path)
