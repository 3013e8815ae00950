"""A model in ONNX behind onnxruntime: what it takes and gives, and running it. Loaded where a step ``infer`` is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from pipelines.operators.ahead.infer_limit import Limit, RestingError, SlowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gateway.frame import Values

FLOATS: Final[dict[str, type[np.floating[Any]]]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
}
"""Types of inputs that windows are handed over in."""
NUMBERS: Final = (
    *FLOATS,
    "tensor(bool)",
    *(f"tensor({sign}int{bits})" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)
Shape = list[Any]
Feeds = dict[str, npt.NDArray[Any]]
START_FACTOR: Final = 10
"""Loading the model, and its first run, may take so many times the limit: a machine that starts is busy;"""
LONGEST_START_S: Final = 20.0
"""but not longer than this."""


class ModelError(Exception):
    """The model is of no use, or not for this; the text says why and ``field`` which option it is about.

    ``reason`` is what is counted.
    """

    def __init__(self, field: str, message: str, reason: str = "model-error") -> None:
        self.field = field
        self.reason = reason
        super().__init__(message)


@dataclass(frozen=True)
class Window:
    """What one input is fed with: k times of m points, with the points first if so wished."""

    times: int
    points: int
    points_first: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Of one window."""
        return (self.points, self.times) if self.points_first else (self.times, self.points)


