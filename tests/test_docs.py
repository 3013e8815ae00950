"""The documentation holds: blocks load, links lead somewhere, commands and paths exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from gateway.cli.main import app
from gateway.config import GatewayConfig, load_checked
from gateway.config.plugins import installed
from gateway.errors import ConfigError
from tests.support.documents import DOCUMENTS, ROOT, anchors, blocks, code, commands, links, name, prose

BLOCKS = [block for path in DOCUMENTS for block in blocks(path)]
WALKED = ("file: ", "from configs/reference.yaml")
"""Loaded elsewhere: where a page is walked through, and in the file that it is a part of."""
YAML = [block for block in BLOCKS if block.language in {"yaml", "yml"} and not block.marker.startswith(WALKED)]
RUN = [block for block in BLOCKS if block.marker == "run" and block.language == "console"]
TOP = set(GatewayConfig.__struct_encode_fields__)
VERBS = typer.main.get_command(app).commands
EVERY_DOCUMENT = pytest.mark.parametrize("path", DOCUMENTS, ids=name)


def test_there_is_something_to_check():
    assert {name(path) for path in DOCUMENTS} >= {
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/configuration.md",
        "adapters/modbus/README.md",
        "adapters/coap/README.md",
        "adapters/mqtt/README.md",
        "pipelines/README.md",
    }
    assert len(YAML) > 15
    assert RUN


def wholes(text: str) -> list[str]:
    """Configurations that a block may stand for: itself, or what it is a part of. Empty: nothing that we know."""
    data = yaml.safe_load(text)
    if isinstance(data, dict) and data.keys() & TOP:
        return [text + stubs(data)]
    indented = text.replace("\n", "\n    ")
    if isinstance(data, dict) and "type" in data:
        return [f"{section}:\n  part:\n    {indented}\n" for section in ("adapters", "uplinks")]
    steps = data.get("steps") if isinstance(data, dict) else data
    if isinstance(steps, list) and all(isinstance(step, dict) for step in steps):
        body = indented if isinstance(data, dict) else f"steps:\n    {indented}"
        return [f"pipelines:\n  part:\n    from: '**'\n    to: stub\n    {body}\nuplinks:\n  stub: {{type: stdout}}\n"]
    return []


def stubs(data: dict) -> str:
    """Uplinks for the targets of pipelines, where a block is about something else."""
    pipelines = data.get("pipelines") or {}
    targets = {
        target for one in pipelines.values() for target in ([one["to"]] if isinstance(one["to"], str) else one["to"])
    }
    missing = sorted(targets - pipelines.keys())
    if "uplinks" in data or not missing:
        return ""
    return "uplinks:\n" + "".join(f"  {target}: {{type: stdout}}\n" for target in missing)


def loads(text: str, folder: Path) -> list[str]:
    """Load it as `onpath check` does; the warnings."""
    for credential in re.findall(r"\$\{credential:([\w.-]+)\}", text):
        (folder / credential).write_text("secret\n")
    file = folder / "block.yaml"
    file.write_text(text)
    return [str(warning) for warning in load_checked(file, {"CREDENTIALS_DIRECTORY": str(folder)}).warnings]


@pytest.mark.parametrize("block", YAML, ids=str)
def test_yaml_loads(block, tmp_path):
    candidates = wholes(block.text)
    if not candidates:
        assert block.marker == "fragment", "no configuration; mark a part of one with <!-- fragment -->"
        return
    failures = []
    for text in candidates:
        try:
            warnings = loads(text, tmp_path)
        except ConfigError as error:
            failures.append(str(error))
        else:
            whole = yaml.safe_load(text).keys() >= {"adapters", "pipelines", "uplinks"}
            assert not whole or block.marker == "fragment" or warnings == []
            return
    pytest.fail("\n".join(failures))


@EVERY_DOCUMENT
def test_links_lead_somewhere(path):
    for link in links(path):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), f"{link} leads nowhere"
        assert file.is_relative_to(ROOT), f"{link} leads out of the project"
        if anchor:
            assert anchor in anchors(file), f"{link}: no such heading"


@EVERY_DOCUMENT
def test_paths_exist(path):
    """Inline code that looks like a path of the project is one."""
    for text in code(path):
        found = re.match(r"(?:gateway|adapters|pipelines|tests|configs|docs|systemd|\.ci)/[\w./-]*$", text)
        if found and "NAME" not in text:
            assert (ROOT / text).exists(), f"`{text}` does not exist"


@EVERY_DOCUMENT
def test_verbs_and_options_exist(path):
    for command in commands(path):
        for verb, rest in re.findall(r"(?:^|[\s/(])onpath ([a-z][a-z-]*)([^&|>#]*)", command):
            assert verb in VERBS, f"`{command}`: no verb {verb}"
            chosen = VERBS[verb]
            if hasattr(chosen, "commands"):  # a group of verbs
                sub = (rest.split() or [""])[0]
                sub = "" if sub.startswith("-") else sub  # a group that does something by itself
                assert sub in {"", *chosen.commands}, f"`{command}`: {verb} has no verb {sub}"
                chosen = chosen.commands.get(sub, chosen)
            known = {option for parameter in chosen.params for option in (*parameter.opts, *parameter.secondary_opts)}
            for option in re.findall(r"(?<!\S)(--?[a-z][\w-]*)", rest):
                assert option in known | {"--help"}, f"`{command}`: {verb} has no option {option}"


@EVERY_DOCUMENT
def test_make_targets_exist(path):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for command in commands(path):
        for target in re.findall(r"^make ([a-z]+)", command):
            assert target in targets, f"`{command}`: no target {target}"


def test_every_verb_and_target_is_documented():
    readme = " ".join(code(ROOT / "README.md"))
    assert [verb for verb in VERBS if f"onpath {verb}" not in readme] == []
    contributing = " ".join(code(ROOT / "CONTRIBUTING.md"))
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert [target for target in phony[1].split() if f"make {target}" not in contributing] == []


def test_every_plugin_is_in_the_readme():
    text = (ROOT / "README.md").read_text()
    plugins = installed()
    for names in (plugins.adapters, plugins.uplinks):
        assert [plugin for plugin in names if f"| [{plugin}](" not in text] == []
    assert [plugin for plugin in plugins.operators if f"[{plugin}](docs/operators.md#{plugin})" not in text] == []


@EVERY_DOCUMENT
def test_nothing_of_a_workplace(path):
    assert not re.search(r"(?<![\w.])/(?:work|root|home|Users)/", path.read_text())


@EVERY_DOCUMENT
def test_plain_text(path):
    assert "\t" not in prose(path)
    assert not re.search(r"[\U0001F300-\U0001FAFF\u2600-\u27BF]", path.read_text()), "no emoji"


@pytest.mark.parametrize("block", RUN, ids=str)
def test_what_is_marked_runs(block):
    """Each command ends with 0 and says what is shown behind it, if anything is."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        words = command.split()
        assert words[0] == "onpath"
        done = subprocess.run(
            [sys.executable, "-m", "gateway.cli.main", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=True
        )
        if shown.strip():
            assert done.stdout.strip() == shown.strip()
