"""docs/profiles.md lists what is shipped, as it is."""

from __future__ import annotations

import re

import msgspec
import yaml

from adapters.modbus.profile import Profile, available, load
from gateway.units import decode_quantity
from tests.support.documents import ROOT, blocks, rows, section

DOC = ROOT / "docs" / "profiles.md"
SHIPPED = available("")


def test_every_profile_is_listed_with_its_sign_and_params():
    text = section(DOC, "What is shipped")
    listed = {row[0].strip("`"): row for row in rows(text) if len(row) == 4 and row[0] != "profile"}
    assert listed.keys() == SHIPPED.keys()
    for name, (_, _, sign, params) in listed.items():
        profile = load(SHIPPED[name])
        assert sign == profile.sign
        assert re.findall(r"`(\w+)`", params) == list(profile.params)
    sourced = {name for row in rows(text) if len(row) == 2 for name in re.findall(r"`([\w-]+)`", row[0])}
    assert sourced == SHIPPED.keys()


def test_the_example_is_a_profile_and_the_keys_are_all_of_them():
    (example,) = [block for block in blocks(DOC) if block.marker == "fragment"]
    profile = msgspec.convert(yaml.safe_load(example.text), Profile, dec_hook=decode_quantity)
    assert profile.points["battery_power"].sign == "generator"
    keys = {key for row in rows(section(DOC, "Writing one")) for key in re.findall(r"`(\w+)`", row[0])}
    assert keys - {"key"} == set(Profile.__struct_encode_fields__)


def expanded(shown):
    """``power_l{1..3}``: the names that it stands for."""
    found = re.search(r"\{1\.\.(\d)\}", shown)
    return [shown.replace(found[0], str(i)) for i in range(1, int(found[1]) + 1)] if found else [shown]


def test_every_point_is_listed():
    listed = {
        name.strip("`"): {name for shown in re.findall(r"`([^`]+)`", points) for name in expanded(shown)}
        for name, points in rows(section(DOC, "Points of each profile"))
        if name != "profile"
    }
    assert listed == {name: set(load(path).points) for name, path in SHIPPED.items()}
