"""Workers with wrong clocks: no partition's time jumps, stands still, or makes what comes too late."""

from gateway.network.core.time import PartitionTime
from tests.gateway.network.core.feeding import T0, S
from tests.gateway.network.core.test_machine import Reader, Source, ended, fed, given_to, machine, moved

HOUR = 3600 * S


class Worker:
    """Ticks a partition by its own idea of the time."""

    def __init__(self, found, ahead_ns):
        self.at = 0
        self.time = PartitionTime(found.stream_ns, T0 + ahead_ns, lambda: self.at)

    def run(self, found, seconds):
        for _ in range(seconds):
            self.at += S
            found.tick(self.time.now_ns())


async def test_a_worker_that_is_days_ahead_takes_nothing_from_what_comes_later():
    source = await fed(Source())
    found, reader = machine(), Reader()
    given_to(found, source.box[:5], source)
    Worker(found, 0).run(found, 10)
    captured, found = moved(found)
    await reader.all(captured)
    Worker(found, 5 * 24 * HOUR).run(found, 60)
    captured, found = moved(found)
    await reader.all(captured)
    given_to(found, source.box[5:], source)
    Worker(found, 0).run(found, 200)
    ended(found)
    await reader.all(found.capture())
    assert (reader.total("sums", "count"), reader.total("sums", "sum")) == (source.count, source.sum)


async def test_windows_close_after_a_worker_that_was_ahead():
    source = await fed(Source(), 3)
    found = machine()
    Worker(found, HOUR).run(found, 5)
    given_to(found, source.box, source)
    Worker(found, 0).run(found, 60)
    assert found.counts["samples"] == source.count
    assert found.graph.queued == 0, "its time went on"


def test_time_goes_on_behind_an_outage_and_catches_up():
    at = [0]
    found = PartitionTime(T0, T0 + 24 * HOUR, lambda: at[0])
    assert found.now_ns() == T0 + HOUR
    at[0] = HOUR
    assert found.now_ns() == T0 + 3 * HOUR
    at[0] = 30 * HOUR
    assert found.now_ns() == T0 + 24 * HOUR + 30 * HOUR


def test_a_time_that_nobody_set_is_given_up():
    assert PartitionTime(5 * S, T0, lambda: 0).now_ns() == T0
