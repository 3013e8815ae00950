"""``store.flash``: the disk is written seldom while uplinks are up, at the price that was stated and no higher."""

import asyncio
from pathlib import Path

import pytest

from tests.torture.oracle import check
from tests.torture.site import Site

FLASH = "store: {flash: {window: 1h}}"


def written(pid: int) -> int:
    """Bytes that a process has caused to be written to a disk."""
    text = Path(f"/proc/{pid}/io").read_text()
    return int(text.split("\nwrite_bytes: ")[1].split()[0])


async def bytes_a_message(folder, extra):
    async with Site.running(folder, extra=extra) as site:
        await site.sent(200)
        pid, before, begun = site.gateway.process.pid, written(site.gateway.process.pid), len(site.devices.acknowledged)
        await site.sent(2000)
        return (written(pid) - before) / (len(site.devices.acknowledged) - begun)


async def test_the_disk_is_written_seldom_while_uplinks_are_up(tmp_path):
    plain = await bytes_a_message(tmp_path / "plain", "")
    if not plain:
        pytest.skip("this file system does not count what is written")
    assert await bytes_a_message(tmp_path / "flash", FLASH) < 0.1 * plain


async def test_a_kill_costs_what_was_stated_and_record_ids_stay_true(tmp_path):
    async with Site.running(tmp_path, extra=FLASH) as site:
        for _ in range(3):
            await site.received(8)
            site.gateway.kill()
            await site.gateway.start()
        await site.received(8)
        status = await site.status()
        assert status["store"]["unsynced_s"] > 0
        await site.settle(all_of_it=False)
        assert await asyncio.to_thread(site.gateway.stop) == 0
        assert not site.receiver.differing, "one record id, one content"
        found = check(site.devices, site.receiver)
        assert found["invented"] == []
        losses = [batch["loss"] for batch in site.receiver.batches.values() if "loss" in batch]
        assert {loss["reason"] for loss in losses} == {"flash-window"}
        # Most of it was upstream before the kill: what is gone is what was under way, and open windows
        assert len(found["lost"]) < 0.2 * len(site.devices.acknowledged)


async def test_while_a_link_is_down_nothing_is_lost(tmp_path):
    async with Site.running(tmp_path, extra=FLASH) as site:
        await site.received(5)
        await site.north.cut()
        await site.link("uplinks/cloud", "down", 30)
        await site.sent(100)
        before = set(site.devices.acknowledged)
        site.gateway.kill()
        await site.gateway.start()
        await site.north.heal()
        await site.settle()
        assert not before & set(check(site.devices, site.receiver)["lost"])
        assert not site.receiver.differing


async def test_a_stop_in_order_loses_nothing_and_announces_nothing(tmp_path):
    async with Site.running(tmp_path, extra=FLASH) as site:
        await site.received(5)
        assert await asyncio.to_thread(site.gateway.stop) == 0
        await site.gateway.start()
        await site.settle()
        found = check(site.devices, site.receiver)
        assert (found["lost"], found["doubled"], found["invented"]) == ([], [], [])
        assert not [batch for batch in site.receiver.batches.values() if "loss" in batch]
