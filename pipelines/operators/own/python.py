"""``python``: a class of your own as a step, in a process of its own."""

from __future__ import annotations

import ast
import enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from gateway.errors import FieldError
from gateway.units import Duration, Size
from pipelines.base import OperatorConfig

if TYPE_CHECKING:
    from pipelines.base import Operator, Points

MAX_FILE: Final = 1 << 20
_EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "clip.py"


class OnTimeout(enum.StrEnum):
    """What becomes of samples that the class did not answer for."""

    PASS = "pass"  # noqa: S105 - a policy, not a password
    DROP = "drop"


class PythonConfig(OperatorConfig, frozen=True, kw_only=True):
    """Run a class of your own from a file. It cannot stop the gateway, whatever it does.

    The class is made once with ``options`` as keyword arguments, in a worker process: ``python -I`` of the gateway's
    own environment (numpy is there), no variables, no standard input and output, a limit on memory. For each frame::

        def process(self, columns, names): ...

    ``columns`` are the numpy arrays point (int32: ``names[number]`` is the name), time (int64, ns since 1970 UTC),
    value (float64) and quality (uint16), of one length and not to be written to. What it returns are such columns too,
    or None for nothing; ``names.add("m1/power#mine", unit="W")`` gives the number of a point of its own. It may also
    have ``tick(now_ns, names)``, asked at ticks while samples come, and ``snapshot()`` and ``restore(state)``, of
    numbers, texts, lists, dicts and arrays, so that a restart costs nothing. The contract of operators holds for it
    too: the same frames give the same output, however samples are cut into frames, and a quality never gets better.
    ``pipelines/examples/clip.py`` is one to copy.

    The gateway waits for each answer at most for ``timeout``, and for the first loading of the file ``start_timeout``.
    Where the class is late, dies, writes nonsense or is out of memory, its process is ended and started again, in the
    background, after 0.1 s, doubling to 60 s; it begins with the state of the last checkpoint. Samples that it did
    not answer for, or for which it raised, pass or are dropped by ``on_timeout``, counted as ``python-timeout``,
    ``python-died``, ``python-garbage``, ``python-error``, or ``python-starting`` while it is being started again. The
    first message of each trouble is logged with the end of the traceback; what the class prints is lost.

    It is no jail: the process has the user and the network of the gateway, so name only files that you trust. After
    a crash of the gateway the journal is replayed; time limits that were missed are not missed again in the same
    places. The way there and back costs about 0.2 ms a frame and 0.2 us a sample.

    Example::

        steps:
          - python: {file: pipelines/examples/clip.py, class: Clip, options: {high: 250}, points: "*/voltage"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {
            "file": str(_EXAMPLE),
            "class": "Clip",
            "options": {"high": 200.0},
            "timeout": "10s",
            "start_timeout": "60s",
        },
    )

    file: str
    """The Python file; absolute, or relative to the working directory of the daemon (under systemd: ``/``)."""
    class_: str = msgspec.field(name="class")
    """The class in it."""
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    """Keyword arguments that the class is made with."""
    timeout: Duration = Duration(0.1)
    """Longest that the gateway waits for an answer, 1 ms to 10 s; all pipelines wait with it."""
    start_timeout: Duration = Duration(10)
    """Longest that it waits once, at the first samples, for the class to be loaded; 10 ms to 60 s."""
    on_timeout: OnTimeout = OnTimeout.PASS
    """What becomes of samples that get no answer: ``pass`` as they are, or ``drop``."""
    memory: Size = Size(256 << 20)
    """What the class may allocate beyond the interpreter and numpy, at least 16 MiB."""

    def __post_init__(self) -> None:
        _check_class(_source(self.file), self.class_)
        if not all(name.isidentifier() for name in self.options):
            raise FieldError("options", "are keyword arguments: names of letters, digits and _")
        try:
            msgspec.msgpack.encode(self.options)
        except (TypeError, OverflowError, RecursionError, ValueError) as error:
            raise FieldError("options", f"cannot be handed to the worker: {error}") from None
        if not 1_000_000 <= self.timeout.ns <= 10 * 10**9:
            raise FieldError("timeout", "must be 1ms to 10s: everything waits with it")
        if not 10_000_000 <= self.start_timeout.ns <= 60 * 10**9:
            raise FieldError("start_timeout", "must be 10ms to 60s")
        if self.memory < 16 << 20:
            raise FieldError("memory", "must be at least 16MiB")

    def create(self, points: Points) -> Operator:
        """The operator for these options."""
        from pipelines.operators.own.python_step import Python

        return Python(self, points)


def _source(name: str) -> ast.Module:
    """The file, read and not run.

    Raises:
        FieldError: there is none, or it is no Python.
    """
    file = Path(name)
    try:
        text = file.read_bytes()[: MAX_FILE + 1]
    except OSError as error:
        where = "" if file.is_absolute() else f" (looked for in {Path.cwd()}; better write an absolute path)"
        raise FieldError("file", f"cannot be read: {error.strerror or error}{where}") from None
    if file.suffix != ".py" or len(text) > MAX_FILE:
        raise FieldError("file", f"must be a Python file (.py) of at most {MAX_FILE >> 20} MiB")
    try:
        return ast.parse(text, name)
    except SyntaxError as error:
        raise FieldError("file", f"is no Python: line {error.lineno}: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise FieldError("file", f"is no Python: {error}") from None


def _check_class(module: ast.Module, name: str) -> None:
    """Whether the file has the class, as far as can be told without running it.

    Raises:
        FieldError: it has not.
    """
    classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
    if name not in classes:
        others = f"; there is {', '.join(sorted(classes))}" if classes else ""
        raise FieldError("class", f'the file has no class "{name}"{others}')
    methods = {node.name for node in classes[name].body if isinstance(node, ast.FunctionDef)}
    if "process" not in methods and not classes[name].bases:
        raise FieldError("class", f'"{name}" has no method process(self, columns, names)')
