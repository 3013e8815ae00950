"""The clock, with both of its sources injected."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import SLEW_LIMIT_NS, Clock

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
