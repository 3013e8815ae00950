"""``onpath demo park`` as a user starts it, small; and what its devices are."""

import json

import pytest

from adapters.payloads.hass import read_config
from gateway.demo.scenes.park import ADD_FLOOR, SERVICES, Park, free_ports
from gateway.demo.scenes.park_devices import DIGITS, RESOURCES, Building, described
from gateway.network.reading import read_services
from tests.support.scene import interrupted, left_behind, run


@pytest.mark.alone
@pytest.mark.timeout(300)
async def test_devices_join_by_themselves_and_floors_are_exact(tmp_path):
    final, code = await run(tmp_path, "park", "--for", "10s", "--rooms", "3", "--units", "2")
    assert final["exact"], final["differing"]
    assert code == 0
    assert final["found"]["joined"] == 3 * (3 + 2)
    assert final["found"]["added"] == f"{ADD_FLOOR}-room-04"
    assert final["windows"] == 2 * 2 * (3 + 1), "two windows, occupancy and ventilation, three floors and the building"
    assert final["compared"] == 2 * final["windows"]
    assert min(final["bytes_by_tier"].values()) > 0
    assert final["bytes_raw"] > final["bytes_by_tier"]["aggregation_to_core"]
    assert {name.partition(":")[0] for name in final["results"]} == {path.stem for path in Park.services}


async def test_an_interrupt_leaves_nothing_behind(tmp_path):
    code, said = await interrupted(tmp_path, "park", "--rooms", "2", "--units", "1")
    # Whoever watches the event loop for slowness writes there, too
    assert (code, said.strip().splitlines()[-1]) == (130, "interrupted: everything is stopped")
    assert left_behind(tmp_path) == []


def test_its_services_can_be_applied_and_are_called_as_their_files():
    found = {one.config.service: one for one in read_services(Park.services)}
    assert set(found) == {path.stem for path in SERVICES.glob("*.yaml")} == {path.stem for path in Park.services}
    assert all(one.warnings == [] for one in found.values())


def test_a_unit_describes_itself_as_home_assistant_wants_it():
    device = read_config("device/west-1-fan-1/config", described("west-1-fan-1"))
    assert device.refused == []
    assert {one.point: (one.unit, one.words) for one in device.entities} == {
        "binary_sensor.running": ("", {"ON": 1.0, "OFF": 0.0}),
        "power": ("W", {}),
    }
    assert json.loads(described("west-1-fan-1"))["state_topic"] == "hvac/west-1-fan-1/state"


def test_free_ports_are_different_ones():
    assert len(set(free_ports(5))) == 5


def test_people_come_in_the_morning_and_ventilation_follows():
    building = Building(6, 2, seed=1, speed=180)
    building.prepare({"west-1": 0})
    occupied, ran = [], []
    for _ in range(120):
        building.measure("west-1", 1.0)
        rooms = building.rooms("west-1")
        occupied.append(sum(room.resources["occupancy"].payload == b"1" for room in rooms))
        ran.append(int(building.running("west-1").sum()))
    assert occupied[0] < 6 == max(occupied)
    assert ran[0] == 0 < max(ran)
    assert set(RESOURCES) == set(DIGITS)
