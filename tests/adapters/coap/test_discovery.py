"""Discovery: what is proposed of a device's links, asking hosts, and asking all of them at once."""

import asyncio
import socket
import struct

import pytest
from aiocoap import CONTENT, NOT_FOUND, Message
from hypothesis import given
from hypothesis import strategies as st

from adapters.coap.asking.discovery import TargetError, discover, look, url_of
from adapters.coap.asking.multicast import ask_all
from adapters.coap.asking.multicast import url_of as url_of_address
from adapters.coap.asking.proposals import device_name, finding_of, point_name, unit_of
from adapters.coap.directory.links import Link, parse_links
from gateway.errors import LinkError
from tests.adapters.coap import test_tcp
from tests.adapters.coap.peers import Fixed, Value, configured, serving
from tests.adapters.coap.scripted import Scripted, piggybacked, scripted
from tests.adapters.coap.test_exchanges import in_blocks

CORE = (
    b'</temp>;rt="temperature-c";if="sensor";obs;title="Outside",</hum>;ct=50;sz=20,</fw>;ct=42,'
    b"</.well-known/core>;ct=40,<coap://elsewhere/x>,</sensors/a>;obs;ct=112;rt=ucum.lx,</rd>;rt=core.rd"
)


def convertible(finding):
    """The adapter's part of a proposal, as the loader takes it."""
    (adapter,) = finding.config["adapters"].values()
    return configured(**{key: value for key, value in adapter.items() if key != "type"})


def test_what_a_device_offers_becomes_a_proposal():
    finding = finding_of("coap://10.0.0.9:5683", parse_links(CORE), "sensors")
    assert finding.config == {
        "adapters": {
            "sensors": {
                "type": "coap",
                "devices": {
                    "10-0-0-9": {
                        "url": "coap://10.0.0.9:5683",
                        "observe": {
                            "temp": {"path": "/temp", "unit": "Cel"},
                            "sensors.a": {"path": "/sensors/a", "unit": "lx"},
                        },
                        "poll": {"hum": "/hum"},
                    }
                },
            }
        }
    }
    assert (finding.kind, finding.address, finding.device) == ("coap-core", "coap://10.0.0.9:5683", "10-0-0-9")
    assert finding.offers[:2] == ("/temp (temperature-c, observable)", "/hum")
    assert list(convertible(finding).devices) == ["10-0-0-9"]


def test_a_device_without_anything_to_read_is_a_finding_without_a_configuration():
    assert finding_of("coap://h:5683", parse_links(b"</fw>;ct=42")).config == {}


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("coap://10.0.0.9:5683", "10-0-0-9"), ("coap://10.0.0.9:61616", "10-0-0-9-61616"),
        ("coap://sensor-1.local:5683", "sensor-1.local"), ("coap://[fe80::1%eth0]:5683", "fe80-1-eth0"),
        ("coap+tcp://h:5683", "h"),
    ],
)  # fmt: skip
def test_devices_are_named_by_their_hosts(url, name):
    assert device_name(url) == name


def test_points_are_named_by_their_paths():
    assert point_name("/sensors/temp") == "sensors.temp"
    assert point_name("/3303/0/5700") == "3303.0.5700"
    assert point_name("/a b?x=1") == "a-b-x-1"
    assert point_name("/") == "root"
    assert unit_of(Link("/x", (("rt", "sensor ucum.Cel"),))) == "Cel"
    assert unit_of(Link("/x", (("rt", "ucum.<b>"),))) == ""


PARTS = st.text(st.characters(codec="utf-8", exclude_characters="<>", exclude_categories=["Cs"]), max_size=30)
LINKS = st.lists(
    st.builds(
        lambda target, rt, ct, obs: Link(
            target, (("rt", rt), ("ct", ct), *((("obs", None),) if obs else ()))
        ),
        st.one_of(PARTS, PARTS.map("/{}".format)),
        st.one_of(PARTS, st.sampled_from(["temperature-c", "ucum.V", "core.rd"])),
        st.one_of(PARTS, st.sampled_from(["", "0", "0 50", "60", "40"])),
        st.booleans(),
    ),
    max_size=20,
)  # fmt: skip


@given(LINKS)
def test_every_proposal_is_a_configuration(links):
    finding = finding_of("coap://10.0.0.9:5683", links)
    if finding.config:
        (options,) = convertible(finding).devices.values()
        assert 1 <= len(options.observe) + len(options.poll) <= len(links)
    assert len(finding.offers) == len(links)


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("10.0.0.9", "coap://10.0.0.9:5683"), ("10.0.0.9:61616", "coap://10.0.0.9:61616"),
        ("[fd00::9]", "coap://[fd00::9]:5683"), ("coap+tcp://h/", "coap+tcp://h:5683"),
    ],
)  # fmt: skip
def test_targets_that_are_taken(target, url):
    assert url_of(target) == url


@pytest.mark.parametrize("target", ["", "http://h", "coap://h/temp", "h:0", "[::1", "coaps://h", "a b"])
async def test_targets_that_are_refused(target):
    with pytest.raises(TargetError):
        await discover([target], timeout_s=0.1)


