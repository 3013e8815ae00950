"""What the cluster learns: to say a household's next quarter of an hour from the day before it.

A network of two layers, ``tanh`` between them, on the shipped household profiles. Each worker has its own part of the
days; a step takes a random handful of each. Everything follows from the seed, so that one process can do it all again.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DATA: Final = Path(__file__).with_name("data") / "households.csv"
DAY: Final = 96
"""Quarters of an hour."""
HIDDEN: Final = 256
BATCH: Final = 64
RATE: Final = 0.25
"""Of the mean gradient of all workers, a step."""
LENGTH: Final = DAY * HIDDEN + HIDDEN + HIDDEN + 1
"""Weights and biases of both layers."""


def samples() -> tuple[Floats, Floats]:
    """Days (n, 96) and what came after each (n,), every household scaled by itself."""
    with DATA.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    power = np.array([row[1:] for row in rows], dtype=np.float64)
    power = (power - power.mean(axis=0)) / power.std(axis=0)
    days = [np.lib.stride_tricks.sliding_window_view(series[:-1], DAY) for series in power.T]
    return np.concatenate(days), np.concatenate([series[DAY:] for series in power.T])


def first_weights(seed: int) -> Floats:
    """What everybody begins with."""
    rng = np.random.default_rng((seed, 0))
    layers = (rng.normal(size=DAY * HIDDEN) / DAY**0.5, np.zeros(HIDDEN), rng.normal(size=HIDDEN) / HIDDEN**0.5)
    return np.concatenate((*layers, np.zeros(1)))


def _layers(weights: Floats) -> tuple[Floats, Floats, Floats, float]:
    edge = DAY * HIDDEN
    return (
        weights[:edge].reshape(DAY, HIDDEN),
        weights[edge : edge + HIDDEN],
        weights[edge + HIDDEN : edge + 2 * HIDDEN],
        float(weights[-1]),
    )


def error(weights: Floats, days: Floats, after: Floats) -> float:
    """The mean square of what is said wrong."""
    inner, inner_bias, outer, bias = _layers(weights)
    said = np.tanh(days @ inner + inner_bias) @ outer + bias
    return float(np.mean((said - after) ** 2))


class Part:
    """The samples of one worker."""

    def __init__(self, worker: int, workers: int, seed: int) -> None:
        days, after = samples()
        self.days = np.ascontiguousarray(days[worker::workers])
        self.after = np.ascontiguousarray(after[worker::workers])
        self._seed = (seed, 1, worker)

    def gradient(self, weights: Floats, step: int) -> Floats:
        """Of half the mean square error, for a handful of samples that the step's number chooses."""
        chosen = np.random.default_rng((*self._seed, step)).integers(0, len(self.after), BATCH)
        days, after = self.days[chosen], self.after[chosen]
        inner, inner_bias, outer, bias = _layers(weights)
        hidden = np.tanh(days @ inner + inner_bias)
        wrong = (hidden @ outer + bias - after) / BATCH
        back = np.outer(wrong, outer) * (1.0 - hidden * hidden)
        return np.concatenate(((days.T @ back).ravel(), back.sum(axis=0), hidden.T @ wrong, [wrong.sum()]))
