"""Register images of SunSpec devices, encoded by pysunspec2."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import sunspec2
from sunspec2.file.client import FileClientModel

SHIPPED = Path(sunspec2.__file__).parent / "tests" / "test_data"
"""The device images that pysunspec2 ships."""
END = (0xFFFF, 0)

INVERTER = {
    "A": 123, "AphA": 41, "AphB": 0xFFFF, "AphC": 40, "A_SF": -1, "PhVphA": 2301, "PhVphB": 2302, "PhVphC": 2303,
    "V_SF": -1, "W": -512, "W_SF": 1, "Hz": 5001, "Hz_SF": -2, "PF": 985, "PF_SF": -1, "WH": 1234567, "WH_SF": 0,
    "DCA": 77, "TmpCab": 415, "Tmp_SF": -1, "St": 4, "Evt1": 5,
}  # fmt: skip
"""Model 103: phase B has no current, DC current no scale factor, VA nothing at all."""
METER = {
    "A": 100, "A_SF": -1, "PhVphA": 231, "V_SF": 0, "Hz": 50, "Hz_SF": 0, "W": 1500, "WphA": 500, "W_SF": 0, "PF": -97,
    "PF_SF": 0, "TotWhExp": 0, "TotWhImp": 7654321, "TotWh_SF": -3, "Evt": 0,
}  # fmt: skip
BATTERY = {"SoC": 655, "SoC_SF": -1, "V": 4012, "V_SF": -1, "A": -55, "A_SF": -1, "W": -220, "W_SF": 1, "ChaSt": 4}
STORAGE = {"ChaState": 5150, "ChaState_SF": -2, "InBatV": 51, "InBatV_SF": 0, "ChaSt": 3, "WChaMax": 5, "WChaMax_SF": 3}
LENGTHS = {103: 50, 203: 105, 802: 62, 124: 24, 1: 66}


def words(data):
    return list(struct.unpack(f">{len(data) // 2}H", data))


def model(ident, values, length=None):
    """The registers of one model, id and length included."""
    length = LENGTHS[ident] if length is None else length
    one = FileClientModel(model_id=ident, model_len=length, data={"ID": ident, "L": length, **values})
    assert not one.error_info, one.error_info
    return words(one.get_mb())


def common(name="X1"):
    return model(1, {"Mn": "Maker", "Md": name, "Vr": "1.2", "SN": "S-1"})


def chain(*models, end=END):
    """The registers from the marker on."""
    return [0x5375, 0x6E53, *(word for one in models for word in one), *end]


def shipped(name):
    """A shipped device: its registers from the marker on, and the models as pysunspec2 reads them."""
    described = json.loads((SHIPPED / name).read_text())
    models = [FileClientModel(model_id=one["ID"], data=one) for one in described["models"] if one["ID"] != END[0]]
    for one in models:
        one.points["L"].value = len(one.get_mb()) // 2 - 2
    return chain(*(words(one.get_mb()) for one in models)), models


def points_of(group):
    """All points of a model of pysunspec2, those of its groups included."""
    yield from group.points.values()
    for inner in group.groups.values():
        for one in inner if isinstance(inner, list) else [inner]:
            yield from points_of(one)