async def test_hosts_are_asked_and_those_that_do_not_answer_are_no_findings():
    resources = {"/temp": Value(b"1"), "/.well-known/core": Fixed(CORE, 40)}
    async with (
        serving(resources) as port,
        test_tcp.serving(resources) as stream,
        scripted(lambda *_: None) as silent,
        scripted(lambda _, request: [piggybacked(request, b"gone", code=NOT_FOUND)]) as empty,
        scripted(lambda _, request: [piggybacked(request, b"<<<")]) as broken,
    ):
        urls = [
            f"coap://127.0.0.1:{port}", f"coap+tcp://127.0.0.1:{stream}",
            *(f"coap://127.0.0.1:{peer.port}" for peer in (silent, empty, broken)),
        ]  # fmt: skip
        found = await look(urls, timeout_s=1.0)
        findings = await discover(urls, timeout_s=1.0, adapter="mine")
    assert {one.url: one.failed.partition(":")[0] for one in found} == dict(
        zip(urls, ["", "", "no answer", "4.04 Not Found gone", "bad-link"], strict=True)
    )
    assert [finding.address for finding in findings] == urls[:2]
    assert all(convertible(finding) for finding in findings)
    assert list(findings[0].config["adapters"]) == ["mine"]


async def test_a_filter_is_for_the_server_and_also_for_us():
    """A server may ignore it (RFC 6690, 4.1)."""
    asked = []

    def answer(_, request):
        asked.append(request.opt.uri_query)
        return [piggybacked(request, CORE, content_format=40)]

    async with scripted(answer) as peer:
        url = f"coap://127.0.0.1:{peer.port}"
        (by_type,) = await look([url], timeout_s=1.0, rt="temperature*")
        (by_interface,) = await look([url], timeout_s=1.0, if_="sensor")
        (by_both,) = await look([url], timeout_s=1.0, rt="core.rd", if_="sensor")
    assert asked == [("rt=temperature*",), ("if=sensor",), ("rt=core.rd",)]
    assert [[link.target for link in one.links] for one in (by_type, by_interface, by_both)] == [
        ["/temp"],
        ["/temp"],
        [],
    ]


async def test_a_long_list_in_blocks_is_read_whole():
    core = ",".join(f"</r{n}>" for n in range(40)).encode()
    async with scripted(in_blocks(core)) as peer:
        (found,) = await look([f"coap://127.0.0.1:{peer.port}"], timeout_s=2.0)
    assert len(found.links) == 40


@pytest.fixture
def group():
    """A multicast group on the loopback interface; some sandboxes have none."""
    index = socket.if_nametoindex("lo")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4s4si", bytes(4), bytes(4), index))
        try:
            probe.sendto(b"", ("224.0.1.187", 9))
        except OSError as refused:
            pytest.skip(f"no multicast on the loopback interface: {refused}")
    return index


async def node(loop, index, answer, port=0):
    """A scripted node that is a member of the group of all CoAP nodes."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("", port))
    member = struct.pack("=4s4si", socket.inet_aton("224.0.1.187"), bytes(4), index)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    return await loop.create_datagram_endpoint(lambda: Scripted(answer), sock=sock)


async def test_all_nodes_are_asked_at_once(group):
    """One tells all in a message, one in blocks by itself, one is not what it should be."""
    loop = asyncio.get_running_loop()
    transport, peer = await node(loop, group, lambda _, request: [piggybacked(request, CORE)])
    (by_address,) = await look([f"coap://224.0.1.187:{peer.port}"], timeout_s=0.3, interface="lo")
    found = await look([f"multicast:{peer.port}"], timeout_s=0.3, interface="lo")
    assert found == [by_address]
    assert [[link.target for link in one.links][:2] for one in found] == [["/temp", "/hum"]]
    assert found[0].url.endswith(f":{peer.port}")
    assert peer.requests[0].opt.uri_path == (".well-known", "core")
    assert str(peer.requests[0].mtype) == "NON"

    peer.answer = in_blocks(CORE)
    (whole,) = await discover([f"multicast:{peer.port}"], timeout_s=1.0, interface="lo")
    assert "temp" in whole.config["adapters"]["coap"]["devices"][whole.device]["observe"]

    peer.answer = lambda _, request: [piggybacked(request, b"", code=NOT_FOUND)]
    (refused,) = await look([f"multicast:{peer.port}"], timeout_s=0.1, interface="lo", rt="none")
    assert refused.failed == "4.04 Not Found"
    transport.close()


async def test_who_answers_a_multicast_cannot_stop_it(group):
    """Noise, another token, an answer of its own to acknowledge, the same answer again."""
    loop = asyncio.get_running_loop()

    def answer(peer, request):
        peer.send_bytes(b"\x40")
        peer.send_bytes(bytes([0x50, 0x45, 0, 1]) + b"\x00" * 65)
        peer.send(Message(code=CONTENT, _mtype=1, _token=b"other", payload=b"</no>"))
        peer.send(Message(code=CONTENT, _mtype=0, _token=request.token, payload=b"</yes>"))
        peer.send(Message(code=CONTENT, _mtype=1, _token=request.token, payload=b"</late>"))

    transport, peer = await node(loop, group, answer)
    (found,) = await look([f"multicast:{peer.port}"], timeout_s=0.3, interface="lo")
    assert [link.target for link in found.links] == ["/yes"]
    assert [str(message.mtype) for message in peer.seen] == ["NON", "ACK"]
    transport.close()


async def test_an_interface_that_is_not_there_is_an_error():
    with pytest.raises(LinkError, match="there is no interface nowhere0"):
        await look(["multicast"], timeout_s=0.1, interface="nowhere0")


async def test_multicast_that_nothing_carries_is_an_error():
    from urllib.parse import urlsplit

    with pytest.raises(LinkError, match="cannot be sent"):
        await ask_all(urlsplit("/x"), timeout_s=0.1, groups=())


def test_addresses_of_nodes_become_urls():
    lo = socket.if_nametoindex("lo")
    assert url_of_address(("10.0.0.9", 5683)) == "coap://10.0.0.9:5683"
    assert url_of_address(("fe80::1", 5683, 0, lo)) == "coap://[fe80::1%lo]:5683"
    assert url_of_address(("fd00::1", 5683, 0, 0)) == "coap://[fd00::1]:5683"
