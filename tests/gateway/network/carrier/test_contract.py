"""What every carrier must do, over each of them and over several openings of one place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress

import pytest

from gateway.network.carrier.base import (
    BUCKETS,
    MAX_PAYLOAD,
    Carrier,
    CarrierError,
    ConflictError,
    Entry,
    Message,
    takes,
)
from tests.gateway.network.carrier.conftest import Place

ODD = [
    "a.b",
    "two words",
    "x@y",
    "*star",
    ">more",
    "ünï/cödé".replace("/", "|"),
    "=2E",
    "tab\there",
    "**x",
    "$",
    "日本",
]


async def gathered(messages: AsyncIterator[list[Message]], count: int) -> list[Message]:
    """So many messages; the test's time limit is this one's."""
    found = list[Message]()
    async with asyncio.timeout(20):
        while len(found) < count:
            found += await anext(messages)
    return found


async def quiet(iterator: AsyncIterator[object], for_s: float = 0.3) -> bool:
    """Whether nothing comes for a while. Ends the iterator."""
    task = asyncio.ensure_future(anext(iterator))
    done, _ = await asyncio.wait([task], timeout=for_s)
    task.cancel()
    await asyncio.wait([task])
    return not done


async def soon(entries: AsyncIterator[list[Entry]]) -> list[Entry]:
    async with asyncio.timeout(20):
        return await anext(entries)


async def test_messages_come_in_order_to_another_one(place: Place) -> None:
    writer, reader = await place.carrier(), await place.carrier()
    seqs = [await writer.publish("up/me/a/x", b"%d" % number) for number in range(20)]
    assert seqs == sorted(set(seqs))
    async with aclosing(reader.consume("up/me/**")) as messages:
        found = await gathered(messages, 20)
        assert found == [Message("up/me/a/x", b"%d" % number, seqs[number]) for number in range(20)]
        later = [await writer.publish("up/me/b/y", b"later"), await reader.publish("up/me/b/y", b"own")]
        assert [m.seq for m in await gathered(messages, 2)] == later


async def test_reading_begins_behind_a_number(place: Place) -> None:
    carrier = await place.carrier()
    seqs = [await carrier.publish("out/s/1", b"%d" % number) for number in range(5)]
    async with aclosing(carrier.consume("out/**", seqs[2])) as messages:
        assert [m.payload for m in await gathered(messages, 2)] == [b"3", b"4"]


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("up/me/**", {"up/me/a/x", "up/me/b/x", "up/me/a"}),
        ("up/*/a/x", {"up/me/a/x", "up/you/a/x"}),
        ("up/**", {"up/me/a/x", "up/me/b/x", "up/me/a", "up/you/a/x", "up/me"}),
        ("up/me/a", {"up/me/a"}),
        ("up/me", {"up/me"}),
        ("up/me/*", {"up/me/a"}),
    ],
)
async def test_patterns(place: Place, pattern: str, wanted: set[str]) -> None:
    carrier = await place.carrier()
    subjects = ["up/me/a/x", "up/me/b/x", "up/me/a", "up/you/a/x", "up/me"]
    assert {subject for subject in subjects if takes(pattern, subject)} == wanted
    for subject in subjects:
        await carrier.publish(subject, b"")
    async with aclosing(carrier.consume(pattern)) as messages:
        assert {m.subject for m in await gathered(messages, len(wanted))} == wanted
        await carrier.purge(pattern, (1 << 53) - 1)
    async with aclosing(carrier.consume("up/**")) as messages:
        left = set(subjects) - wanted
        assert {m.subject for m in await gathered(messages, len(left))} == left
        assert await quiet(messages)


async def test_a_double_is_stored_once(place: Place) -> None:
    one, other = await place.carrier(), await place.carrier()
    seq = await one.publish("up/me/a", b"1", "a/1/1")
    assert await other.publish("up/me/a", b"1", "a/1/1") == seq
    assert await one.publish("up/me/a", b"2", "a/1/2") > seq
    assert await one.publish("out/me/a", b"1", "a/1/1")
    async with aclosing(one.consume("up/**")) as messages:
        assert [m.payload for m in await gathered(messages, 2)] == [b"1", b"2"]
        assert await quiet(messages)


async def test_a_double_of_what_was_purged_is_a_double(place: Place) -> None:
    carrier = await place.carrier()
    seq = await carrier.publish("up/me/a", b"1", "id")
    await carrier.purge("up/me/**", seq)
    assert await carrier.publish("up/me/a", b"1", "id") == seq
    async with aclosing(carrier.consume("up/**")) as messages:
        assert await quiet(messages)


async def test_purging_ends_at_the_number(place: Place) -> None:
    carrier = await place.carrier()
    seqs = [await carrier.publish(f"up/me/{number % 2}", b"%d" % number) for number in range(6)]
    await carrier.purge("up/me/**", 0)
    await carrier.purge("up/me/0", seqs[3])
    async with aclosing(carrier.consume("up/**")) as messages:
        assert [m.payload for m in await gathered(messages, 4)] == [b"1", b"3", b"4", b"5"]
        await carrier.purge("up/**", seqs[5])
        after = await carrier.publish("up/me/0", b"new")
        assert after > seqs[5]
        assert [m.payload for m in await gathered(messages, 1)] == [b"new"]


@pytest.mark.parametrize("word", ODD)
async def test_any_printable_word_comes_back(place: Place, word: str) -> None:
    carrier = await place.carrier()
    async with aclosing(carrier.hear(f"{word}/*")) as words:
        await carrier.publish(f"up/{word}/x", b"1")
        await carrier.put("nodes", f"{word}/k", b"2")
        await carrier.put_blob(word, b"3")
        await carrier.tell(f"{word}/w", b"4")
        async with aclosing(carrier.consume(f"up/{word}/**")) as messages:
            assert [m.subject for m in await gathered(messages, 1)] == [f"up/{word}/x"]
        async with aclosing(carrier.watch("nodes", f"{word}/*")) as entries:
            assert [(e.key, e.value) for e in await soon(entries)] == [(f"{word}/k", b"2")]
        assert (await carrier.get("nodes", f"{word}/k")).value == b"2"
        assert await carrier.get_blob(word) == b"3"
        async with asyncio.timeout(5):
            assert await anext(words) == Message(f"{word}/w", b"4")


async def test_writing_only_what_one_has_seen(place: Place) -> None:
    one, other = await place.carrier(), await place.carrier()
    assert await one.get("plan", "a") is None
    first = await one.put("plan", "a", b"1", 0)
    with pytest.raises(ConflictError):
        await other.put("plan", "a", b"2", 0)
    second = await other.put("plan", "a", b"2", first)
    assert second > first
    with pytest.raises(ConflictError):
        await one.put("plan", "a", b"3", first)
    with pytest.raises(ConflictError):
        await one.delete("plan", "a", first)
    assert await one.get("plan", "a") == Entry("a", b"2", second)
    third = await one.put("plan", "a", b"")
    assert await other.get("plan", "a") == Entry("a", b"", third)
    await other.delete("plan", "a", third)
    await other.delete("plan", "a")
    await other.delete("plan", "never")
    assert await one.get("plan", "a") is None
    fourth = await one.put("plan", "a", b"4", 0)
    assert fourth > third
    with pytest.raises(ConflictError):
        await one.put("plan", "none", b"", third)


async def test_of_many_that_write_one_wins(place: Place) -> None:
    carriers = [await place.carrier() for _ in range(3)]
    revision = await carriers[0].put("facts", "n", b"0")

    async def add(carrier: Carrier, times: int) -> int:
        lost = 0
        while times:
            entry = await carrier.get("facts", "n")
            try:
                await carrier.put("facts", "n", b"%d" % (int(entry.value) + 1), entry.revision)
                times -= 1
            except ConflictError:
                lost += 1
        return lost

    lost = await asyncio.gather(*(add(carrier, 10) for carrier in carriers for _ in range(3)))
    assert sum(lost) > 0
    assert (await carriers[1].get("facts", "n")).value == b"90"
    assert (await carriers[1].get("facts", "n")).revision > revision


async def test_of_many_that_make_one_wins(place: Place) -> None:
    carriers = [await place.carrier() for _ in range(3)]

    async def make(carrier: Carrier, value: bytes) -> bool:
        try:
            await carrier.put("lease", "k", value, 0)
        except ConflictError:
            return False
        return True

    values = [b"%d" % number for number in range(30)]
    won = await asyncio.gather(*(make(carriers[number % 3], value) for number, value in enumerate(values)))
    assert won.count(True) == 1
    assert (await carriers[0].get("lease", "k")).value == values[won.index(True)]


async def test_a_watch_begins_with_what_is_there(place: Place) -> None:
    one, other = await place.carrier(), await place.carrier()
    async with aclosing(other.watch("services")) as entries:
        assert await soon(entries) == []
        a = await one.put("services", "a", b"1")
        assert await soon(entries) == [Entry("a", b"1", a)]
    b = await one.put("services", "b/c", b"2")
    await one.put("services", "gone", b"3")
    await one.delete("services", "gone")
    async with aclosing(other.watch("services")) as entries:
        assert await soon(entries) == [Entry("a", b"1", a), Entry("b/c", b"2", b)]
        await one.delete("services", "a")
        (gone,) = await soon(entries)
        assert (gone.key, gone.value) == ("a", None)
        assert gone.revision > b
    async with aclosing(other.watch("services", "b/*")) as entries:
        assert await soon(entries) == [Entry("b/c", b"2", b)]
        await one.put("services", "a", b"not this")
        again = await one.put("services", "b/d", b"this")
        assert await soon(entries) == [Entry("b/d", b"this", again)]


async def test_the_last_of_many_changes_is_told(place: Place) -> None:
    one, other = await place.carrier(), await place.carrier()
    told: dict[str, bytes | None] = {}
    async with aclosing(other.watch("nodes")) as entries:
        assert await soon(entries) == []
        for number in range(50):
            await asyncio.gather(*(one.put("nodes", key, b"%d" % number) for key in "abcd"))
        revisions = [0]
        while told != dict.fromkeys("abcd", b"49"):
            for entry in await soon(entries):
                told[entry.key] = entry.value
                revisions.append(entry.revision)
        assert revisions == sorted(set(revisions))


async def test_many_keys(place: Place) -> None:
    carrier = await place.carrier()
    await asyncio.gather(*(carrier.put("directories", f"h{number}", b"x" * 100) for number in range(1500)))
    async with aclosing(carrier.watch("directories")) as entries:
        assert len(await soon(entries)) == 1500


async def test_large_messages_and_values(place: Place) -> None:
    carrier = await place.carrier()
    large = bytes(range(256)) * 4 * 7000  # 7 MB
    await carrier.publish("up/me/large", large)
    await carrier.put("snapshots", "core-00", large)
    async with aclosing(carrier.consume("up/**")) as messages:
        assert (await gathered(messages, 1))[0].payload == large
    async with aclosing(carrier.watch("snapshots")) as entries:
        assert (await soon(entries))[0].value == large
    assert (await carrier.get("snapshots", "core-00")).value == large
    with pytest.raises(CarrierError, match="more than"):
        await carrier.publish("up/me/large", bytes(MAX_PAYLOAD + 1))
    assert await carrier.publish("up/me/small", b"")


async def test_blobs(place: Place) -> None:
    one, other = await place.carrier(), await place.carrier()
    assert await other.get_blob("b") is None
    for size in (0, 1, 300_000, 20_000_000, 5):
        data = (b"%d" % size) * (size // len(b"%d" % size) + 1)
        await one.put_blob("b", data[:size])
        assert await other.get_blob("b") == data[:size]
    await other.put_blob("c", b"c")
    await one.delete_blob("b")
    await one.delete_blob("b")
    assert await other.get_blob("b") is None
    assert await one.get_blob("c") == b"c"
    await one.put_blob("x" * 500, b"long")
    assert await one.get_blob("x" * 500) == b"long"


async def test_a_blob_is_whole_whoever_writes(place: Place) -> None:
    carriers = [await place.carrier() for _ in range(2)]
    whole = {bytes([65 + number]) * 600_000 for number in range(4)}
    await carriers[0].put_blob("b", min(whole))

    async def read() -> None:
        for _ in range(6):
            assert await carriers[1].get_blob("b") in whole

    await asyncio.gather(read(), *(carriers[number % 2].put_blob("b", data) for number, data in enumerate(whole)))
    assert await carriers[0].get_blob("b") in whole


async def test_words_reach_who_hears(place: Place) -> None:
    one, other = await place.carrier(), await place.carrier()
    heard, own, deaf = other.hear("up/*/receipt"), one.hear("**"), other.hear("down/**")
    await asyncio.sleep(0.2)
    await one.tell("up/a/receipt", b"1")
    await one.tell("up/a/else", b"2")
    await one.tell("up/b/receipt", b"3")
    async with asyncio.timeout(5):
        assert [await anext(heard) for _ in range(2)] == [Message("up/a/receipt", b"1"), Message("up/b/receipt", b"3")]
        assert [(await anext(own)).payload for _ in range(3)] == [b"1", b"2", b"3"]
    assert await quiet(deaf)
    for words in (heard, own):
        await words.aclose()


async def test_of_words_the_newest_wait(place: Place) -> None:
    one, other = await place.carrier(), await place.carrier()
    async with aclosing(other.hear("w/**")) as heard:
        await asyncio.sleep(0.2)
        for number in range(0, 12_000, 500):
            await asyncio.gather(*(one.tell("w/x", b"%d" % one_) for one_ in range(number, number + 500)))
        await asyncio.sleep(1.5)
        async with asyncio.timeout(10):
            found = [int((await anext(heard)).payload) for _ in range(10_000)]
        assert found[-1] == 11_999
        assert found == sorted(found)


async def test_iterators_end_with_the_carrier(place: Place) -> None:
    carrier = await place.carrier()
    await carrier.put("nodes", "a", b"")

    async def run(iterator: AsyncIterator[object]) -> None:
        async for _ in iterator:
            pass

    running = [
        asyncio.create_task(run(iterator))
        for iterator in (carrier.consume("up/**"), carrier.watch("nodes"), carrier.hear("**"))
    ]
    await asyncio.sleep(0.2)
    assert carrier.up
    await carrier.close()
    async with asyncio.timeout(5):
        await asyncio.gather(*running)
    assert not carrier.up
    with pytest.raises(CarrierError):
        await carrier.publish("up/me/a", b"")
    with pytest.raises(CarrierError):
        await carrier.get("nodes", "a")
    await carrier.close()


async def test_what_cannot_be_is_said(place: Place) -> None:
    carrier = await place.carrier()
    with pytest.raises(CarrierError):
        await carrier.publish("down/me", b"")
    with pytest.raises(CarrierError):
        await carrier.put("no-bucket", "a", b"")
    with pytest.raises(CarrierError):
        await anext(carrier.watch("no-bucket"))
    assert await carrier.put("nodes", "a", b"")


async def test_a_cancelled_reader_leaves_the_rest_alone(place: Place) -> None:
    carrier = await place.carrier()
    messages = carrier.consume("up/**")
    waiting = asyncio.ensure_future(anext(messages))
    await asyncio.sleep(0.2)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    await carrier.publish("up/a/b", b"1")
    async with aclosing(carrier.consume("up/**")) as again:
        assert [m.payload for m in await gathered(again, 1)] == [b"1"]


async def test_all_buckets_are_there(place: Place) -> None:
    carrier = await place.carrier()
    for bucket in BUCKETS:
        await carrier.put(bucket, "k", bucket.encode())
    for bucket in BUCKETS:
        assert (await carrier.get(bucket, "k")).value == bucket.encode()
