"""Units as Home Assistant writes them, in UCUM."""

from __future__ import annotations

from typing import Final

_UCUM: Final = {
    "°C": "Cel", "℃": "Cel", "°F": "[degF]", "℉": "[degF]", "K": "K", "%": "%", "°": "deg",
    "W": "W", "kW": "kW", "mW": "mW", "MW": "MW", "GW": "GW", "VA": "V.A", "kVA": "kV.A", "mVA": "mV.A",
    "Wh": "W.h", "kWh": "kW.h", "MWh": "MW.h", "GWh": "GW.h", "mWh": "mW.h", "J": "J", "kJ": "kJ", "MJ": "MJ",
    "GJ": "GJ", "VAh": "V.A.h", "kVAh": "kV.A.h", "Ah": "A.h", "mAh": "mA.h", "cal": "cal", "kcal": "kcal",
    "V": "V", "mV": "mV", "µV": "uV", "μV": "uV", "kV": "kV", "A": "A", "mA": "mA", "Ω": "Ohm", "kΩ": "kOhm",
    "Hz": "Hz", "kHz": "kHz", "MHz": "MHz", "GHz": "GHz", "rpm": "/min", "dB": "dB", "dBm": "dB[mW]",
    "Pa": "Pa", "hPa": "hPa", "kPa": "kPa", "MPa": "MPa", "bar": "bar", "mbar": "mbar", "cbar": "cbar", "psi": "[psi]",
    "mmHg": "mm[Hg]", "inHg": "[in_i'Hg]", "inH₂O": "[in_i'H2O]", "lx": "lx", "lm": "lm", "cd": "cd",
    "m³": "m3", "m3": "m3", "L": "L", "l": "L", "mL": "mL", "ft³": "[cft_i]", "CCF": "100.[cft_i]", "gal": "[gal_us]",
    "m³/h": "m3/h", "m³/min": "m3/min", "m³/s": "m3/s", "L/h": "L/h", "L/min": "L/min", "L/s": "L/s", "mL/s": "mL/s",
    "ft³/min": "[cft_i]/min", "gal/min": "[gal_us]/min", "gal/h": "[gal_us]/h",
    "µg/m³": "ug/m3", "μg/m³": "ug/m3", "mg/m³": "mg/m3", "g/m³": "g/m3", "µg/ft³": "ug/[cft_i]", "p/m³": "/m3",
    "ppm": "[ppm]", "ppb": "[ppb]", "mg/dL": "mg/dL", "mmol/L": "mmol/L", "pH": "[pH]",
    "µS/cm": "uS/cm", "μS/cm": "uS/cm", "mS/cm": "mS/cm", "S/cm": "S/cm",
    "m/s": "m/s", "km/h": "km/h", "mph": "[mi_i]/h", "kn": "[kn_i]", "ft/s": "[ft_i]/s", "mm/s": "mm/s",
    "mm/h": "mm/h", "mm/d": "mm/d", "in/h": "[in_i]/h", "in/d": "[in_i]/d",
    "km": "km", "m": "m", "cm": "cm", "mm": "mm", "µm": "um", "mi": "[mi_i]", "yd": "[yd_i]", "ft": "[ft_i]",
    "in": "[in_i]", "m²": "m2", "cm²": "cm2", "km²": "km2", "ha": "har", "ac": "[acr_us]",
    "kg": "kg", "g": "g", "mg": "mg", "µg": "ug", "μg": "ug", "t": "t", "lb": "[lb_av]", "oz": "[oz_av]",
    "st": "[stone_av]", "d": "d", "h": "h", "min": "min", "s": "s", "ms": "ms", "µs": "us", "μs": "us",
    "w": "wk", "m/s²": "m/s2", "W/m²": "W/m2", "BTU/(h⋅ft²)": "[Btu]/(h.[ft_i]2)", "kWh/100km": "kW.h/(100.km)",
    "km/kWh": "km/(kW.h)", "bit": "bit", "kbit": "kbit", "Mbit": "Mbit", "B": "By", "kB": "kBy", "MB": "MBy",
    "GB": "GBy", "TB": "TBy", "KiB": "KiBy", "MiB": "MiBy", "GiB": "GiBy", "bit/s": "bit/s", "kbit/s": "kbit/s",
    "Mbit/s": "Mbit/s", "Gbit/s": "Gbit/s", "B/s": "By/s", "kB/s": "kBy/s", "MB/s": "MBy/s",
    "GB/s": "GBy/s", "bpm": "/min",
}  # fmt: skip
MAX_LENGTH: Final = 32


def ucum(unit: str) -> str:
    """The UCUM unit; one that is not known becomes an annotation: ``{beats}``."""
    text = unit.strip()
    if not text:
        return ""
    known = _UCUM.get(text)
    if known is not None:
        return known
    plain = "".join(char for char in text[:MAX_LENGTH] if "!" <= char <= "~" and char not in "{}")
    return f"{{{plain}}}" if plain else ""
