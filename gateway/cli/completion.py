"""``onpath completion``: what a shell offers when somebody presses Tab.

The scripts (:mod:`gateway.cli.completion_scripts`) ask ``onpath completion --words -- WORD ...``. The answer is a line
a candidate, with a tab and an explanation behind it; a line that begins with ``:`` is for the shell: ``:files`` (it
completes the name of a file), ``:nospace`` (more follows the candidate).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, get_type_hints

from gateway.cli import completion_names as names

FILES: Final = ":files"
NO_SPACE: Final = ":nospace"
SHELLS: Final = ("bash", "zsh", "fish")

CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "top view": ("adapters", "devices", "pipelines", "uplinks", "alerts", "events"),
    "points quality": ("good", "questionable", "invalid"),
    "points sort": ("name", "age", "value", "quality"),
    "graph format_": ("text", "mermaid", "svg"),
    "receive format_": ("json", "parquet"),
    "spool export format_": ("json", "csv", "frame"),
    "console token role": ("read", "admin"),
    "completion shell": SHELLS,
}
"""Words by verb and parameter."""

NAMES: Final[dict[str, str]] = {
    "tap globs": "points",
    "tap after": "steps",
    "history globs": "points",
    "points words": "points",
    "points device": "devices",
    "bound pipeline": "pipelines",
    "bound step": "steps of",
    "spool export uplink": "uplinks",
    "spool export pipeline": "pipelines",
    "spool drain uplink": "uplinks",
    "init profile": "profiles",
    "modbus verify profile": "profiles",
    "modbus simulate profile": "profiles",
}
"""Names of what, by verb and parameter."""


@dataclass
class Typed:
    """What was understood of the words before the one that is being typed."""

    command: Any
    verb: tuple[str, ...] = ()
    option: Any = None
    """An option that waits for its value."""
    positional: list[str] = field(default_factory=list)
    given: dict[str, str] = field(default_factory=dict)
    """Values of options, by parameter."""
    only_arguments: bool = False
    """Behind ``--``."""


def candidates(root: Any, words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(candidate or instruction to the shell, explanation) for the last of the words, which may be empty."""
    joined = _joined(words)
    *before, last = joined or [""]
    typed = _read(root, before)
    if typed.option is not None:
        yield from _values(typed, typed.option, last)
    elif last.startswith("-") and not typed.only_arguments:
        option, equals, value = last.partition("=")
        if equals:
            found = _option(typed.command, option)
            for one, text in _values(typed, found, value) if found else ():
                yield (one if one in {FILES, NO_SPACE} else f"{option}={one}"), text
        else:
            yield from _options(typed, last)
    elif hasattr(typed.command, "commands"):
        for name, command in typed.command.commands.items():
            if name.startswith(last) and not command.hidden:
                yield name, command.get_short_help_str(80)
    else:
        argument = _argument(typed)
        if argument is not None:
            yield from _values(typed, argument, last)


def _joined(words: Sequence[str]) -> list[str]:
    """Bash cuts words at ``=``."""
    out: list[str] = []
    for word in words:
        if word == "=" and out and out[-1].startswith("--"):
            out[-1] += "="
        elif out and out[-1].startswith("--") and out[-1].endswith("="):
            out[-1] += word
        else:
            out.append(word)
    return out


def _read(root: Any, words: Sequence[str]) -> Typed:
    typed = Typed(root)
    for word in words:
        if typed.option is not None:
            typed.given[typed.option.name] = word
            typed.option = None
        elif word == "--" and not typed.only_arguments:
            typed.only_arguments = True
        elif word.startswith("-") and len(word) > 1 and not typed.only_arguments:
            _take_option(typed, word)
        elif word in getattr(typed.command, "commands", {}):
            typed.command = typed.command.commands[word]
            typed.verb = (*typed.verb, word)
        else:
            typed.positional.append(word)
    return typed


def _take_option(typed: Typed, word: str) -> None:
    option, equals, value = word.partition("=")
    found = _option(typed.command, option)
    if found is None or found.is_flag:
        return
    if equals:
        typed.given[found.name] = value
    else:
        typed.option = found


def _option(command: Any, word: str) -> Any:
    return next((one for one in command.params if word in (*one.opts, *one.secondary_opts)), None)


def _argument(typed: Typed) -> Any:
    """The argument that is being typed."""
    arguments = [one for one in typed.command.params if one.param_type_name == "argument"]
    at = len(typed.positional)
    if at < len(arguments):
        return arguments[at]
    return arguments[-1] if arguments and arguments[-1].nargs == -1 else None


def _options(typed: Typed, begun: str) -> Iterator[tuple[str, str]]:
    for option in typed.command.params:
        if option.param_type_name != "option" or option.hidden or (option.name in typed.given and not option.multiple):
            continue
        for word in (*option.opts, *option.secondary_opts):
            if word.startswith(begun) and (word.startswith("--") or begun != "--"):
                yield word, (option.help or "").replace("\n", " ")
    if "--help".startswith(begun):
        yield "--help", "Show the help."


def _values(typed: Typed, parameter: Any, begun: str) -> Iterator[tuple[str, str]]:
    key = " ".join((*typed.verb, parameter.name))
    if key in CHOICES:
        yield from ((word, "") for word in CHOICES[key] if word.startswith(begun))
    elif key in NAMES:
        yield from _named(typed, NAMES[key], begun)
    elif _takes_path(typed.command, parameter.name):
        yield FILES, ""


def _takes_path(command: Any, name: str) -> bool:
    """Whether the verb's function wants a path for this parameter."""
    hint = get_type_hints(inspect.unwrap(command.callback)).get(name)
    return "Path" in str(hint)


def _named(typed: Typed, kind: str, begun: str) -> Iterator[tuple[str, str]]:
    if kind == "profiles":
        found = names.profiles(begun)
    elif kind == "steps of":
        pipeline = typed.positional[0] if typed.positional else ""
        found = [name.rpartition("/")[2] for name in names.known(typed.given, "steps", f"{pipeline}/")]
        found = [step for step in found if step.startswith(begun)]
    else:
        found = names.known(typed.given, kind, begun)
    if found and all(name.endswith("/") for name in found):
        yield NO_SPACE, ""
    yield from ((name, "") for name in found)


def print_words(root: Any, words: Sequence[str]) -> None:
    """What a script asks for; whatever goes wrong, nothing is offered, and nothing said."""
    for candidate, text in candidates(root, words):
        print(f"{candidate}\t{text}" if text else candidate)
