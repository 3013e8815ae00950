from pathlib import Path

import numpy as np
import yaml

from gateway.demo.meters import REGISTERS, register_images
from gateway.demo.replay import HOUSEHOLD_ROW_S, Homes, Office, Plugs, at, load

PROFILES = Path(__file__).parents[3] / "adapters/modbus/profiles"


def test_the_tables_are_complete():
    assert load("households.csv").shape == (2688, 5)
    assert load("office.csv").shape == (509, 4)


def test_at_interpolates_and_starts_again():
    table = np.array([[0.0], [10.0], [40.0]])
    assert at(table, np.array([0.0, 0.5, 1.5, 2.0, 2.5, 3.0])).ravel().tolist() == [0, 5, 25, 40, 20, 0]


def test_the_same_seed_gives_the_same_values_and_another_others():
    def run(seed):
        homes = Homes(20, seed=seed, speed=180)
        for _ in range(5):
            homes.step(1.0)
        return register_images(homes)

    assert np.array_equal(run(1), run(1))
    assert not np.array_equal(run(1), run(2))


def test_homes_obey_the_physics():
    homes = Homes(20, seed=3, speed=180)
    before = homes.active_kwh.copy()
    spread = []
    for _ in range(200):
        homes.step(1.0)
        assert np.all(homes.power >= 0)
        assert np.all(homes.factor <= 1)
        assert np.all((homes.voltage > 190) & (homes.voltage < 240))
        spread.append(homes.voltage[0].mean() - homes.voltage[-1].mean())
    assert np.mean(spread) > 1  # the voltage falls along the cable
    added = (homes.active_kwh - before).sum(1)
    assert np.all(added > 0)
    assert added.sum() < 20 * 15 * 200 * 180 / 3600  # under 15 kW each over ten simulated hours


def test_energy_is_the_integral_of_power():
    homes = Homes(2, seed=1, speed=HOUSEHOLD_ROW_S)
    before = homes.active_kwh.copy()
    homes.step(4.0)  # one simulated hour
    assert np.allclose(homes.active_kwh - before, homes.power / 1000)


def test_registers_are_float32_with_the_high_word_first():
    homes = Homes(20, seed=1, speed=180)
    images = register_images(homes)
    assert images.shape == (20, REGISTERS)

    def read(unit, address):
        return images[unit, address : address + 2].astype(">u2").view(">f4")[0]

    assert read(4, 0x02) == np.float32(homes.voltage[4, 1])
    assert read(4, 0x0A) == np.float32(homes.current[4, 2])
    assert read(4, 0x34) == np.float32(homes.power[4].sum())
    assert abs(read(4, 0x46) - 50) < 0.1
    assert read(4, 0x48) == read(4, 0x156) == np.float32(homes.active_kwh[4].sum())
    assert read(4, 0x15E) == np.float32(homes.active_kwh[4, 2])
    assert read(4, 0x15E + 2) == 0  # nothing is exported
    assert 380 < read(4, 0xC8) < 420
    assert read(4, 0x40) == 0  # a hole


def test_every_point_of_the_profile_is_answered_within_its_limits():
    profile = yaml.safe_load((PROFILES / "eastron-sdm630.yaml").read_text())
    homes = Homes(20, seed=1, speed=180)
    for _ in range(60):
        homes.step(1.0)
    values = register_images(homes).astype(">u2").view(">f4")
    exported = 0
    for name, point in profile["points"].items():
        column = values[:, int(point["at"].removeprefix("input:"), 16) // 2]
        low, high = point.get("limits", (0, 1e6))
        assert np.all((column >= low) & (column <= high)), name
        exported += "export" in name
        assert np.any(column) != ("export" in name), name
    assert exported


def test_office_and_plugs_change_and_stay_plausible():
    office = Office(10, seed=1, speed=180)
    first, last = office.step(0.0), office.step(60.0)
    assert first.shape == (10, 4)
    assert not np.array_equal(first, last)
    assert np.all((last >= 0) & (last < [40, 100, 3000, 5000]))
    plugs = Plugs(3, seed=1, speed=180)
    one, two = plugs.step(1.0), plugs.step(1.0)
    assert sorted(one) == ["current", "energy", "power", "voltage"]
    assert np.all(two["energy"] >= one["energy"])
