"""The reduction as a user reaches it: by YAML, in the daemon."""

import asyncio

import numpy as np
import pytest

from gateway.config import load_checked
from gateway.errors import ConfigError
from gateway.reduction.client import Job, Reducer, ReductionError
from gateway.reduction.config import ReductionConfig
from tests.support.daemon import daemon

ROOT = """
reduction: {listen: "127.0.0.1:0", token: secret, max_jobs: 2}
"""


def reduced(address, token, job="a"):
    with Reducer([address], token=token, dead_s=2, give_up_s=10) as reducer:
        return reducer.allreduce([1.5, 2.5], Job(job, 0, 1)).tolist()


async def test_a_gateway_adds_and_counts_and_takes_new_options_while_it_runs(tmp_path):
    async with daemon(tmp_path, ROOT) as running:
        status = await running.until(lambda status: (status["reduction"] or {}).get("listen"))
        address = status["reduction"]["listen"]
        assert await asyncio.to_thread(reduced, address, "secret") == [1.5, 2.5]
        with pytest.raises(ReductionError, match="token"):
            await asyncio.to_thread(reduced, address, "wrong")
        state = (await running.status())["reduction"]
        assert (state["rounds"], state["refused"], state["jobs"]) == (1, 1, {})
        assert state["bytes"]["workers"]["received"] > 16
        running.write(f'reduction: {{listen: "{address}", token: other}}\n')
        running.process.send_signal(1)
        await running.until(lambda status: status["reloads"]["done"] == 1)
        assert await asyncio.to_thread(reduced, address, "other", "b") == [1.5, 2.5]
        running.write("")
        running.process.send_signal(1)
        await running.until(lambda status: status["reduction"] is None)
        alone = Reducer([address], give_up_s=0.3)
        with pytest.raises(ReductionError, match="not all of its workers"):
            await asyncio.to_thread(alone.allreduce, np.zeros(2), Job("a", 0, 1))
        assert await asyncio.to_thread(running.stop) == 0


async def test_a_port_that_is_taken_is_told_and_the_gateway_goes_on(tmp_path):
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    async with taken, daemon(tmp_path, f'reduction: {{listen: "127.0.0.1:{port}"}}\n') as running:
        status = await running.until(lambda status: (status["reduction"] or {}).get("why"))
        assert status["reduction"]["listen"] is None
        assert f"127.0.0.1:{port}" in status["reduction"]["why"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ('{listen: "0.0.0.0:8440"}', "listen: 0.0.0.0 can be reached from outside: give a token"),
        ("{listen: here}", "'here' is not an address"),
        ("{parent: [here]}", "parent[0]: 'here' is not an address"),
        ('{parent: ["10.0.0.1:0"]}', "has no port"),
        ("{timeout: 0s}", "between 100ms and 10min"),
        ("{slot: 4B}", "between 8B and 64MiB"),
        ("{tokn: x}", "unknown key"),
    ],
)
def test_wrong_options_are_one_line_each(tmp_path, options, problem):
    file = tmp_path / "gateway.yaml"
    file.write_text(f"reduction: {options}\n")
    with pytest.raises(ConfigError) as caught:
        load_checked(file, {})
    assert len(caught.value.problems) == 1
    assert problem in str(caught.value)


def test_addresses():
    config = ReductionConfig(listen="[::1]:8440", parent=["root.example:1", "[fe80::1]:2"])
    assert config.address == ("::1", 8440)
    assert config.parents == [("root.example", 1), ("fe80::1", 2)]
