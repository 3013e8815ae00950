"""``${...}`` in leaves."""

from __future__ import annotations

import pytest

from gateway.config.compose import parse
from gateway.config.expand import MAX_CREDENTIAL, Expander
from gateway.errors import Problem


def expanded(value: str, env: dict[str, str]):
    root, problems = parse(f"top:\n  leaf: {value}\n", "f.yaml")
    assert problems == []
    expander = Expander(env)
    node = expander.mapping(root).entries["top"].value.entries["leaf"].value
    return node, [str(problem) for problem in expander.problems], expander.secrets


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("${A}", "1"),
        ("x${A}y${B}z", "x1ytwo wordsz"),
        ("${E}", ""),
        ("${E:-fallback}", "fallback"),
        ("${NONE:-}", ""),
        ("${NONE:-a:b-c?d}", "a:b-c?d"),
        ("${A:-fallback}", "1"),
        ("${A:?why}", "1"),
        ("'$${A}'", "${A}"),
        ("'$$${A}'", "$${A}"),
        ("'$$ $ $A {A} $'", "$$ $ $A {A} $"),
        ("${NESTED}", "${A}"),
        ("${credential:-no credential}", "no credential"),
    ],
)
def test_references(value, text):
    env = {"A": "1", "B": "two words", "E": "", "NESTED": "${A}"}
    node, problems, secrets = expanded(value, env)
    assert problems == []
    assert node.text == text
    assert node.expanded is ("${" in value)
    assert not node.secret
    assert secrets == set()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("${NONE}", "$NONE is not set; set it, or write ${NONE:-default}"),
        ("${NONE:?the broker}", "$NONE is not set: the broker"),
        ("${E:?the broker}", "$E is empty: the broker"),
        ("${E:?}", "$E is empty"),
        ("'${A'", "${ without its }; write $${ for the characters themselves"),
        ("${}", None),
        ("${1A}", None),
        ("${A:=x}", None),
        ("'${A:-${E}}'", "${ without its }; write $${ for the characters themselves"),
        ("${credential:a/b}", "'a/b' is not the name of a credential: a file name without a folder"),
        ("${credential:..}", "'..' is not the name of a credential: a file name without a folder"),
        ("${credential:}", "'' is not the name of a credential: a file name without a folder"),
    ],
)
def test_what_cannot_be_expanded_is_told_at_the_leaf(value, message):
    node, problems, _ = expanded(value, {"A": "1", "E": "", "CREDENTIALS_DIRECTORY": "/nowhere"})
    (problem,) = problems
    assert problem.startswith("f.yaml:2:9: top.leaf: ")
    assert node.failed
    if message is None:
        assert "is not understood; write ${VAR}" in problem
    else:
        assert problem == f"f.yaml:2:9: top.leaf: {message}"


def test_credentials_are_files_and_secret(tmp_path):
    (tmp_path / "mqtt").write_text("pässword\n")
    (tmp_path / "two-lines").write_text("a\nb\r\n")
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    node, problems, secrets = expanded("user:${credential:mqtt}", env)
    assert (node.text, node.secret, problems, secrets) == ("user:pässword", True, [], {"pässword"})
    assert expanded("${credential:two-lines}", env)[0].text == "a\nb"


def test_credentials_that_cannot_be_read(tmp_path):
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"x" * (MAX_CREDENTIAL + 1))
    (tmp_path / "folder").mkdir()
    for name, words in {
        "binary": "not UTF-8 text",
        "large": "larger than 1 MiB",
        "folder": "Is a directory",
        "missing": "No such file",
    }.items():
        (problem,) = expanded(f"${{credential:{name}}}", env)[1]
        assert f"credential '{name}': {words}" in problem
    (problem,) = expanded("${credential:x}", {})[1]
    assert "$CREDENTIALS_DIRECTORY is not set" in problem


def test_keys_are_never_expanded():
    root, _ = parse('"${A}": x\n', "f.yaml")
    assert list(Expander({"A": "1"}).mapping(root).entries) == ["${A}"]


def test_problems_hide_credentials_whole_and_in_pieces(tmp_path):
    (tmp_path / "x").write_text("hunter2/with'quote\\and")
    (tmp_path / "y").write_text("hunter2")
    root, _ = parse("a: ${credential:x}\nb: ${credential:y}\n", "f")
    expander = Expander({"CREDENTIALS_DIRECTORY": str(tmp_path)})
    secret = expander.mapping(root).entries["a"].value.text
    said = f"{secret} {secret!r} port 'hunter2' of hunter2"
    hidden = expander.hide(Problem("f", 1, 1, "a", said)).message
    assert "hunter2" not in hidden
    assert "quote" not in hidden
    assert hidden.endswith("port '***' of ***")
