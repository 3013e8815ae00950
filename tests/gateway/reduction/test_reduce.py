"""Workers in threads against real nodes on loopback."""

import asyncio
import multiprocessing
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
import pytest

from gateway.reduction.client import Job, Numbers, Reducer, ReductionError
from gateway.reduction.config import ReductionConfig
from gateway.reduction.server import ReductionServer

SMALL = Numbers(slot=64)


@asynccontextmanager
async def node(**options):
    server = ReductionServer(ReductionConfig(**{"listen": "127.0.0.1:0", "timeout": 0.6} | options))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def at(*servers):
    return ["{}:{}".format(*server.address) for server in servers]


@asynccontextmanager
async def tree(aggregators=2, **options):
    """A root with nodes below it."""
    async with node(**options) as root:
        below = [node(parent=at(root), **options) for _ in range(aggregators)]
        nodes = [await one.__aenter__() for one in below]
        try:
            yield root, nodes
        finally:
            for one in below:
                await one.__aexit__(None, None, None)


def vectors(workers, length, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(workers, length)) * 100


def exact(values, scale=30):
    """What one process adds up, in any order."""
    return np.ldexp(np.rint(np.ldexp(values, scale)).astype(np.int64).sum(axis=0).astype(np.float64), -scale)


async def everyone(work, workers):
    """``work(worker)`` of all at once, each in a thread of its own."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(workers) as threads:
        return await asyncio.gather(*(loop.run_in_executor(threads, work, worker) for worker in range(workers)))


def worker_of(addresses, job, values, rounds=3, **options):
    def work(worker):
        with Reducer(addresses(worker), dead_s=0.6, give_up_s=20, **options) as reducer:
            return [
                reducer.allreduce(values[worker] + number, Job(job, worker, len(values), SMALL))
                for number in range(rounds)
            ]

    return work


def check(results, values):
    for got in results:
        for number, total in enumerate(got):
            assert total.tobytes() == exact(values + number).tobytes()


async def test_all_get_the_same_bits_as_one_sum():
    values = vectors(8, 1000)
    async with tree() as (root, nodes):
        results = await everyone(worker_of(lambda worker: at(nodes[worker // 4], root), "a", values), 8)
        check(results, values)
        state = root.status()
    assert state["rounds"] == 3
    assert (state["repeats"], state["overlaps"], state["fallbacks"]) == (0, 0, 0)
    assert state["bytes"]["workers"] == {"received": 0, "sent": 0}
    sums = 2 * 3 * 1000 * 8
    assert sums < state["bytes"]["nodes"]["received"] < 1.1 * sums


async def test_the_root_alone_does_it_too_at_the_cost_of_bytes():
    values = vectors(8, 1000)
    async with node() as root:
        check(await everyone(worker_of(lambda _: at(root), "a", values), 8), values)
        sums = 8 * 3 * 1000 * 8
        assert sums < root.status()["bytes"]["workers"]["received"] < 1.1 * sums


async def test_a_tree_of_three_levels():
    values = vectors(4, 100)
    async with tree(1) as (root, (middle,)), node(parent=at(middle)) as low, node(parent=at(middle)) as other:
        check(await everyone(worker_of(lambda worker: at((low, other)[worker % 2], root), "a", values), 4), values)
        assert root.status()["bytes"]["nodes"]["received"] < 3 * 100 * 8 * 1.2


async def test_parameters_on_the_root_are_the_weights_of_one_process():
    values, first = vectors(4, 300), np.linspace(-1, 1, 300)

    def work(worker):
        with Reducer(at(nodes[worker // 2], root), dead_s=0.6, give_up_s=20) as reducer:
            server = reducer.parameters(first, Job("ps", worker, 4, SMALL), rate=0.125)
            assert server.pull().tobytes() == first.tobytes()
            for number in range(4):
                server.push(values[worker] + number)
                with pytest.raises(ReductionError, match="pull before the next push"):
                    server.push(values[worker])
                weights = server.pull()
            return weights

    async with tree() as (root, nodes):
        results = await everyone(work, 4)
        wanted = first
        for number in range(4):
            wanted = wanted - 0.125 * exact(values + number)
        assert {weights.tobytes() for weights in results} == {wanted.tobytes()}
        assert root.status()["bytes"]["nodes"]["received"] < (2 * 4 + 1) * 300 * 8 * 1.2


async def test_a_node_that_goes_in_the_middle_of_a_round_costs_bytes_only():
    values, started = vectors(4, 500), threading.Barrier(2)

    async def kill():
        await asyncio.to_thread(started.wait)
        await until(lambda: nodes[0].status()["jobs"]["a"]["open"].get("2", {}).get("workers") == 1)
        await nodes[0].stop()
        await asyncio.to_thread(started.wait)

    def simple(worker):
        with Reducer(at(nodes[worker // 2], root), dead_s=0.6, give_up_s=20, home_s=0.2) as reducer:
            job = Job("a", worker, 4, SMALL)
            got = [reducer.allreduce(values[worker], job)]
            if worker == 1:
                started.wait()
                started.wait()
            got += [reducer.allreduce(values[worker] + number, job) for number in (1, 2)]
            return got, reducer.fallbacks

    async with tree() as (root, nodes):
        killing = asyncio.create_task(kill())
        results = await everyone(simple, 4)
        await killing
        check([got for got, _ in results], values)
        assert [fallbacks for _, fallbacks in results] == [1, 1, 0, 0]
        assert root.status()["fallbacks"] == 2


async def until(condition, timeout_s=10.0):
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)
