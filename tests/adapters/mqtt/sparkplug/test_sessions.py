"""Order of messages, deaths, and requests to be born again."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt.sparkplug.requests import BURST
from adapters.payloads.sparkplug import sparkplug_b_pb2 as pb
from adapters.payloads.sparkplug.model import DataType
from tests.adapters.mqtt.sparkplug.support import MS, NS, STALE, Edge, Listener, metric, names, values


def asked(host):
    return [message.topic for message in host.sent()]


def started(edge=None, **options):
    edge, host = edge or Edge(), Listener(**options)
    host.take(edge.nbirth(metric("n", 0.0)), edge.dbirth("d", metric("x", 0.0)))
    return edge, host


def data(edge, count):
    return [edge.ddata("d", metric("x", float(number))) for number in range(count)]


def test_tck_id_payloads_sequence_num_incrementing():
    edge, host = started()
    rows = host.take(*data(edge, 600))
    assert [row[2] for row in rows] == [float(number) for number in range(600)]
    assert (asked(host), host.reasons) == ([], {})


@given(st.integers(0, 250), st.permutations(range(12)))
def test_any_order_within_the_time_gives_the_order_of_sending(before, order):
    edge, host = started()
    host.take(*data(edge, before))
    late = data(edge, 12)
    rows = host.take(*[late[number] for number in order])
    assert [row[2] for row in rows] == [float(number) for number in range(12)]
    assert host.wait(60) == []
    assert (asked(host), host.reasons) == ([], {})


def test_tck_id_operational_behavior_host_reordering_start():
    edge, host = started(reorder=4.0)
    first, second, third = data(edge, 3)
    assert values(host.take(first)) == {"G-E-d/x": 0.0}
    assert host.take(third) == []
    assert host.wait(3.9) == []
    assert asked(host) == []
    assert values(host.wait(0.2)) == {"G-E-d/x": 2.0}
    assert asked(host) == ["spBv1.0/G/NCMD/E"]
    assert host.take(second) == []  # too late: what is older than its turn is not taken for the next


def test_tck_id_operational_behavior_host_reordering_rebirth():
    edge, host = started(reorder=2.0)
    lost, *others = data(edge, 10)
    assert host.take(*others) == []
    rows = host.wait(2.0)
    assert [row[2] for row in rows] == [float(number) for number in range(1, 10)]
    assert asked(host) == ["spBv1.0/G/NCMD/E"]
    assert host.reasons == {"sequence-gap": 1}
    assert values(host.take(edge.ddata("d", metric("x", 77.0)))) == {"G-E-d/x": 77.0}
    del lost


def test_tck_id_operational_behavior_host_reordering_success():
    edge, host = started(reorder=2.0)
    first, second = data(edge, 2)
    host.take(second)
    assert host.wait(1.9) == []
    rows = host.take(first)
    assert [row[2] for row in rows] == [0.0, 1.0]
    assert host.wait(60) == []
    assert (asked(host), host.reasons) == ([], {})


def test_tck_id_operational_behavior_host_reordering_param():
    edge, host = started(reorder=0)
    first, second = data(edge, 2)
    assert values(host.take(second)) == {"G-E-d/x": 1.0}
    assert len(asked(host)) == 1
    assert host.reasons == {"sequence-gap": 1}
    assert host.take(first) is not None


def test_a_message_that_comes_twice_counts_once():
    edge, host = started()
    first, second, third = data(edge, 3)
    rows = host.take(first, first, third, third, second, first, second)
    assert [row[2] for row in rows] == [0.0, 1.0, 2.0]
    assert host.reasons == {"repeated": 4}
    host.wait(60)
    assert asked(host) == []


def test_a_birth_that_comes_twice_does_not_begin_anew():
    edge, host = Edge(), Listener()
    birth = edge.nbirth(metric("n", 1.0))
    rows = host.take(birth, edge.ndata(metric("n", 2.0)), birth, edge.ndata(metric("n", 3.0)))
    assert [row[2] for row in rows] == [1.0, 2.0, 3.0]
    assert host.reasons == {"repeated": 1}


def test_a_whole_round_of_numbers_may_be_missing():
    edge, host = started()
    host.take(data(edge, 5)[4])
    data(edge, 255)
    rows = host.take(edge.ddata("d", metric("x", 99.0)))
    assert [row[2] for row in rows] == [4.0]
    assert host.reasons == {"sequence-gap": 1}
    assert values(host.wait(10)) == {"G-E-d/x": 99.0}


def test_a_device_birth_may_overtake_the_birth_of_its_node():
    edge, host = Edge(), Listener()
    birth, device, first = edge.nbirth(), edge.dbirth("d", metric("x", 1.0)), edge.ddata("d", metric("x", 2.0))
    assert host.take(device) == []
    assert asked(host) == []
    rows = host.take(birth)
    assert values(rows) == {"G-E-d/x": 1.0}
    assert values(host.take(first)) == {"G-E-d/x": 2.0}


def test_data_before_a_birth_asks_for_it_at_once_and_is_never_taken_for_new():
    edge = Edge()
    edge.nbirth()
    edge.dbirth("d", metric("x", 1.0))
    host = Listener()
    edge.seq = 1
    assert host.take(edge.ddata("d", metric("x", 7.0))) == []
    assert asked(host) == ["spBv1.0/G/NCMD/E"]
    rows = host.take(edge.nbirth(), edge.dbirth("d", metric("x", 8.0)), edge.ddata("d", metric("x", 9.0)))
    assert [row[2] for row in rows] == [8.0, 9.0]
    assert host.reasons == {"before-birth": 1}


def test_data_of_a_device_that_is_not_born_asks_for_it():
    edge, host = started()
    assert host.take(edge.ddata("other", metric("x", 1.0))) == []
    assert (len(asked(host)), host.reasons) == (1, {"before-birth": 1})


def test_a_node_is_asked_once_in_an_interval_and_less_and_less_often():
    edge, host = started(rebirth_interval=10.0)
    times = []
    for _ in range(200):
        host.take(edge.ndata(metric("unknown", 1.0)))
        host.wait(1)
        times += [host.now // 10**9] * len(asked(host))
    gaps = [after - before for before, after in pairwise(times)]
    assert min(gaps) >= 10
    assert gaps[:3] == [10, 20, 40]
    assert max(gaps) <= 81


def test_a_birth_makes_a_request_needless():
    edge, host = started(rebirth_interval=10.0)
    host.take(edge.ndata(metric("unknown", 1.0)))
    assert len(asked(host)) == 1
    host.take(edge.ndata(metric("unknown", 1.0)))
    host.take(edge.nbirth(metric("n", 1.0)))
    host.wait(60)
    assert asked(host) == []


def test_requests_go_out_in_bursts():
    host = Listener()
    host.host.ask([("G", f"e{number}") for number in range(BURST + 10)])
    assert (len(host.sent()), host.sent()) == (BURST, [])
    host.wait(1)
    assert (len(host.sent()), host.sent()) == (10, [])
    host.wait(60)
    assert host.sent() == []
    assert len(host.host.nodes) == BURST + 10


def test_no_requests_where_they_are_turned_off():
    edge, host = started(rebirth=False)
    host.take(edge.ndata(metric("unknown", 1.0)), data(edge, 5)[4])
    host.wait(60)
    assert asked(host) == []


def request(host):
    (message,) = host.sent()
    return message, pb.Payload.FromString(message.payload)


def wanting():
    _, host = Edge(), Listener()
    edge = Edge()
    edge.seq = 9
    host.take(edge.ndata(metric("x", 1.0)))
    return host


def test_tck_id_operational_behavior_data_commands_ncmd_rebirth_verb():
    assert request(wanting())[0].topic == "spBv1.0/G/NCMD/E"


def test_tck_id_operational_behavior_data_commands_ncmd_rebirth_name():
    assert [each.name for each in request(wanting())[1].metrics] == ["Node Control/Rebirth"]


def test_tck_id_operational_behavior_data_commands_ncmd_rebirth_value():
    (only,) = request(wanting())[1].metrics
    assert (only.WhichOneof("value"), only.boolean_value) == ("boolean_value", True)


def test_tck_id_payloads_ncmd_seq():
    assert not request(wanting())[1].HasField("seq")


def test_tck_id_payloads_ncmd_timestamp():
    host = wanting()
    assert request(host)[1].timestamp == host.now // NS


def test_tck_id_topics_ncmd_mqtt():
    message, _ = request(wanting())
    assert (message.qos, message.retain) == (0, False)


def test_tck_id_operational_behavior_edge_node_termination_host_action_ndeath_node_offline():
    edge, host = started()
    host.take(edge.ndeath())
    assert host.links[-2:] == [("G-E", False, "the edge node died"), ("G-E-d", False, "the edge node died")]


def test_tck_id_operational_behavior_edge_node_termination_host_action_ndeath_node_tags_stale():
    edge, host = started()
    rows = host.take(edge.ndeath())
    assert rows[0] == ("G-E/n", host.now, "stale", STALE)


def test_tck_id_operational_behavior_edge_node_termination_host_action_ndeath_devices_offline():
    edge, host = started()
    host.take(edge.ndeath())
    assert ("G-E-d", False, "the edge node died") in host.links


def test_tck_id_operational_behavior_edge_node_termination_host_action_ndeath_devices_tags_stale():
    edge, host = started()
    rows = host.take(edge.ndeath())
    assert rows[1:] == [("G-E-d/x", host.now, "stale", STALE)]
    assert host.take(edge.ndeath()) == []


def test_tck_id_operational_behavior_edge_node_termination_host_action_ddeath_devices_offline():
    edge, host = started()
    host.take(edge.ddeath("d"))
    assert host.links[-1] == ("G-E-d", False, "died")


def test_tck_id_operational_behavior_edge_node_termination_host_action_ddeath_devices_tags_stale():
    edge, host = started()
    rows = host.take(edge.ddeath("d"))
    assert rows == [("G-E-d/x", edge.ms * NS, "stale", STALE)]
    assert host.take(edge.ddata("d", metric("x", 1.0))) == []
    assert len(asked(host)) == 1
    rows = host.take(edge.dbirth("d", metric("x", 5.0)))
    assert values(rows) == {"G-E-d/x": 5.0}
    assert values(host.take(edge.ndata(metric("n", 1.0)))) == {"G-E/n": 1.0}


def test_a_death_is_never_before_the_last_value():
    edge, host = started()
    ahead = host.now // NS + 3_600_000
    host.take(edge.ddata("d", metric("x", 1.0, timestamp=ahead)))
    rows = {name: time for name, time, _, _ in host.take(edge.ndeath())}
    assert rows["G-E-d/x"] == ahead * NS


def test_tck_id_payloads_ndeath_bdseq():
    edge, host = started(Edge(bdseq=6))
    assert host.take(edge.ndeath(5)) == []
    assert host.reasons == {"old-death": 1}
    assert values(host.take(edge.ddata("d", metric("x", 1.0)))) == {"G-E-d/x": 1.0}
    assert len(host.take(edge.ndeath(6))) == 2


def test_a_death_that_comes_after_the_next_birth_is_old():
    edge, host = started(Edge(bdseq=255))
    death = edge.ndeath()
    edge.bdseq = 0
    host.take(edge.nbirth(metric("n", 1.0)), edge.dbirth("d", metric("x", 1.0)))
    assert host.take(death) == []
    assert host.reasons == {"old-death": 1}


def test_without_numbers_a_death_is_believed():
    edge, host = Edge(), Listener()
    host.take(edge.message("NBIRTH", metric("n", 1.0), seq=0))
    assert names(host.take(edge.message("NDEATH"))) == ["G-E/n"]
    assert host.reasons == {"no-bdseq": 1}


def test_after_a_death_data_asks_for_a_birth():
    edge, host = started()
    host.take(edge.ndeath())
    assert host.take(edge.ndata(metric("n", 1.0))) == []
    assert len(asked(host)) == 1


def test_a_device_that_is_not_born_again_with_its_node_is_stale_after_a_while():
    edge, host = started()
    host.take(edge.dbirth("e", metric("y", 1.0)))
    rows = host.take(edge.nbirth(metric("n", 1.0)), edge.dbirth("d", metric("x", 1.0)))
    assert names(rows) == ["G-E/n", "G-E-d/x"]
    assert host.wait(4) == []
    assert host.wait(2) == [("G-E-e/y", host.now, "stale", STALE)]
    assert host.links[-1] == ("G-E-e", False, "not born again with its edge node")
    assert host.wait(60) == []


def test_a_device_that_dies_right_after_its_nodes_rebirth():
    edge, host = started()
    host.take(edge.nbirth(metric("n", 1.0)))
    assert names(host.take(edge.ddeath("d"))) == ["G-E-d/x"]
    assert host.wait(60) == []


def test_no_connection_means_that_nothing_is_known():
    edge, host = started()
    other = Edge("G", "F")
    host.take(other.nbirth(metric("n", 1.0)))
    assert names(host.lost()) == ["G-E/n", "G-E-d/x", "G-F/n"]
    assert host.lost() == []
    assert [up for _, up, _ in host.links[-3:]] == [False] * 3
    assert host.take(edge.ndata(metric("n", 1.0))) == []


@pytest.mark.parametrize("seq", [None, 256, 2**63])
def test_tck_id_payloads_sequence_num_always_included(seq):
    edge, host = started()
    made = pb.Payload(timestamp=MS, seq=seq)
    made.metrics.append(metric("n", 1.0))
    assert host.take((edge.topic("NDATA"), made.SerializeToString())) == []
    assert host.reasons == {"bad-seq": 1}
    assert len(asked(host)) == 1


@pytest.mark.parametrize("seq", [0, 7, 255])
def test_tck_id_payloads_sequence_num_req_nbirth(seq):
    edge, host = Edge(), Listener()
    host.take(edge.message("NBIRTH", metric("bdSeq", 0, DataType.INT64), metric("n", 1.0), seq=seq))
    assert values(host.take(edge.ndata(metric("n", 2.0)))) == {"G-E/n": 2.0}
    assert not host.reasons


def test_tck_id_topic_structure_namespace_duplicate_device_id_across_edge_node():
    one, other, host = Edge("G", "E"), Edge("G", "F"), Listener()
    rows = host.take(
        one.nbirth(), other.nbirth(), one.dbirth("d", metric("x", 1.0)), other.dbirth("d", metric("x", 2.0))
    )
    assert values(rows) == {"G-E-d/x": 1.0, "G-F-d/x": 2.0}


def test_messages_to_edge_nodes_are_not_for_us():
    edge, host = started()
    assert host.take(edge.message("NCMD", metric("n", 1.0)), edge.message("DCMD", metric("x", 1.0), device="d")) == []
    assert not host.reasons


@pytest.mark.parametrize(
    "topic",
    [
        "spBv1.0/G/NDATA",
        "spBv1.0/G/NDATA/E/d",
        "spBv1.0/G/DDATA/E",
        "spBv1.0/G/XDATA/E",
        "spAv1.0/G/NDATA/E",
        "spBv1.0",
    ],
)
def test_topics_that_are_none(topic):
    host = Listener()
    assert host.take((topic, b"")) == []
    assert host.reasons == {"bad-topic": 1}
