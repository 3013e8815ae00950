"""SunSpec's names and units in the words of all other profiles. Data."""

from __future__ import annotations

_PHASES = (("A", "l1"), ("B", "l2"), ("C", "l3"))
_PAIRS = (("AB", "l1_l2"), ("BC", "l2_l3"), ("CA", "l3_l1"))


def _phases(theirs: str, ours: str) -> dict[str, str]:
    """A value of each phase: ``Aph`` to ``AphA: current_l1``."""
    return {f"{theirs}{phase}": f"{ours}_{line}" for phase, line in _PHASES}


def _pairs(theirs: str) -> dict[str, str]:
    return {f"{theirs}{pair}": f"voltage_{lines}" for pair, lines in _PAIRS}


_COMMON = {"Mn": "manufacturer", "Md": "model", "Opt": "options", "Vr": "version", "SN": "serial"}
_INVERTER = {
    "A": "current_sum",
    **_phases("Aph", "current"),
    **_pairs("PPVph"),
    **_phases("PhVph", "voltage"),
    "W": "power",
    "Hz": "frequency",
    "VA": "apparent_power",
    "VAr": "reactive_power",
    "PF": "power_factor",
    "WH": "energy_yield",
    "DCA": "dc_current",
    "DCV": "dc_voltage",
    "DCW": "dc_power",
    "TmpCab": "temperature",
    "St": "state",
}
_METER = {
    "A": "current_sum",
    **_phases("Aph", "current"),
    "PhV": "voltage",
    **_phases("PhVph", "voltage"),
    "PPV": "voltage_ll",
    **_pairs("PhVph"),
    **_pairs("PPVph"),
    "Hz": "frequency",
    "W": "power",
    **_phases("Wph", "power"),
    "VA": "apparent_power",
    **_phases("VAph", "apparent_power"),
    "VAR": "reactive_power",
    **_phases("VARph", "reactive_power"),
    "PF": "power_factor",
    **_phases("PFph", "power_factor"),
    "TotWhExp": "energy_export",
    **_phases("TotWhExpPh", "energy_export"),
    "TotWhImp": "energy_import",
    **_phases("TotWhImpPh", "energy_import"),
    "TotVAhExp": "apparent_energy_export",
    "TotVAhImp": "apparent_energy_import",
}
_DER = {
    "W": "power",
    "VA": "apparent_power",
    "Var": "reactive_power",
    "PF": "power_factor",
    "A": "current_sum",
    "LLV": "voltage_ll",
    "LNV": "voltage",
    "Hz": "frequency",
    "TotWhInj": "energy_export",
    "TotWhAbs": "energy_import",
    "TotVarhInj": "reactive_energy_export",
    "TotVarhAbs": "reactive_energy_import",
    "TmpCab": "temperature",
    "InvSt": "state",
    "VL1L2": "voltage_l1_l2",
    "VL2L3": "voltage_l2_l3",
    "VL3L1": "voltage_l3_l1",
    **{
        f"{theirs}L{i}": f"{ours}_l{i}"
        for i in (1, 2, 3)
        for theirs, ours in (
            ("W", "power"),
            ("VA", "apparent_power"),
            ("Var", "reactive_power"),
            ("PF", "power_factor"),
            ("A", "current"),
            ("V", "voltage"),
            ("TotWhInj", "energy_export"),
            ("TotWhAbs", "energy_import"),
        )
    },
}
_STORAGE = {"ChaState": "battery_soc", "InBatV": "battery_voltage", "ChaSt": "battery_state"}
_BATTERY = {
    "SoC": "battery_soc",
    "SoH": "battery_soh",
    "V": "battery_voltage",
    "A": "battery_current",
    "W": "battery_power",
    "ChaSt": "battery_state",
}
_CAPACITY = {"SoC": "battery_soc", "SoH": "battery_soh"}
_TRACKERS = {
    "module{n}.DCA": "pv{n}_current",
    "module{n}.DCV": "pv{n}_voltage",
    "module{n}.DCW": "pv{n}_power",
    "module{n}.DCWH": "pv{n}_energy",
}

NAMES: dict[int, dict[str, str]] = {
    1: _COMMON,
    **dict.fromkeys((101, 102, 103, 111, 112, 113), _INVERTER),
    124: _STORAGE,
    160: _TRACKERS,
    **dict.fromkeys((201, 202, 203, 204, 211, 212, 213, 214), _METER),
    701: _DER,
    713: _CAPACITY,
    802: _BATTERY,
}
"""Uniform names by model and SunSpec's point; ``{n}`` is the number of a repeated group, from 1."""

UNITS = {
    "A": "A", "V": "V", "W": "W", "Hz": "Hz", "VA": "V.A", "S": "S", "mm": "mm", "kWh": "kW.h", "W/m2": "W/m2",
    "W/m^2": "W/m2", "deg": "deg", "Degrees": "deg", "m/s": "m/s", "mps": "m/s", "meters": "m", "C": "Cel",
    "var": "V.A{reactive}", "Var": "V.A{reactive}", "varh": "V.A.h{reactive}", "Varh": "V.A.h{reactive}",
    "Wh": "W.h", "WH": "W.h", "VAh": "V.A.h", "Ah": "A.h", "AH": "A.h", "kAH": "kA.h", "ohms": "Ohm",
    "Secs": "s", "Sec": "s", "Tms": "s", "mSecs": "ms", "Tmh": "h", "Tmd": "d", "HPa": "hPa", "Mbps": "Mbit/s",
    "bps": "bit/s", "Pct": "%", "PF": "1", "cos()": "1", "V/s": "V/s", "W/s": "W/s", "A/s": "A/s", "Hz/s": "Hz/s",
}  # fmt: skip
"""UCUM by SunSpec's unit; what is not here and begins with a percent sign is a percentage of something."""
