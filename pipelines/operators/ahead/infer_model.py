"""A model in ONNX behind onnxruntime: what it takes and gives, and running it. Loaded where a step ``infer`` is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping

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


class ModelError(Exception):
    """The model is of no use, or not for this; the text says why and ``field`` which option it is about."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
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

    Raises:
        ModelError: it cannot be loaded, or does not fit.
    """

    def __init__(self, path: str, windows: Mapping[str, Window], widths: Mapping[str, int]) -> None:
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
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except self._errors as error:
            raise ModelError("model", f"cannot be loaded: {_line(error)}") from None
        self._windows, self._widths = dict(windows), dict(widths)
        self._types = {given.name: FLOATS.get(given.type) for given in self._session.get_inputs()}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._names()
        self.batches = all(
            not given.shape or not isinstance(given.shape[0], int) for given in self._session.get_inputs()
        )
        """Whether several windows can be run at once."""
        self._try()

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
            except ModelError:
                if count == 1:
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
            ModelError: it failed.
        """
        count = len(next(iter(windows.values())))
        if self.batches or count == 1:
            return self._run(windows)
        single = [self._run({name: column[i : i + 1] for name, column in windows.items()}) for i in range(count)]
        return {name: np.concatenate([one[name] for one in single]) for name in self._widths}

    def _run(self, windows: Mapping[str, Values]) -> dict[str, Values]:
        count = len(next(iter(windows.values())))
        feeds: dict[str, npt.NDArray[Any]] = {}
        with np.errstate(over="ignore"):
            for name, window in windows.items():
                feeds[name] = window.reshape(count, *self._shapes[name]).astype(self._types[name])
        try:
            given = self._session.run(list(self._widths), feeds)
        except self._errors as error:
            raise ModelError("inputs", f"the model fails: {_line(error)}") from None
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
