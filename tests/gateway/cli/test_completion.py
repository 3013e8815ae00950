"""``onpath completion``: what is offered, by the verbs themselves and in a real bash."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from gateway.cli.completion import CHOICES, FILES, NAMES, NO_SPACE, SHELLS, candidates
from gateway.cli.completion_names import known, state_in
from gateway.cli.main import app
from gateway.naming import continued
from tests.support.daemon import daemon
from tests.support.metered import metered

ROOT = typer.main.get_command(app)
CONFIG = """
adapters: {bus: {type: mqtt, url: "mqtt://127.0.0.1:1", subscribe: [{topic: "s/{device}", payload: json}]}}
pipelines:
  # the first
  live: {from: "**", steps: [{limits: {}}, {deadband: {absolute: 1}}, {deadband: {absolute: 2}}], to: [cloud]}
  load:
    from: "x/**"
    to: [cloud]
uplinks:
  cloud: {type: stdout}
"""


def offered(*words):
    return [candidate for candidate, _ in candidates(ROOT, words)]


def leaves(command, path=()):
    for name, one in command.commands.items():
        if hasattr(one, "commands"):
            yield from leaves(one, (*path, name))
        else:
            yield (*path, name), one


def test_all_that_is_known_of_parameters_is_of_some():
    there = {" ".join((*path, one.name)) for path, command in leaves(ROOT) for one in command.params}
    assert CHOICES.keys() | NAMES.keys() <= there


@pytest.mark.parametrize(
    ("words", "some"),
    [
        (["po"], {"points"}),
        (["modbus", "v"], {"verify"}),
        (["tap", "--a"], {"--after"}),
        (["points", "--quality", "q"], {"questionable"}),
        (["points", "--sort="], {"--sort=name", "--sort=age", "--sort=value", "--sort=quality"}),
        (["points", "--sort", "=", "n"], {"--sort=name"}),
        (["top", "--view", "d"], {"devices"}),
        (["completion", ""], set(SHELLS)),
        (["check", ""], {FILES}),
        (["check", "-c", ""], {FILES}),
        (["tap", "--save", "x"], {FILES}),
        (["tap", "--for", ""], set()),
        (["modbus", "verify", "eastron-sdm6"], {"eastron-sdm630"}),
        (["tap", "--json", "--", "--a"], set()),
        (["nothing", "x"], set()),
    ],
)
def test_words(words, some):
    assert set(offered(*words)) == some


def test_every_verb_is_offered_and_hidden_options_are_not():
    assert set(offered("")) == set(ROOT.commands)
    assert "--words" not in offered("completion", "--")
    assert "--json" in offered("status", "--")
    assert "--json" not in offered("status", "--json", "--state", "x", "--st")


def test_an_option_is_offered_once_unless_it_may_be_repeated():
    assert offered("tap", "--after", "x", "--aft") == []
    assert offered("discover", "--topic", "x", "--topi") == ["--topic"]


def test_many_names_are_offered_in_parts():
    names = [f"m{device}/{point}" for device in range(30) for point in ("power", "voltage")]
    assert continued(names, "m1", most=100)[:2] == ["m1/power", "m1/voltage"]
    assert continued(names, "m1", most=5) == ["m1/", "m10/", "m11/", "m12/", "m13/"]
    assert continued([*names, "mx"], "m", most=40)[-1] == "mx"


def test_the_state_folder_is_found_without_reading_all(tmp_path, monkeypatch):
    monkeypatch.setenv("WHERE", "/srv")
    file = tmp_path / "a.yaml"
    for text, folder in (
        ("state: /x/y  # here\n", "/x/y"),
        ('state: "${WHERE}/z"\n', "/srv/z"),
        ("state: ${NOT_THERE:-/d}/z\n", "/d/z"),
        ("uplinks:\n  state: no\n", "/var/lib/onpath"),
    ):
        file.write_text(text)
        assert state_in(tmp_path) == state_in(file) == Path(folder)


def test_names_come_from_the_files_if_nothing_runs(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(f"state: {tmp_path}/state\n{CONFIG}")
    given = {"config": str(tmp_path)}
    assert known(given, "pipelines", "l") == ["live", "load"]
    assert known(given, "uplinks", "") == ["cloud"]
    assert known(given, "points", "") == []
    assert known({"config": str(tmp_path / "nothing")}, "pipelines", "") == []


async def test_names_of_the_running_gateway(tmp_path):
    async with daemon(tmp_path, CONFIG) as running:
        of = {"config": str(running.config)}
        found = {
            kind: await asyncio.to_thread(known, of, kind, "") for kind in ("pipelines", "uplinks", "adapters", "steps")
        }
        assert found["pipelines"] == ["live", "load"]
        assert (found["uplinks"], found["adapters"]) == (["cloud"], ["bus"])
        assert found["steps"] == ["live/1", "live/2", "live/limits"]
        words = ("bound", "-c", str(running.config), "live", "l")
        assert await asyncio.to_thread(offered, *words) == ["limits"]


def test_names_of_points_with_a_running_gateway_and_without(tmp_path):
    with metered(tmp_path) as site:
        running = offered("tap", "-c", str(site.config), "m1/power")
        site.kill()
        stopped = offered("tap", "--state", str(site.state), "m1/power")
        assert {"m1/power", "m1/power_l1"} <= set(running) == set(stopped)
        many = offered("points", "--state", str(site.state), "")
        assert many[0] == NO_SPACE or "m2/power" in many


def bash(script, cwd):
    env = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(cwd)}
    done = subprocess.run(
        ["/bin/bash", "--norc", "-c", script], capture_output=True, text=True, cwd=cwd, env=env, timeout=60, check=True
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


PRESS = """
source <(onpath completion bash)
compopt() {{ echo "compopt $*"; }}  # there is none outside of a completion
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_onpath
printf '%s\\n' "${{COMPREPLY[@]}}"
complete -p onpath
"""


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("onpath po", ["points"]),
        ("onpath graph --format ''", ["text", "mermaid", "svg"]),
        ("onpath graph --format = m", ["mermaid"]),
        ("onpath check ''", ["compopt -o default", ""]),
        ("onpath bound -c . ''", ["live", "load"]),
    ],
)
def test_in_bash(tmp_path, words, shown):
    (tmp_path / "a.yaml").write_text(f"state: {tmp_path}/state\n{CONFIG}")
    assert bash(PRESS.format(words=words), tmp_path) == [*shown, "complete -F _onpath onpath"]


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_are_printed(onpath, shell):
    code, out, err = onpath("completion", shell)
    assert (code, err) == (0, "")
    assert "completion --words --" in out


def test_another_shell_is_refused(onpath):
    code, _, err = onpath("completion", "tcsh")
    assert (code, "bash, zsh, fish" in err) == (2, True)


def test_it_is_quick_because_it_loads_little():
    code = (
        "import sys, typer; from gateway.cli.main import app; from gateway.cli.completion import candidates;"
        "list(candidates(typer.main.get_command(app), ['tap', '--state', '/nowhere', 'm']));"
        "print([m for m in ('numpy', 'yaml', 'asyncio', 'rich', 'gateway.config') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
