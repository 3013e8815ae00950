"""Units of UCUM: a text to its size and dimension, exactly, and the way from one unit to another. Pure.

Grammar and definitions are those of the Unified Code for Units of Measure 2.2 (2024-06-17, ucum-essence.xml), case
sensitive codes: terms joined by ``.`` and ``/`` from left to right, exponents (``m3``, ``s-2``), prefixes, numbers,
brackets, and annotations in braces, which mean nothing (``V.A{reactive}`` is ``V.A``). The atoms are those of energy,
buildings, water, weather and machines; those of medicine and typography, and logarithms (``B``, ``Np``, ``[pH]``),
which are no multiples of anything, are unknown. Degrees Celsius, Fahrenheit and Reaumur stand alone only: ``Cel/s`` is
no unit, a difference is in ``K``.

A library was tried first: pint with ucumvert takes 0.9 s and 33 MB to load, which a gateway has better uses for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final

MAX_LENGTH: Final = 64
MAX_DEPTH: Final = 8
MAX_EXPONENT: Final = 30
_MAX_DIGITS: Final = 12
_EXACT: Final = 1 << 53
_ZERO: Final = (0,) * 7

_PREFIXES: Final = {
    "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1,
    "d": -1, "c": -2, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24,
}  # fmt: skip
_BINARY: Final = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
_BASE: Final = ("m", "s", "g", "rad", "K", "C", "cd")

_METRIC: Final = {
    "mol": "6.02214076 10*23", "sr": "1 rad2", "Hz": "1 s-1", "N": "1 kg.m/s2", "Pa": "1 N/m2", "J": "1 N.m",
    "W": "1 J/s", "A": "1 C/s", "V": "1 J/C", "F": "1 C/V", "Ohm": "1 V/A", "S": "1 Ohm-1", "Wb": "1 V.s",
    "T": "1 Wb/m2", "H": "1 Wb/A", "lm": "1 cd.sr", "lx": "1 lm/m2", "Bq": "1 s-1", "Gy": "1 J/kg", "Sv": "1 J/kg",
    "l": "1 dm3", "L": "1 l", "ar": "100 m2", "t": "1e3 kg", "bar": "1e5 Pa", "eV": "1.602176634e-19 J",
    "[g]": "980665e-5 m/s2", "gf": "1 g.[g]", "dyn": "1 g.cm/s2", "erg": "1 dyn.cm", "P": "1 dyn.s/cm2",
    "St": "1 cm2/s", "G": "1e-4 T", "Gal": "1 cm/s2", "m[H2O]": "980665e-5 kPa", "m[Hg]": "133.3220 kPa",
    "cal": "1 cal_th", "cal_IT": "4.1868 J", "cal_th": "4.184 J", "kat": "1 mol/s", "eq": "1 mol", "st": "1 m3",
    "mho": "1 S", "bit": "1 1", "By": "8 bit", "Bd": "1 /s", "Ci": "37e9 Bq", "tex": "1 g/km",
}  # fmt: skip
_PLAIN: Final = {
    "10*": "10 1", "10^": "10 1", "[pi]": "3.1415926535897932384626433832795028841971693993751058209749445923 1",
    "%": "1 10*-2", "[ppth]": "1 10*-3", "[ppm]": "1 10*-6", "[ppb]": "1 10*-9", "[pptr]": "1 10*-12",
    "deg": "2 [pi].rad/360", "gon": "0.9 deg", "'": "1 deg/60", "''": "1 '/60", "circ": "2 [pi].rad",
    "min": "60 s", "h": "60 min", "d": "24 h", "wk": "7 d", "a": "1 a_j", "a_j": "365.25 d", "a_g": "365.2425 d",
    "mo": "1 mo_j", "mo_j": "1 a_j/12", "atm": "101325 Pa", "att": "1 kgf/cm2", "[degR]": "5 K/9",
    "[lbf_av]": "1 [lb_av].[g]", "[psi]": "1 [lbf_av]/[in_i]2", "[HP]": "550 [ft_i].[lbf_av]/s",
    "[in_i'H2O]": "1 m[H2O].[in_i]/m", "[in_i'Hg]": "1 m[Hg].[in_i]/m",
    "[Btu]": "1 [Btu_th]", "[Btu_th]": "1.054350 kJ", "[Btu_IT]": "1.05505585262 kJ", "[Cal]": "1 kcal_th",
    "[in_i]": "254e-2 cm", "[ft_i]": "12 [in_i]", "[yd_i]": "3 [ft_i]", "[mi_i]": "5280 [ft_i]", "[nmi_i]": "1852 m",
    "[kn_i]": "1 [nmi_i]/h", "[mil_i]": "1e-3 [in_i]", "[sin_i]": "1 [in_i]2", "[sft_i]": "1 [ft_i]2",
    "[syd_i]": "1 [yd_i]2", "[cin_i]": "1 [in_i]3", "[cft_i]": "1 [ft_i]3", "[cyd_i]": "1 [yd_i]3",
    "[ft_us]": "1200 m/3937", "[rd_us]": "16.5 [ft_us]", "[acr_us]": "160 [rd_us]2",
    "[gal_us]": "231 [in_i]3", "[bbl_us]": "42 [gal_us]", "[qt_us]": "1 [gal_us]/4", "[pt_us]": "1 [qt_us]/2",
    "[foz_us]": "1 [pt_us]/16", "[gal_br]": "4.54609 l",
    "[gr]": "64.79891 mg", "[lb_av]": "7000 [gr]", "[oz_av]": "1 [lb_av]/16", "[ston_av]": "2000 [lb_av]",
    "[lton_av]": "2240 [lb_av]", "[stone_av]": "14 [lb_av]", "[oz_tr]": "480 [gr]", "[NTU]": "1 1", "[FNU]": "1 1",
}  # fmt: skip
_SPECIAL: Final = {
    "Cel": (Fraction(1), Fraction("273.15")),
    "[degF]": (Fraction(5, 9), Fraction("459.67") * Fraction(5, 9)),
    "[degRe]": (Fraction(5, 4), Fraction("273.15")),
}
"""Kelvins a step, and kelvins at 0."""

_COMPONENT: Final = re.compile(
    r"(?:(?P<atom>10[*^]|(?:\[[^\[\]{}\s]+\]|[A-Za-z%'_])+)(?P<exponent>[+-]?[0-9]+)?|(?P<number>[0-9]+))?"
    r"(?P<note>\{[!-z|~]*\})?"
)


class UnitError(ValueError):
    """The text is no unit, or none that is known here."""


@dataclass(frozen=True)
class Unit:
    """So many of the base units m, s, g, rad, K, C, cd (the exponents, ``dimension``); ``zero`` for temperatures."""

    size: Fraction
    dimension: tuple[int, ...] = _ZERO
    zero: Fraction = Fraction(0)


@dataclass(frozen=True)
class Conversion:
    """``value * multiply / divide + add``; two factors, so that thousandths are exact as far as numbers can be."""

    multiply: float
    divide: float
    add: float


@lru_cache(maxsize=1024)
def parse(text: str) -> Unit:
    """Size and dimension of a unit.

    Raises:
        UnitError: it is none, or has an atom that is not known.
    """
    if not text:
        raise UnitError("no unit")
    if len(text) > MAX_LENGTH:
        raise UnitError(f"a unit has at most {MAX_LENGTH} characters")
    reader = _Reader(text)
    unit = reader.main()
    if reader.at < len(text):
        raise UnitError(f"{text!r} is no UCUM unit: {text[reader.at]!r} at {reader.at + 1} means nothing here")
    return unit


def conversion(source: Unit, target: Unit) -> Conversion | None:
    """How to get from one unit to another; None if their dimensions differ.

    Raises:
        UnitError: the factor is beyond what a number can be.
    """
    if source.dimension != target.dimension:
        return None
    factor = source.size / target.size
    add = (source.zero - target.zero) / target.size
    try:
        if factor.numerator < _EXACT and factor.denominator < _EXACT:
            return Conversion(float(factor.numerator), float(factor.denominator), float(add))
        multiply = float(factor)
    except OverflowError:
        raise UnitError("the units are too far apart") from None
    if multiply == 0:
        raise UnitError("the units are too far apart")
    return Conversion(multiply, 1.0, float(add))


class _Reader:
    """Recursive descent over one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0
        self._depth = 0

    def _is(self, char: str) -> bool:
        found = self._text.startswith(char, self.at)
        self.at += found
        return found

    def main(self) -> Unit:
        if self._is("/"):
            return self._chain(_joined(Unit(Fraction(1)), self._component(), -1))
        return self._chain(self._component())

    def _chain(self, unit: Unit) -> Unit:
        while self.at < len(self._text) and self._text[self.at] in "./":
            sign = -1 if self._text[self.at] == "/" else 1
            self.at += 1
            unit = _joined(unit, self._component(), sign)
        return unit

    def _component(self) -> Unit:
        if self._is("("):
            return self._bracket()
        match = _COMPONENT.match(self._text, self.at)
        if match is None or not match[0]:
            raise UnitError(f"{self._text!r} is no UCUM unit: something is missing at {self.at + 1}")
        self.at = match.end()
        if match["number"]:
            return Unit(_number(match["number"]))
        return _raised(_atom(match["atom"]), match["exponent"]) if match["atom"] else Unit(Fraction(1))

    def _bracket(self) -> Unit:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise UnitError(f"brackets nested deeper than {MAX_DEPTH}")
        unit = self._chain(self._component())
        if not self._is(")"):
            raise UnitError(f"{self._text!r} is no UCUM unit: a bracket is not closed")
        self._depth -= 1
        return unit


