"""A worker of the cluster, in a process of its own: ``python -m gateway.demo.cluster_worker --worker 3 --workers 8``.

It is told what to do by JSON lines on its input, and answers each with one:

    {"do": "join", "job": "tree", "server": false, "addresses": ["127.0.0.1:40123"], "token": "...", "packed": true}
    {"do": "rounds", "n": 10, "hold": 4}    {"waits": 4} in round 4, which goes on with the next line; then
                                            {"weights": "5f2b...", "rounds_ms": [...], "reduce_ms": [...]}
    {"do": "leave"}                         {"sent": 2031616, "fallbacks": 1, "error": 0.21}
    (end of input)                          it ends

With ``--central`` one process does the work of all, without any network, and adds the integers itself. Asked to, it
also writes the vectors of all workers as JSON, in one round of so many:

    {"do": "rounds", "n": 40, "json_every": 8}    {"weights": ..., "json_bytes": 22096000, "json_rounds": 5}
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from gateway.demo.cluster_model import LENGTH, RATE, Floats, Part, error, first_weights
from gateway.reduction.client import Job, Numbers, Parameters, Reducer
from gateway.reduction.terms import Terms

NUMBERS = Numbers(scale=14)
"""Half of a gradient's numbers are above 2.5e-3, which is 40 steps of 2**-14: the model errs as with 30 bits behind the
point to four digits, and a sum of four workers takes about 12 bits instead of 28."""
HOME_S = 0.5
DEAD_S = 3.0
GIVE_UP_S = 60.0


class Way(Protocol):
    """How the weights of the next round come about."""

    def step(self, weights: Floats, gradient: Floats) -> Floats:
        """The weights after this worker's gradient, and those of all others."""


class ByAllReduce:
    """Everybody has the weights, and takes the sum from them."""

    def __init__(self, reducer: Reducer, job: Job, rate: float) -> None:
        self._reducer, self._job, self._rate = reducer, job, rate

    def step(self, weights: Floats, gradient: Floats) -> Floats:
        """See :class:`Way`."""
        return weights - self._rate * self._reducer.allreduce(gradient, self._job)


class ByServer:
    """The root has the weights."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters

    def step(self, weights: Floats, gradient: Floats) -> Floats:
        """See :class:`Way`."""
        del weights
        self._parameters.push(gradient)
        return self._parameters.pull()


class Worker:
    """One of them, or all in one."""

    def __init__(self, worker: int, workers: int, seed: int, *, central: bool) -> None:
        self._worker, self._workers, self._seed = worker, workers, seed
        self._rate = RATE / workers
        mine = range(workers) if central else [worker]
        self._parts = [Part(one, workers, seed) for one in mine]
        self._terms = Terms("central", workers, LENGTH, NUMBERS.slot, NUMBERS.scale, NUMBERS.magnitude, rate=self._rate)
        self._weights = first_weights(seed)
        self._step = 0
        self._reducer: Reducer | None = None
        self._way: Way | None = None

    def join(self, order: dict[str, Any]) -> dict[str, Any]:
        """Begin anew, with others."""
        self._weights, self._step = first_weights(self._seed), 0
        self._reducer = Reducer(
            order["addresses"], token=order["token"], dead_s=DEAD_S, give_up_s=GIVE_UP_S, home_s=HOME_S
        )
        numbers = replace(NUMBERS, packed=order.get("packed", True))
        job = Job(order["job"], self._worker, self._workers, numbers)
        if order["server"]:
            self._way = ByServer(self._reducer.parameters(self._weights, job, rate=self._rate))
        else:
            self._way = ByAllReduce(self._reducer, job, self._rate)
        return {"joined": order["job"]}

    def rounds(self, order: dict[str, Any]) -> dict[str, Any]:
        """Learn for some rounds."""
        rounds_ms, reduce_ms, texts = [], [], []
        every = order.get("json_every")
        for number in range(order["n"]):
            began = time.perf_counter()
            gradients = [part.gradient(self._weights, self._step) for part in self._parts]
            if order.get("hold") == number:
                tell({"waits": number})
                sys.stdin.readline()
            ready = time.perf_counter()
            self._weights = self._next(gradients)
            ended = time.perf_counter()
            rounds_ms.append(round((ended - began) * 1000, 3))
            reduce_ms.append(round((ended - ready) * 1000, 3))
            if every and self._step % every == 0:
                texts.append(sum(map(json_bytes, gradients)))
            self._step += 1
        digest = hashlib.sha256(self._weights.tobytes()).hexdigest()
        answer = {"weights": digest, "rounds_ms": rounds_ms, "reduce_ms": reduce_ms, "error": self._error()}
        return answer | ({"json_bytes": sum(texts), "json_rounds": len(texts)} if every else {})

    def _next(self, gradients: list[Floats]) -> Floats:
        if self._way is not None:
            return self._way.step(self._weights, gradients[0])
        total = np.sum([self._terms.scaled(gradient) for gradient in gradients], axis=0)
        return self._terms.applied(self._weights, total)

    def _error(self) -> float:
        return error(self._weights, self._parts[0].days, self._parts[0].after)

    def leave(self) -> dict[str, Any]:
        """Say goodbye to the others."""
        assert self._reducer is not None
        self._reducer.close()
        return {"sent": self._reducer.sent_bytes, "fallbacks": self._reducer.fallbacks}


def json_bytes(vector: Floats) -> int:
    """What a vector takes as a JSON list, as short as JSON can say exactly these numbers."""
    return len(json.dumps(vector.tolist(), separators=(",", ":")))


def tell(answer: dict[str, Any]) -> None:
    """One line."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Do as told."""
    parser = argparse.ArgumentParser(prog="python -m gateway.demo.cluster_worker", description="a worker")
    parser.add_argument("--worker", type=int, default=0)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--central", action="store_true", help="do the work of all")
    options = parser.parse_args()
    worker = Worker(options.worker, options.workers, options.seed, central=options.central)
    tell({"ready": options.worker})
    for line in sys.stdin:
        order = json.loads(line)
        match order["do"]:
            case "join":
                tell(worker.join(order))
            case "rounds":
                tell(worker.rounds(order))
            case "leave":
                tell(worker.leave())


if __name__ == "__main__":
    main()