class Model:
    """One model, checked against what it is to be fed with. One thread, on the CPU.

    Args:
        path: the file.
        windows: for each input of the model what it gets.
        widths: for each output that is wanted how many numbers it has to give a window.
        limit_s: longest that one run may take, in seconds.

    Raises:
        ModelError: it cannot be loaded, or does not fit.
    """

    def __init__(
        self, path: str, windows: Mapping[str, Window], widths: Mapping[str, int], *, limit_s: float = 10.0
    ) -> None:
        try:
            import onnxruntime
            from onnxruntime.capi import onnxruntime_pybind11_state as native
        except ImportError:
            raise ModelError(
                "model", "needs onnxruntime, which is not installed: pip install 'onpath[infer]'"
            ) from None
        own = (kind for kind in vars(native).values() if isinstance(kind, type) and issubclass(kind, Exception))
        self._errors: tuple[type[Exception], ...] = (RuntimeError, ValueError, TypeError, *own)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what is wrong is raised too
        self._options = onnxruntime.RunOptions
        self._limit = Limit(min(START_FACTOR * limit_s, LONGEST_START_S))
        self._session = self._loaded(
            lambda: onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]),
            lambda: options.set_load_cancellation_flag(True),
        )
        self._windows, self._widths = dict(windows), dict(widths)
        self._types = {given.name: FLOATS.get(given.type) for given in self._session.get_inputs()}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._names()
        self.batches = all(
            not given.shape or not isinstance(given.shape[0], int) for given in self._session.get_inputs()
        )
        """Whether several windows can be run at once."""
        self._try()
        self._limit = Limit(limit_s)

    def _loaded(self, load: Callable[[], Any], end: Callable[[], None]) -> Any:
        try:
            return self._limit.call(load, end)
        except SlowError:
            raise ModelError("model", f"cannot be loaded within {self._limit.limit_s:g} s") from None
        except self._errors as error:
            raise ModelError("model", f"cannot be loaded: {_line(error)}") from None

    def _names(self) -> None:
        """Inputs and outputs by name, type and shape."""
        inputs = {given.name: given for given in self._session.get_inputs()}
        if inputs.keys() != self._windows.keys():
            raise ModelError("inputs", f"the model has the inputs {_told(inputs)}; give each of them")
        for name, given in inputs.items():
            if self._types[name] is None:
                raise ModelError("inputs", f"{name}: takes {given.type}; only floating-point tensors can be fed")
            self._shapes[name] = _fitting(name, given.shape, self._windows[name])
        outputs = {given.name: given for given in self._session.get_outputs()}
        for name in self._widths:
            if name not in outputs:
                raise ModelError("outputs", f"the model has no output {name}; it has {_told(outputs)}")
            if outputs[name].type not in NUMBERS:
                raise ModelError("outputs", f"{name}: gives {outputs[name].type}; only tensors of numbers can be used")

    def _try(self) -> None:
        """Run it on zeros: shapes that are not declared only show there."""
        for count in (2, 1) if self.batches else (1,):
            zeros = {name: np.zeros((count, *window.shape)) for name, window in self._windows.items()}
            try:
                self._run(zeros)
            except ModelError as error:
                if count == 1 or error.reason != "model-error":
                    raise
                self.batches = False
            else:
                return

    def run(self, windows: Mapping[str, Values]) -> dict[str, Values]:
        """What it gives.

        Args:
            windows: for each input [k, times, points] (or with the points first).

        Returns:
            For each output [k, width].

        Raises:
            ModelError: it failed, or took too long.
        """
        count = len(next(iter(windows.values())))
        if self.batches or count == 1:
            return self._run(windows)
        given = [self._outputs(one, 1) for one in self._given(list(self._single(windows)))]
        return {name: np.concatenate([one[name] for one in given]) for name in self._widths}

    def run_each(self, windows: Mapping[str, Values]) -> list[dict[str, Values] | None]:
        """What it gives for each window by itself, None where it fails; all together within the limit.

        Raises:
            ModelError: it took too long.
        """
        found: list[dict[str, Values] | None] = []
        for one in self._given(list(self._single(windows)), whatever=True):
            try:
                found.append(None if one is None else self._outputs(one, 1))
            except ModelError:
                found.append(None)
        return found

    def _run(self, windows: Mapping[str, Values]) -> dict[str, Values]:
        (given,) = self._given([self._feeds(windows)])
        return self._outputs(given, len(next(iter(windows.values()))))

    def _single(self, windows: Mapping[str, Values]) -> Iterator[Feeds]:
        for at in range(len(next(iter(windows.values())))):
            yield self._feeds({name: column[at : at + 1] for name, column in windows.items()})

    def _feeds(self, windows: Mapping[str, Values]) -> Feeds:
        """Windows in the shape and type that each input takes."""
        with np.errstate(over="ignore"):
            return {
                name: window.reshape(len(window), *self._shapes[name]).astype(self._types[name])
                for name, window in windows.items()
            }

    def _given(self, feeds: Sequence[Feeds], *, whatever: bool = False) -> list[Any]:
        """What one run after the other gives; with ``whatever`` None for one that fails."""
        options = self._options()
        options.log_severity_level = 4  # an ended run is told by an error, too
        names = list(self._widths)

        def work() -> list[Any]:
            given: list[Any] = []
            for one in feeds:
                if options.terminate:
                    break
                try:
                    given.append(self._session.run(names, one, options))
                except self._errors:
                    if not whatever:
                        raise
                    given.append(None)
            return given

        try:
            found: list[Any] = self._limit.call(work, lambda: setattr(options, "terminate", True))
        except SlowError:
            text = f"a run takes longer than {self._limit.limit_s:g} s and was ended"
            raise ModelError("model", text, "model-timeout") from None
        except RestingError:
            raise ModelError("model", "rests after a run that took too long", "model-resting") from None
        except self._errors as error:
            raise ModelError("inputs", f"the model fails: {_line(error)}") from None
        return found

    def _outputs(self, given: Sequence[Any], count: int) -> dict[str, Values]:
        return {name: self._output(name, np.asarray(one), count) for name, one in zip(self._widths, given, strict=True)}

    def _output(self, name: str, given: npt.NDArray[Any], count: int) -> Values:
        width = self._widths[name]
        if given.size != count * width or (given.ndim and given.shape[0] != count and count > 1):
            shape = "x".join(map(str, given.shape)) or "a scalar"
            raise ModelError(
                "outputs", f"{name}: gives {shape} for {count} window(s), which is not {width} number(s) each"
            )
        return given.reshape(count, width).astype(np.float64)


def _fitting(name: str, declared: Shape, window: Window) -> tuple[int, ...]:
    """The shape of one window as the model declares it; the first axis is the batch."""
    if not declared or (isinstance(declared[0], int) and declared[0] != 1):
        raise ModelError("inputs", f"{name}: the model's first axis has to be the batch, open or 1")
    flat = (window.times * window.points,)
    for shape in (window.shape, flat):
        if len(declared) == len(shape) + 1 and all(
            not isinstance(axis, int) or axis == own for axis, own in zip(declared[1:], shape, strict=True)
        ):
            return shape
    times, points = window.shape
    raise ModelError(
        "inputs", f"{name}: the model takes {_shape(declared)}, but the window is batch x {times} x {points}"
        f" (or batch x {flat[0]}); change window, points or layout",
    )  # fmt: skip


def _shape(declared: Shape) -> str:
    return " x ".join(str(axis) if axis else "?" for axis in declared)


def _told(given: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} ({one.type}, {_shape(one.shape)})" for name, one in given.items()) or "none"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
