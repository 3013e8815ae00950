"""Workers in threads against real nodes on loopback."""

import asyncio
import multiprocessing
import socket
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
import pytest

from gateway.reduction.client import Job, Numbers, Reducer, ReductionError
from gateway.reduction.config import ReductionConfig
from gateway.reduction.server import ReductionServer

SMALL = Numbers(slot=64)
PLAIN = Numbers(slot=64, packed=False)


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


def worker_of(addresses, job, values, rounds=3, numbers=SMALL, **options):
    def work(worker):
        with Reducer(addresses(worker), dead_s=0.6, give_up_s=20, **options) as reducer:
            return [
                reducer.allreduce(values[worker] + number, Job(job, worker, len(values), numbers))
                for number in range(rounds)
            ]

    return work


def check(results, values):
    for got in results:
        for number, total in enumerate(got):
            assert total.tobytes() == exact(values + number).tobytes()


@pytest.mark.parametrize("numbers", [SMALL, PLAIN], ids=["packed", "plain"])
async def test_all_get_the_same_bits_as_one_sum(numbers):
    values = vectors(8, 1000)
    async with tree() as (root, nodes):
        work = worker_of(lambda worker: at(nodes[worker // 4], root), "a", values, numbers=numbers)
        check(await everyone(work, 8), values)
        state = root.status()
    assert state["rounds"] == 3
    assert (state["repeats"], state["overlaps"], state["fallbacks"]) == (0, 0, 0)
    assert state["bytes"]["workers"] == {"received": 0, "sent": 0}
    sums = 2 * 3 * 1000 * (5 if numbers.packed else 8)  # 100 * 2**30 is 37 bits, a sum of four some more
    assert sums < state["bytes"]["nodes"]["received"] < 1.15 * sums


async def test_the_root_alone_does_it_too_at_the_cost_of_bytes():
    values = vectors(8, 1000)
    async with node() as root:
        check(await everyone(worker_of(lambda _: at(root), "a", values, numbers=PLAIN), 8), values)
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

    def work(worker):
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
        results = await everyone(work, 4)
        await killing
        check([got for got, _ in results], values)
        assert [fallbacks for _, fallbacks in results] == [1, 1, 0, 0]
        assert root.status()["fallbacks"] == 2


async def until(condition, timeout_s=10.0):
    async with asyncio.timeout(timeout_s):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def refused(servers, job, length=10, give_up_s=1.5, **options):
    """Why a single worker may not join."""

    def work():
        with Reducer(at(*servers), dead_s=0.6, give_up_s=give_up_s, **options) as reducer:
            reducer.allreduce(np.zeros(length), job)

    with pytest.raises(ReductionError) as caught:
        await asyncio.to_thread(work)
    return str(caught.value)


async def test_only_who_knows_the_token_joins():
    async with node(token="right") as root, node(parent=at(root), token="right") as below:
        values = vectors(2, 10)
        check(await everyone(worker_of(lambda _: at(below), "a", values, token="right"), 2), values)
        assert "the token is not the one" in await refused([root], Job("b", 0, 1), token="wrong")
        assert "the token is not the one" in await refused([below], Job("b", 0, 1))
        assert root.counts.refused == below.counts.refused == 1
    async with node(token="one") as root, node(parent=at(root), token="other") as below:
        assert "the token is not the one" in await refused([below], Job("b", 0, 1), token="other")


async def test_limits_are_kept_and_named():
    async with node(max_jobs=1, max_workers=4, max_length=100, max_memory=100 * 48, slot=64) as root:
        assert "max_workers lets 4 in" in await refused([root], Job("a", 0, 5))
        assert "length 101; max_length lets 100 in" in await refused([root], Job("a", 0, 1), 101)
        assert "slot 80; slot lets 64 in" in await refused([root], Job("a", 0, 1), 10)
        small = Numbers(slot=8)
        held = Reducer(at(root), give_up_s=5)
        await asyncio.to_thread(held.allreduce, np.zeros(60), Job("held", 0, 1, small))
        assert "there are 1 jobs already" in await refused([root], Job("a", 0, 1, small), 60)
        await asyncio.to_thread(held.close)
        await until(lambda: not root.jobs)
        assert root.status()["jobs"] == {}
    async with node(max_memory=100 * 48) as root:
        assert "all jobs would take 4848 bytes" in await refused([root], Job("a", 0, 1), 101)


async def test_workers_must_agree_on_the_job():
    async with node() as root:
        first = asyncio.create_task(refused([root], Job("a", 0, 2), give_up_s=4))
        await until(lambda: root.jobs)
        assert "length is 11 here, and 10" in await refused([root], Job("a", 1, 2), 11)
        assert "packed is False here, and True" in await refused([root], Job("a", 1, 2, Numbers(packed=False)))
        assert "scale is 8 here, and 30" in await refused([root], Job("a", 1, 2, Numbers(scale=8)))
        with pytest.raises(ReductionError, match="begins with other weights than those who were first"):
            await asyncio.to_thread(Reducer(at(root)).parameters, np.zeros(10), Job("a", 1, 2), rate=1.0)
        assert "worker 2 of 2; they count from 0" in await refused([root], Job("a", 2, 2))
        assert "workers have joined within 4 s; it waits for worker 1" in await first
        assert "= 81 bits, and a sum has 62" in await refused([root], Job("b", 0, 2, Numbers(scale=60)))


async def test_a_refusal_above_is_told_below():
    async with node(max_length=5) as root, node(parent=at(root)) as below:
        assert "max_length lets 5 in" in await refused([below], Job("a", 0, 1))
        await until(lambda: not below.jobs)


async def test_a_run_that_begins_anew_under_a_name_that_is_taken_is_told():
    async with node() as root:
        reducer = Reducer(at(root), give_up_s=5)
        for _ in range(3):
            await asyncio.to_thread(reducer.allreduce, np.zeros(4), Job("a", 0, 1))
        assert "round 1 is over, it is at 3" in await refused([root], Job("a", 0, 1), 4)
        await asyncio.to_thread(reducer.close)
        await asyncio.to_thread(worker_of(lambda _: at(root), "b", vectors(1, 4)), 0)


async def test_a_name_is_free_again_when_all_have_left():
    values = vectors(2, 20)
    async with tree() as (root, nodes):
        for _ in range(2):
            check(await everyone(worker_of(lambda worker: at(nodes[worker], root), "a", values), 2), values)
            await until(lambda: not root.jobs and not nodes[0].jobs and not nodes[1].jobs)


async def test_a_node_that_is_silent_is_taken_for_dead():
    """The kernel takes connections for it, as for a process that is stopped."""
    values = vectors(2, 20)
    silent = socket.create_server(("127.0.0.1", 0))
    async with node() as root:
        addresses = [f"127.0.0.1:{silent.getsockname()[1]}", *at(root)]
        check(await everyone(worker_of(lambda _: addresses, "a", values), 2), values)
        assert root.status()["fallbacks"] == 2
    silent.close()


async def test_a_node_without_a_way_to_the_root_is_left():
    values = vectors(2, 20)
    async with node() as root, node(parent=["127.0.0.1:1"]) as lost:
        check(await everyone(worker_of(lambda _: at(lost, root), "a", values), 2), values)
        assert root.status()["fallbacks"] == 2


async def test_workers_come_back_to_their_node():
    values = vectors(2, 40)
    async with node() as root:
        async with node(parent=at(root)) as near:
            address, told = at(near)[0], threading.Barrier(3)

        def work(worker):
            with Reducer([address, *at(root)], dead_s=0.6, give_up_s=20, home_s=0.1) as reducer:
                got = [reducer.allreduce(values[worker], Job("a", worker, 2, SMALL))]
                told.wait()
                told.wait()
                got += [reducer.allreduce(values[worker] + 1, Job("a", worker, 2, SMALL))]
                return got

        working = asyncio.create_task(everyone(work, 2))
        await asyncio.to_thread(told.wait)
        async with node(parent=at(root), listen=address) as near:
            await asyncio.sleep(0.2)
            await asyncio.to_thread(told.wait)
            check(await working, values)
            assert near.counts.traffic["workers"].received > 2 * 40 * 4


async def test_vectors_keep_their_shape_and_jobs_their_length():
    def work():
        job = Job("a", 0, 1)
        with Reducer(at(root), give_up_s=5) as reducer:
            assert reducer.allreduce([[1, 2], [3, 4]], job).tolist() == [[1.0, 2.0], [3.0, 4.0]]
            with pytest.raises(ReductionError, match="vectors have 4 numbers, not 5"):
                reducer.allreduce(np.zeros(5), job)
            with pytest.raises(ReductionError, match="is nan"):
                reducer.allreduce([0, 0, 0, np.nan], job)
            assert reducer.allreduce(np.ones(4), job).tolist() == [1.0] * 4

    async with node() as root:
        await asyncio.to_thread(work)


@pytest.mark.parametrize("addresses", [[], ["nowhere"], ["host:0"], ["host:99999"], [":80"]])
def test_addresses_that_are_none(addresses):
    with pytest.raises(ReductionError, match="address"):
        Reducer(addresses)


def in_process(reducer, worker, values):
    """Runs in a process of its own, with a reducer that came there by pickle or by fork."""
    return reducer.allreduce(values, Job("a", worker, 2)).tobytes()


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
async def test_it_works_in_processes(method):
    values = vectors(2, 50)
    async with node() as root:
        reducer, loop = Reducer(at(root), dead_s=5, give_up_s=60), asyncio.get_running_loop()
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
            jobs = [loop.run_in_executor(pool, in_process, reducer, worker, values[worker]) for worker in (0, 1)]
            assert await asyncio.gather(*jobs) == [exact(values).tobytes()] * 2


def test_a_worker_imports_little():
    code = "import sys, gateway.reduction.client; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "numpy" in loaded
    assert not loaded & {"asyncio", "msgspec", "typer", "apsw", "uvloop", "yaml", "pipelines", "adapters"}