def _number(digits: str) -> Fraction:
    if len(digits) > _MAX_DIGITS or not int(digits):
        raise UnitError(f"{digits} is no number for a unit")
    return Fraction(int(digits))


def _joined(a: Unit, b: Unit, sign: int) -> Unit:
    if a.zero or b.zero:
        raise UnitError("degrees are no part of another unit; write K for a difference")
    size = a.size * b.size if sign > 0 else a.size / b.size
    return Unit(size, tuple(x + sign * y for x, y in zip(a.dimension, b.dimension, strict=True)))


def _raised(unit: Unit, exponent: str | None) -> Unit:
    if exponent is None:
        return unit
    power = int(exponent[:4])
    if abs(power) > MAX_EXPONENT or len(exponent) > 4:
        raise UnitError(f"an exponent is at most {MAX_EXPONENT}")
    if unit.zero:
        raise UnitError("degrees are no part of another unit; write K for a difference")
    return Unit(Fraction(unit.size**power), tuple(power * x for x in unit.dimension))


@lru_cache(maxsize=1024)
def _atom(code: str) -> Unit:
    known = _whole(code)
    if known is not None:
        return known
    for length in (2, 1):
        prefix, rest = code[:length], code[length:]
        if prefix in _BINARY and rest in {"bit", "By"}:
            return _sized(_metric(rest), Fraction(_BINARY[prefix]))
        unit = _metric(rest) if prefix in _PREFIXES else None
        if unit is not None:
            return _sized(unit, Fraction(10) ** _PREFIXES[prefix])
    raise UnitError(f"{code!r} is not known here as a UCUM unit{_hint(code)}")


