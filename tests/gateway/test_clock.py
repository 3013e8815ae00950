"""The clock, with both of its sources injected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import PLAUSIBLE_NS, SLEW_LIMIT_NS, Clock, ClockTrust
from gateway.timesync import kernel_synchronised

S = 1_000_000_000
HOUR = 3600 * S
START = 1_700_000_000 * S


class Sources:
    """A wall clock and a monotonic one that the test moves."""

    def __init__(self, wall: int = START) -> None:
        self.wall = wall
        self.monotonic = 12345

    def run(self, ns: int) -> None:
        self.wall += ns
        self.monotonic += ns

    def clock(self) -> Clock:
        return Clock(lambda: self.wall, lambda: self.monotonic)


def test_it_shows_the_wall_clock_and_runs_with_the_monotonic_one():
    sources = Sources()
    clock = sources.clock()
    assert clock.now_ns() == clock.stream_ns() == START
    sources.run(5 * S)
    assert clock.now_ns() == clock.stream_ns() == START + 5 * S


def test_a_step_is_reported_once_and_seen_only_at_a_check():
    sources = Sources()
    clock = sources.clock()
    sources.wall -= HOUR
    assert clock.now_ns() == START
    assert clock.check() == -HOUR
    assert clock.now_ns() == START - HOUR
    assert clock.check() == 0
    assert (clock.steps, clock.last_step_ns) == (1, -HOUR)


def test_slewing_is_followed_silently_also_where_it_adds_up():
    sources = Sources()
    clock = sources.clock()
    for _ in range(100):
        sources.run(S)
        sources.wall += SLEW_LIMIT_NS // 10
        assert clock.check() == 0
        assert clock.now_ns() == sources.wall
    assert clock.steps == 0


def test_the_limit_between_slew_and_step():
    sources = Sources()
    clock = sources.clock()
    sources.wall += SLEW_LIMIT_NS - 1
    assert clock.check() == 0
    sources.wall += SLEW_LIMIT_NS
    assert clock.check() == SLEW_LIMIT_NS


MOVES = st.lists(st.tuples(st.integers(0, 10 * S), st.integers(-(10**10), 10**10), st.booleans()), max_size=30)


@given(MOVES, st.integers(-HOUR, HOUR))
def test_stream_time_runs_exactly_as_the_monotonic_clock_whatever_the_wall_clock_does(moves, behind):
    sources = Sources()
    clock = sources.clock()
    left = START + behind
    clock.resume_after(left)
    began = clock.stream_ns()
    assert began == max(START, left)
    elapsed = reported = 0
    for ran, jump, look in moves:
        sources.run(ran)
        sources.wall += jump
        elapsed += ran
        if look:
            step = clock.check()
            reported += step != 0
            assert clock.now_ns() == sources.wall
        assert clock.stream_ns() == began + elapsed
    assert clock.steps == reported


def test_the_real_clocks():
    clock = Clock()
    first = clock.stream_ns(), clock.now_ns()
    assert clock.check() == 0
    assert clock.stream_ns() > first[0]
    assert abs(clock.now_ns() - first[1]) < 10 * S


@pytest.mark.parametrize(
    ("wall", "kernel", "trusted"),
    [
        (START, True, True),
        (START, None, True),
        (START, False, True),
        (0, False, False),
        (0, None, False),
        (0, True, True),
    ],
)
def test_a_clock_that_was_never_set_is_in_doubt(wall, kernel, trusted):
    sources = Sources(PLAUSIBLE_NS + S if wall else 5 * S)
    assert Clock(lambda: sources.wall, lambda: sources.monotonic, lambda: kernel).trusted is trusted


@pytest.mark.parametrize("step", [HOUR, -HOUR, 87600 * HOUR, -87600 * HOUR])
def test_a_large_step_is_in_doubt_until_the_kernel_is_sure(step):
    kernel = [False]
    sources = Sources(PLAUSIBLE_NS + 200_000 * HOUR)
    clock = Clock(lambda: sources.wall, lambda: sources.monotonic, lambda: kernel[0])
    assert clock.trusted
    stream = clock.stream_ns()
    sources.wall += step
    assert clock.check() == step
    assert clock.stream_ns() == stream, "no timer moves"
    assert not clock.trusted
    kernel[0] = True
    sources.run(11 * S)
    assert clock.check() == 0
    assert clock.trusted
    assert clock.stream_ns() == stream + 11 * S
    kernel[0] = False
    sources.run(11 * S)
    clock.check()
    assert clock.trusted, "it was right once and has not stepped since"


@pytest.mark.parametrize(
    ("away", "trusted"), [(0, True), (-30, True), (2, False), (-400, False), (-3650, False), (0.5, True)]
)
def test_a_start_far_from_the_last_one_is_in_doubt(away, trusted):
    """Days that the process before was ahead."""
    sources = Sources(PLAUSIBLE_NS + 200_000 * HOUR)
    clock = Clock(lambda: sources.wall, lambda: sources.monotonic, lambda: None)
    clock.resume_after(int(sources.wall + away * 24 * HOUR))
    assert clock.trusted is trusted


def test_synchronised_only_on_request():
    sources = Sources(PLAUSIBLE_NS + HOUR)
    for kernel, trusted in ((True, True), (False, False), (None, False)):
        clock = Clock(lambda: sources.wall, lambda: sources.monotonic, lambda kernel=kernel: kernel)
        clock.trust = ClockTrust.SYNCHRONISED
        assert clock.trusted is trusted


def test_the_kernel_can_be_asked():
    assert kernel_synchronised() in {True, False, None}
