"""``onpath demo grid`` as a user starts it, small; and what its meters are."""

from xml.etree import ElementTree as ET

import numpy as np
import pytest

from gateway.demo.meters import register_images
from gateway.demo.scenes.grid import FEEDERS, SERVICES, Grid, homes_of, street_of
from gateway.demo.scenes.grid_devices import Area
from gateway.network.chain import chain_of
from gateway.network.reading import read_services
from tests.support.scene import interrupted, left_behind, run


@pytest.mark.alone
@pytest.mark.timeout(300)
async def test_an_area_is_exact_and_its_outage_is_found(tmp_path):
    picture = tmp_path / "grid.svg"
    final, code = await run(tmp_path, "grid", "--for", "20s", "--meters", "12", "--picture", str(picture))
    assert final["exact"], final["differing"]
    assert code == 0
    assert final["windows"] == 8, "four windows of demand and of voltage"
    assert final["compared"] == 4 * 3 + 4 * 4
    found = final["found"]
    assert (found["outage"], found["homes_found"], found["homes_wrong"]) == ("east-oak", found["homes_cut"], 0)
    assert found["found_after_ms"] > 0
    assert found["restored_after_ms"] > 0
    tiers = final["bytes_by_tier"]
    assert set(tiers) == {"access_to_aggregation", "aggregation_to_core", "results"}
    assert min(tiers.values()) > 0
    # The first windows are planned by estimates; a run of 40 s is below a hundredth
    assert final["bytes_raw"] > 5 * tiers["aggregation_to_core"], "even so few meters, and so few windows"
    assert final["latency_ms"]["p95"] >= final["latency_ms"]["p50"] > 0
    assert set(final["plan"]) == {"demand", "line-loss", "supply", "voltage"}
    assert final["results"]["demand: area-7/power#sum"]["quality"]
    drawing = ET.parse(picture).getroot()
    assert drawing.tag.endswith("svg")
    assert all(f"feeder-{feeder}" in picture.read_text() for feeder in FEEDERS)


async def test_an_interrupt_leaves_nothing_behind(tmp_path):
    code, said = await interrupted(tmp_path, "grid", "--meters", "12")
    # Whoever watches the event loop for slowness writes there, too
    assert (code, said.strip().splitlines()[-1]) == (130, "interrupted: everything is stopped")
    assert left_behind(tmp_path) == []


def test_homes_are_spread_over_feeders_and_streets():
    homes = [homes_of(feeder, 61) for feeder in range(len(FEEDERS))]
    assert [len(one) for one in homes] == [15, 15, 15, 16]
    assert len({home for one in homes for home in one}) == 61
    assert street_of(homes[1], "oak", "east") == [(5 + n, f"east-oak-{6 + n:02}") for n in range(5)]


def test_its_services_can_be_applied_and_are_called_as_their_files():
    found = {one.config.service: one for one in read_services(Grid.services)}
    assert set(found) == {path.stem for path in SERVICES.glob("*.yaml")} == {path.stem for path in Grid.services}
    assert {check.service for check in Grid.checks} < set(found)
    assert all(one.warnings == [] for one in found.values())
    assert chain_of(found["demand"].config).window_s == 5


def test_the_transformer_feeds_the_homes_and_the_cables():
    area = Area([6, 3], seed=1, speed=180)
    for _ in range(50):
        for homes in [*area.feeders, area.station]:
            homes.step(0.2)
    power = sum(homes.power.sum() for homes in area.feeders)
    lost = area.station.power.sum() - power
    assert lost == pytest.approx(sum(homes.loss for homes in area.feeders))
    assert 0 < lost < 0.2 * power
    assert 0 < area.station.lost_kwh < 0.2 * area.station.supplied_kwh


def test_a_home_without_supply_shows_nothing_and_takes_nothing():
    area = Area([4], seed=1, speed=180)
    homes = area.feeders[0]
    homes.supplied[[1, 2]] = 0
    before = homes.active_kwh.copy()
    for _ in range(3):
        homes.step(1.0)
    assert (homes.power[1:3] == 0).all()
    assert (homes.voltage[1:3] == 0).all()
    assert (homes.active_kwh[1:3] == before[1:3]).all()
    assert (homes.active_kwh[0] > before[0]).all()
    homes.supplied[:] = 1
    homes.step(1.0)
    assert (homes.voltage > 200).all()
    assert np.isfinite(register_images(homes).astype(float)).all()
