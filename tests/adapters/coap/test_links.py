import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.coap.directory.links import MAX_BYTES, Link, format_links, parse_links, select
from gateway.errors import PayloadError
from tests.support.malformed import survives

# the examples of RFC 6690, 5
SENSORS = (
    b'</sensors>;ct=40;title="Sensor Index",</sensors/temp>;rt="temperature-c";if="sensor",'
    b'</sensors/light>;rt="light-lux core.sen-light";if="sensor",'
    b'<http://www.example.com/sensors/t123>;anchor="/sensors/temp";rel="describedby",'
    b'</t>;anchor="/sensors/temp";rel="alternate";obs'
)
_NAMES = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=8)
_VALUES = st.none() | st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", codec="utf-8"), max_size=20)
_TARGETS = st.text(st.characters(min_codepoint=33, exclude_characters="<>\x7f", codec="utf-8"), max_size=20)
LINKS = st.lists(st.builds(Link, _TARGETS, st.lists(st.tuples(_NAMES, _VALUES), max_size=4).map(tuple)), max_size=5)


def test_the_examples_of_the_standard():
    links = parse_links(SENSORS)
    assert [link.target for link in links] == [
        "/sensors", "/sensors/temp", "/sensors/light", "http://www.example.com/sensors/t123", "/t",
    ]  # fmt: skip
    assert links[0].attributes == (("ct", "40"), ("title", "Sensor Index"))
    assert links[2].words("rt") == ["light-lux", "core.sen-light"]
    assert links[4].has("obs")
    assert not links[3].has("obs")
    assert links[4].get("obs") == ""
    assert format_links(links).encode() == SENSORS


@pytest.mark.parametrize(
    ("query", "targets"),
    [
        ("rt=light-lux", ["/sensors/light"]),
        ("rt=core.*", ["/sensors/light"]),
        ("if=sensor", ["/sensors/temp", "/sensors/light"]),
        ("if=sens", []),
        ("href=/sensors", ["/sensors"]),
        ("href=/sensors*", ["/sensors", "/sensors/temp", "/sensors/light"]),
        ("ct=40", ["/sensors"]),
        ("title=Sensor Index", ["/sensors"]),
        ("anchor=/sensors/temp", ["http://www.example.com/sensors/t123", "/t"]),
        ("obs=", ["/t"]),
        ("nothing=*", []),
    ],
)
def test_filters(query, targets):
    assert [link.target for link in select(parse_links(SENSORS), [query])] == targets


def test_several_filters_must_all_fit():
    assert [link.target for link in select(parse_links(SENSORS), ["if=sensor", "rt=temp*"])] == ["/sensors/temp"]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"/temp", "bad-link"),
        (b"</temp", "bad-link"),
        (b"</temp>,", "bad-link"),
        (b"</temp>;", "bad-link"),
        (b'</temp>;rt="a', "bad-link"),
        (b"</a></b>", "bad-link"),
        (b"</a b>", "bad-link"),
        (b"<" + b"x" * 2000 + b">", "bad-link"),
        (b"</a>" + b";x" * 33, "bad-link"),
        (b"</\xff>", "not-text"),
        (b",".join([b"</a>"] * 1025), "too-many-links"),
        (b" " * (MAX_BYTES + 1), "too-large"),
    ],
)  # fmt: skip
def test_what_is_no_list_of_links(payload, reason):
    with pytest.raises(PayloadError) as error:
        parse_links(payload)
    assert error.value.reason == reason


@pytest.mark.parametrize("payload", [b"", b"  \n"])
def test_nothing_is_no_link(payload):
    assert parse_links(payload) == []


@given(LINKS)
def test_links_come_back(links):
    assert parse_links(format_links(links).encode()) == links


@given(st.binary(max_size=200) | LINKS.map(lambda links: format_links(links).encode()[:-1]))
def test_any_bytes_give_links_or_a_named_error(payload):
    try:
        links = parse_links(payload)
    except PayloadError as error:
        assert error.reason
    else:
        assert parse_links(format_links(links).encode()) == links


def test_malformed_links_cost_little():
    seeds = [SENSORS, b"</a>;" + b"x;" * 30, b'</a>;t="' + b"\\" * 5000, b"<" * 20_000, b"</a>," * 500, b" " * 60_000]
    assert survives(parse_links, seeds) > 1000
