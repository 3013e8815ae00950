"""Units: sizes and dimensions as UCUM 2.2 has them, and the way from one to another."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipelines.operators.shape import ucum
from pipelines.operators.shape.convert import word
from pipelines.operators.shape.ucum import UnitError, conversion, parse
from tests.support.malformed import inputs

PROFILES = Path(__file__).parents[2] / "adapters" / "modbus" / "profiles"


def through(value, source, target):
    way = conversion(parse(source), parse(target))
    return value * way.multiply / way.divide + way.add


@pytest.mark.parametrize(
    ("value", "source", "target", "wanted"),
    [
        (1234.0, "W.h", "kW.h", 1.234),
        (1.0, "kW.h", "J", 3.6e6),
        (1.0, "kW.h", "MJ", 3.6),
        (90.0, "km/h", "m/s", 25.0),
        (3.6, "m3/h", "L/s", 1.0),
        (100.0, "Cel", "[degF]", 212.0),
        (-40.0, "[degF]", "Cel", -40.0),
        (0.0, "K", "Cel", -273.15),
        (80.0, "[degRe]", "Cel", 100.0),
        (180.0, "deg", "rad", math.pi),
        (1.0, "atm", "Pa", 101325.0),
        (1.0, "[psi]", "kPa", 6.894757293168361),
        (760.0, "mm[Hg]", "kPa", 101.32472),
        (1.0, "[in_i'H2O]", "Pa", 249.08891),
        (50.0, "%", "1", 0.5),
        (1.0, "[ppm]", "%", 1e-4),
        (1500.0, "/min", "Hz", 25.0),
        (1.0, "[gal_us]", "L", 3.785411784),
        (1.0, "[acr_us]", "m2", 4046.8726098742522),
        (1.0, "[lb_av]", "kg", 0.45359237),
        (1.0, "[HP]", "W", 745.6998715822702),
        (1.0, "[Btu_IT]", "J", 1055.05585262),
        (1.0, "kcal", "kJ", 4.184),
        (1.0, "KiBy", "bit", 8192.0),
        (1.0, "V.A{reactive}", "V.A", 1.0),
        (1.0, "kW.h/(100.km)", "J/m", 36.0),
        (1.0, "N.m", "J", 1.0),
        (1.0, "10*3/mm3", "/m3", 1e12),
        (1.0, "a", "d", 365.25),
        (1.0, "lx", "lm/m2", 1.0),
        (1.0, "S/cm", "S.m-1", 100.0),
        (1.0, "eV", "J", 1.602176634e-19),
    ],
)
def test_conversions_as_the_textbooks_have_them(value, source, target, wanted):
    assert through(value, source, target) == pytest.approx(wanted, rel=1e-14, abs=1e-10 if "deg" in source else 0)


def test_thousandths_are_exact():
    assert [through(float(n), "W.h", "kW.h") for n in range(1000)] == [n / 1000 for n in range(1000)]


@pytest.mark.parametrize(("source", "target"), [("W", "W.h"), ("V", "A"), ("Cel", "J"), ("m3", "m2"), ("1", "m")])
def test_other_dimensions_have_no_way(source, target):
    assert conversion(parse(source), parse(target)) is None


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "no unit"),
        ("kWh", "did you mean kW.h?"),
        ("var", "did you mean V.A{reactive}?"),
        ("°C", "something is missing at 1"),
        ("dB", "not known"),
        ("[pH]", "not known"),
        ("kmin", "not known"),
        ("Cel/s", "no part of another unit"),
        ("m.Cel", "no part of another unit"),
        ("Cel2", "no part of another unit"),
        ("m/", "something is missing at 3"),
        ("m//s", "something is missing"),
        ("m..s", "something is missing"),
        ("(m", "not closed"),
        ("m)", "')' at 2"),
        ("m^2", "'^' at 2"),
        ("m s", "' ' at 2"),
        ("m99", "at most 30"),
        ("m99999999", "at most 30"),
        ("0", "no number"),
        ("9" * 13, "no number"),
        ("m{", "'{' at 2"),
        ("(" * 9 + "m" + ")" * 9, "nested deeper"),
        ("m." * 40 + "m", "at most 64"),
        ("(" * 100_000, "at most 64"),
    ],
)
def test_what_is_no_unit_is_refused_by_name(text, part):
    with pytest.raises(UnitError) as caught:
        parse(text)
    assert part in str(caught.value)


def test_units_too_far_apart_are_refused():
    with pytest.raises(UnitError, match="too far"):
        conversion(parse("Ym30"), parse("ym30"))
    with pytest.raises(UnitError, match="too far"):
        conversion(parse("ym30"), parse("Ym30"))


def test_every_atom_has_a_size_and_every_metric_one_takes_prefixes():
    for code in {**ucum._METRIC, **ucum._PLAIN}:
        assert parse(code).size > 0
    for code in ucum._METRIC:
        assert parse(f"k{code}").size == 1000 * parse(code).size


def test_the_profiles_have_units_that_are_known():
    found = set()
    for file in PROFILES.glob("*.yaml"):
        found |= set(re.findall(r"unit: (\"[^\"]*\"|[^\s,}]+)", file.read_text()))
    texts = {yaml.safe_load(text) for text in found}
    assert len(texts) > 10
    for text in texts:
        parse(str(text))


UNITS = st.sampled_from(
    ["m", "kW.h", "V.A{x}", "Cel", "m3/h", "10*6", "[psi]", "/s", "(m/s).4", "kg.m2.s-3", "%", "7.d"]
)


@given(a=UNITS, b=UNITS)
def test_there_and_back_is_where_it_began(a, b):
    way, back = conversion(parse(a), parse(b)), conversion(parse(b), parse(a))
    assert (way is None) == (back is None)
    if way is not None:
        assert (5.0 * way.multiply / way.divide + way.add - way.add) * back.multiply / back.divide == pytest.approx(5.0)


@given(a=UNITS.filter(lambda u: "Cel" not in u), b=UNITS.filter(lambda u: "Cel" not in u))
def test_a_product_has_the_sizes_multiplied_and_the_dimensions_added(a, b):
    first, second = parse(a), parse(b)
    product, quotient = parse(f"({a}).({b})" if a[0] != "/" and b[0] != "/" else "1"), None
    if a[0] != "/" and b[0] != "/":
        assert product.size == first.size * second.size
        assert product.dimension == tuple(map(sum, zip(first.dimension, second.dimension, strict=True)))
        quotient = parse(f"({a})/({b})")
        assert quotient.size == Fraction(first.size, second.size)


def test_malformed_units_give_a_unit_or_a_named_error():
    read = 0
    for data in inputs([b"kW.h/(100.km)", b"mm[Hg].m-2{note}", b"10*-3.V.A", b"[degF]", b"/min"], None):
        try:
            unit = parse(data.decode("latin-1"))
        except UnitError:
            continue
        read += 1
        assert unit.size > 0
    assert read > 100


@pytest.mark.parametrize(
    ("unit", "text"),
    [("kW.h", "kW.h"), ("m3/h", "m3-per-h"), ("%", "percent"), ("[degF]", "degF"), ("/min", "per-min"),
     ("V.A{reactive}", "V.A"), ("{beats}", "1"), ("10*3", "10_3")],
)  # fmt: skip
def test_a_unit_as_a_part_of_a_name(unit, text):
    assert word(unit) == text
