"""The supervisor: jitter that is bounded, one line a change, defects told once and retried, ended by cancelling."""

import asyncio
import contextlib
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import supervisor
from gateway.errors import LinkError
from gateway.supervisor import LONGEST_PAUSE_S, LinkState, pause_s, supervise


@given(st.integers(0, 10**6), st.floats(0, 1, exclude_max=True))
def test_pauses_have_full_jitter_and_a_bound(failures, chance):
    pause = pause_s(failures, lambda: chance)
    assert 0 <= pause <= min(LONGEST_PAUSE_S, supervisor.FIRST_PAUSE_S * 2 ** min(failures, 60))
    assert pause == pytest.approx(chance * pause_s(failures, lambda: 1.0))


def test_the_bound_doubles_up_to_the_longest():
    bounds = [pause_s(failures, lambda: 1.0) for failures in range(20)]
    assert bounds[0] == supervisor.FIRST_PAUSE_S
    assert bounds[1:] == [min(2 * bound, LONGEST_PAUSE_S) for bound in bounds[:-1]]
    assert bounds[-1] == LONGEST_PAUSE_S
    assert len({pause_s(5) for _ in range(10)}) > 1


def test_a_link_may_have_a_longest_pause_of_its_own():
    assert pause_s(30, lambda: 1.0, longest_s=1.0) == 1.0
    assert pause_s(1, lambda: 1.0, longest_s=60.0) == pause_s(1, lambda: 1.0)


class Script:
    """Runs that end as the test says, each after bringing the link up if asked; then one that stays."""

    def __init__(self, *ends: tuple[bool, BaseException | None]) -> None:
        self.ends = list(ends)
        self.states: list[str] = []
        self.link = LinkState("adapter a", self.states.append)
        self.stays = asyncio.Event()
        self.runs = 0

    async def run(self) -> None:
        self.runs += 1
        if not self.ends:
            self.link.set(up=True, detail="10.0.0.1")
            self.stays.set()
            await asyncio.Event().wait()
        up, error = self.ends.pop(0)
        if up:
            self.link.set(up=True)
        if error:
            raise error

    async def play(self) -> None:
        """Until the run that stays, then cancel."""
        task = asyncio.create_task(supervise("adapter a", self.run, self.link))
        try:
            async with asyncio.timeout(10):
                await self.stays.wait()
            assert not task.done()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        assert task.cancelled()


@pytest.fixture(autouse=True)
def quick(monkeypatch, caplog):
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.001)
    caplog.set_level(logging.INFO, "gateway.supervisor")


def lines(caplog):
    return [record.getMessage() for record in caplog.records]


async def test_one_line_when_a_link_goes_and_one_when_it_returns(caplog):
    script = Script((True, None), *[(False, LinkError("refused"))] * 4, (False, TimeoutError()), (False, EOFError("x")))
    await script.play()
    assert script.runs == 8
    assert lines(caplog) == [
        "adapter a: link up",
        "adapter a: link down: ended by itself",
        "adapter a: link up (10.0.0.1)",
    ]
    assert script.states == ["up", "down", "up"]


async def test_a_link_that_never_was_up_is_told_as_down(caplog):
    await Script((False, LinkError("refused")), (False, ConnectionRefusedError(111, "no"))).play()
    assert lines(caplog) == ["adapter a: link down: refused", "adapter a: link up (10.0.0.1)"]


async def test_a_defect_is_logged_with_its_traceback_once_and_retried(caplog):
    script = Script(*[(False, ValueError("defect"))] * 5)
    await script.play()
    assert script.runs == 6
    told = [record for record in caplog.records if record.exc_info]
    assert [record.getMessage() for record in told] == ["adapter a failed"]
    assert "ValueError: defect" in lines(caplog)[1]


async def test_a_defect_behind_a_lost_link_is_told_too(caplog):
    await Script((False, LinkError("refused")), (False, KeyError("x")), (False, KeyError("x"))).play()
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [KeyError]


async def test_a_defect_that_comes_back_after_the_link_was_up_is_told_again(caplog):
    await Script((True, ValueError("a")), (False, ValueError("a")), (True, ValueError("a"))).play()
    assert len([record for record in caplog.records if record.exc_info]) == 2


async def test_a_steady_run_begins_with_small_pauses_again(monkeypatch, caplog):
    asked = []
    monkeypatch.setattr(supervisor, "pause_s", lambda failures, **_: asked.append(failures) or 0.0)
    await Script(*[(False, LinkError("x"))] * 3).play()
    assert asked == [1, 2, 3]
    asked.clear()
    monkeypatch.setattr(supervisor, "STEADY_S", -1.0)
    await Script(*[(False, LinkError("x"))] * 3).play()
    assert asked == [1, 1, 1]