def _sized(unit: Unit | None, factor: Fraction) -> Unit:
    assert unit is not None
    return Unit(unit.size * factor, unit.dimension, unit.zero)


def _metric(code: str) -> Unit | None:
    """An atom that takes prefixes."""
    return _whole(code) if code in _BASE or code in _METRIC or code == "Cel" else None


def _whole(code: str) -> Unit | None:
    if code in _BASE:
        return Unit(Fraction(1), tuple(int(base == code) for base in _BASE))
    if code in _SPECIAL:
        size, zero = _SPECIAL[code]
        return Unit(size, parse("K").dimension, zero)
    defined = _METRIC.get(code) or _PLAIN.get(code)
    if defined is None:
        return None
    value, _, unit = defined.partition(" ")
    return _sized(parse(unit), Fraction(value))


_MISTAKEN: Final = {
    "kWh": "kW.h", "Wh": "W.h", "MWh": "MW.h", "VA": "V.A", "kVA": "kV.A", "var": "V.A{reactive}",
    "VAr": "V.A{reactive}", "kvar": "kV.A{reactive}", "Ah": "A.h", "C": "Cel", "degC": "Cel", "degF": "[degF]",
    "sec": "s", "hr": "h", "ohm": "Ohm", "rpm": "/min", "psi": "[psi]", "ppm": "[ppm]", "B": "By", "kph": "km/h",
    "kWp": "kW{peak}", "varh": "V.A.h{reactive}",
}  # fmt: skip


def _hint(code: str) -> str:
    meant = _MISTAKEN.get(code)
    return f"; did you mean {meant}?" if meant else " (kW.h, V.A, Cel, m3/h, [degF], % are some)"
