"""The directory and its rules, without a wire."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.coap.directory.links import Link, format_links, parse_links
from adapters.coap.directory.lookup import look_up
from adapters.coap.directory.registry import Directory, dump
from adapters.coap.directory.rules import adopt, finding
from adapters.coap.options.device import ResourceOptions
from adapters.coap.options.directory import DirectoryOptions, RuleOptions
from gateway.errors import FieldError, PayloadError
from gateway.units import decode_quantity

A, B = "coap://10.0.0.9:5683", "coap://[2001:db8::2]"
LINKS = parse_links(
    b'</sensors/temp>;rt="temperature-c";if=sensor;obs,</sensors/light>;rt="light-lux",<http://x.org/>;rel=about'
)
SECOND = 10**9


def directory(**options):
    return Directory(msgspec.convert(options, DirectoryOptions, dec_hook=decode_quantity))


def rule(**options):
    return msgspec.convert(options, RuleOptions, dec_hook=decode_quantity)


def refused(call, *arguments):
    with pytest.raises(PayloadError) as error:
        call(*arguments)
    return error.value.reason


def test_an_endpoint_registers_again_and_keeps_its_location():
    found = directory()
    first = found.register({"ep": "n1", "lt": "60"}, LINKS, A, 0)
    again = found.register({"ep": "n1", "lt": "120", "et": "oic"}, LINKS[:1], A, SECOND)
    other = found.register({"ep": "n1", "d": "floor"}, LINKS, A, 0)
    assert first.location == again.location != other.location
    assert (again.base, again.source, again.lifetime_s, again.until_ns) == (A, "10.0.0.9", 120, 121 * SECOND)
    assert again.extra == (("et", "oic"),)
    assert other.lifetime_s == 90_000
    assert len(found) == 2


def test_lifetimes_end_and_are_renewed():
    found = directory()
    one = found.register({"ep": "n1", "lt": "60"}, LINKS, A, 0)
    found.register({"ep": "n2", "lt": "90"}, LINKS, A, 0)
    assert found.expire(59 * SECOND) == []
    found.update(one.location, {}, None, A, 59 * SECOND)
    assert [gone.ep for gone in found.expire(100 * SECOND)] == ["n2"]
    found.update(one.location, {"lt": "10"}, None, A, 100 * SECOND)
    assert [gone.ep for gone in found.expire(110 * SECOND)] == ["n1"]
    assert refused(found.update, one.location, {}, None, A, 0) == "not-registered"
    assert refused(found.remove, one.location, A) == "not-registered"


def test_an_update_says_where_the_endpoint_is_now():
    found = directory()
    one = found.register({"ep": "n1"}, LINKS, A, 0)
    moved = found.update(one.location, {}, None, "coap://10.0.0.9:7000", 0)
    assert (moved.base, moved.links) == ("coap://10.0.0.9:7000", one.links)
    told = found.update(one.location, {"base": "coap://10.0.0.9:8000/"}, LINKS[:1], A, 0)
    assert (told.base, len(told.parsed)) == ("coap://10.0.0.9:8000", 1)
    assert found.update(one.location, {}, None, A, 0).base == "coap://10.0.0.9:8000"


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({}, "bad-registration"),
        ({"ep": ""}, "bad-registration"),
        ({"ep": "x" * 64}, "bad-registration"),
        ({"ep": "a\nb"}, "bad-registration"),
        ({"ep": "a", "d": "x" * 64}, "bad-registration"),
        ({"ep": "a", "lt": "0"}, "bad-registration"),
        ({"ep": "a", "lt": "-5"}, "bad-registration"),
        ({"ep": "a", "lt": "9" * 5000}, "bad-registration"),
        ({"ep": "a", "lt": "\u0665"}, "bad-registration"),
        ({"ep": "a", "lt": "2592001"}, "bad-registration"),
        ({"ep": "a", "base": "coap://10.0.0.10"}, "foreign-base"),
        ({"ep": "a", "base": "http://10.0.0.9"}, "bad-registration"),
        ({"ep": "a", "base": "coap://10.0.0.9:99999"}, "bad-registration"),
        ({"ep": "a", "base": "coap://[::"}, "bad-registration"),
        ({"ep": "a", "base": "coap://10.0.0.9/path"}, "bad-registration"),
        ({"ep": "a", **{f"x{n}": "1" for n in range(17)}}, "bad-registration"),
        ({"ep": "a", "x": "1" * 257}, "bad-registration"),
        ({"ep": "a", "x y": "1"}, "bad-registration"),
        ({"ep": "a", "x": "1\x00"}, "bad-registration"),
    ],
)
def test_registrations_that_make_no_sense(query, reason):
    found = directory()
    assert refused(found.register, query, LINKS, A, 0) == reason
    assert len(found) == 0


def test_the_directory_is_bounded():
    found = directory(max_endpoints=2, max_links=3)
    found.register({"ep": "a"}, LINKS, A, 0)
    found.register({"ep": "b"}, LINKS, A, 0)
    assert refused(found.register, {"ep": "c"}, LINKS, A, 0) == "too-many-endpoints"
    assert refused(found.register, {"ep": "a"}, LINKS * 2, A, 0) == "too-many-links"
    assert refused(found.register, {"ep": "a"}, [Link("/" + "x" * 20_000)], A, 0) == "too-many-links"
    found.register({"ep": "a"}, LINKS, A, 0)


def test_only_the_address_of_a_registration_may_change_it():
    found = directory()
    one = found.register({"ep": "a"}, LINKS, A, 0)
    assert refused(found.update, one.location, {}, None, B, 0) == "foreign-base"
    assert refused(found.remove, one.location, B) == "foreign-base"
    assert refused(found.register, {"ep": "a"}, LINKS, B, 0) == "foreign-base"
    trusting = directory(foreign_base=True)
    one = trusting.register({"ep": "a", "base": "coap://10.9.9.9"}, LINKS, A, 0)
    assert one.base == "coap://10.9.9.9"
    assert trusting.register({"ep": "a"}, LINKS, B, 0).location == one.location


def test_a_directory_comes_back_after_a_restart():
    found = directory()
    kept = [dump(found.register({"ep": f"n{n}", "lt": str(60 + n)}, LINKS, A, 0)) for n in range(5)]
    back = directory()
    back.restore([*kept, b"", b"\x93", kept[0][:-3]], 62 * SECOND)
    assert [one.ep for one in back] == ["n3", "n4"]
    assert [one.links for one in back] == [format_links(LINKS)] * 2
    taken = {one.slot for one in back}
    assert back.register({"ep": "new"}, LINKS, A, 0).slot not in taken


def test_lookups():
    found = directory()
    found.register({"ep": "n1", "et": "oic"}, LINKS, A, 0)
    found.register(
        {"ep": "n2", "d": "floor", "base": B}, [*LINKS[:1], Link("temp2", (("anchor", "/sensors/temp"),))], B, 0
    )

    def targets(kind, *queries):
        return [link.target for link in look_up(kind, found, queries)]

    assert targets("res", "rt=temperature*") == [f"{A}/sensors/temp", f"{B}/sensors/temp"]
    assert targets("res", "rt=temperature*", "ep=n2") == [f"{B}/sensors/temp"]
    assert targets("res", "href=coap://10*") == [f"{A}/sensors/temp", f"{A}/sensors/light"]
    assert targets("res", "d=floor") == [f"{B}/sensors/temp", f"{B}/temp2"]
    assert targets("res", "et=oic", "rel=about") == ["http://x.org/"]
    assert targets("res", "rt=none") == []
    assert [link.get("ep") for link in look_up("ep", found, [])] == ["n1", "n2"]
    assert [link.get("ep") for link in look_up("ep", found, ["rt=light-lux"])] == ["n1"]
    assert [link.get("ep") for link in look_up("ep", found, ["rt=core.rd-ep", "d=floor"])] == ["n2"]
    one = look_up("ep", found, ["ep=n1"])[0]
    assert one.target == f"/rd/{next(iter(found)).location}"
    assert (one.get("base"), one.get("lt"), one.get("rt"), one.get("et")) == (A, "90000", "core.rd-ep", "oic")
    anchored = look_up("res", found, ["anchor=*"])
    assert [link.get("anchor") for link in anchored] == [f"{B}/sensors/temp"]


def test_lookups_page_by_page():
    found = directory()
    for n in range(7):
        found.register({"ep": f"n{n}"}, LINKS[:1], A, 0)
    pages = [[one.get("ep") for one in look_up("ep", found, [f"page={n}", "count=3"])] for n in range(4)]
    assert pages == [["n0", "n1", "n2"], ["n3", "n4", "n5"], ["n6"], []]
    assert len(look_up("ep", found, ["count=2"])) == 2
    for queries in (["page=1"], ["count=x"], ["page=-1", "count=1"], ["count=" + "9" * 5000]):
        assert refused(look_up, "ep", found, queries) == "bad-query"


def test_rules_make_devices():
    one = directory().register({"ep": "urn:dev:7", "d": "hall"}, LINKS, A, 0)
    adopted = adopt(
        one,
        [
            rule(rt="temperature*", **{"if": "sensor"}, unit="Cel", every="10s", payload="senml", value="t"),
            rule(path="/sensors/*", point="{name}", observe=False, every="1m", limits=[0, 9]),
        ],
    )
    assert adopted.name == "urn-dev-7"
    assert (adopted.options.url, adopted.options.every) == (A, 10.0)
    observed = adopted.options.observe["sensors.temp"]
    assert observed == ResourceOptions(path="/sensors/temp", unit="Cel", payload="senml", value="t")
    assert adopted.options.poll == {"light": ResourceOptions(path="/sensors/light", limits=(0, 9))}


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "n1"), ({"ep": "n*"}, "n1"), ({"ep": "x*"}, None), ({"d": "hall"}, "n1"), ({"d": "h"}, None),
        ({"device": "{d}.{ep}"}, "hall.n1"), ({"rt": "light*"}, "n1"), ({"rt": "dark*"}, None),
        ({"if": "sensor"}, "n1"), ({"path": "/sensors"}, None), ({"path": "/sensors/temp"}, "n1"),
    ],
)  # fmt: skip
def test_what_a_rule_fits(options, name):
    one = directory().register({"ep": "n1", "d": "hall"}, LINKS, A, 0)
    adopted = adopt(one, [rule(**options)])
    assert (adopted.name if adopted is not None else None) == name


def test_links_elsewhere_become_nothing():
    links = [Link("http://x.org/temp"), Link("coap://10.0.0.10/temp"), Link("//10.0.0.10/temp"), Link("temp")]
    one = directory().register({"ep": "n1"}, links, A, 0)
    assert list(adopt(one, [rule()]).options.observe) == ["temp"]


def test_a_finding_proposes_a_device_that_loads(tmp_path):
    one = directory().register({"ep": "n 1", "d": "hall"}, LINKS, A, 0)
    found = finding(one, "sensors")
    assert (found.kind, found.address, found.identity, found.device) == ("coap-directory", A, "n 1.hall", "n-1")
    assert found.offers == ("/sensors/temp (temperature-c)", "/sensors/light (light-lux)")
    device = found.config["adapters"]["sensors"]["devices"]["n-1"]
    assert device == {
        "url": A, "observe": {"sensors.temp": "/sensors/temp"}, "poll": {"sensors.light": "/sensors/light"},
    }  # fmt: skip


def test_an_endpoint_without_usable_links_is_found_all_the_same():
    one = directory().register({"ep": "n1"}, [], A, 0)
    assert finding(one, "sensors").config == {}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"every": "0s"}, "more than 0"), ({"path": "sensors"}, "begins with"), ({"device": "{path}"}, "one endpoint"),
        ({"device": "a b"}, "made of"), ({"point": "{x}"}, "made of"), ({"point": ""}, "made of"),
    ],
)  # fmt: skip
def test_rules_that_make_no_sense(options, says):
    with pytest.raises(Exception, match=says) as error:
        rule(**options)
    assert isinstance(error.value, FieldError) or isinstance(error.value.__cause__, FieldError)


@given(
    st.dictionaries(st.sampled_from(["ep", "d", "lt", "base", "x"]), st.text(max_size=30)),
    st.lists(st.builds(Link, st.text("/:?#[]@%&=ab.", max_size=20), st.just(())), max_size=4),
    st.sampled_from([A, B, "coap://[fe80::1%eth0]"]),
)
def test_any_registration_is_taken_or_named(query, links, remote):
    """Whatever is registered can be looked up, followed by rules, kept and restored."""
    found = directory()
    try:
        one = found.register(query, links, remote, 0)
    except PayloadError as error:
        assert error.reason
        return
    assert len(look_up("res", found, [])) == len(links)
    assert parse_links(format_links(look_up("ep", found, [])).encode()) == look_up("ep", found, [])
    adopt(one, [rule(), rule(observe=False, point="{name}")])
    finding(one, "a")
    back = directory()
    back.restore([dump(one)], 0)
    assert list(back) == [one]
