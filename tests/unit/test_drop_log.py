# SPDX-License-Identifier: Apache-2.0
"""What is told of packets that policies refuse, and how often."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from controller.compiler.punts import Punt
from controller.compiler.registers import DESTINATION_GROUP
from controller.drop_log import DropLog, denial_of
from controller.events import EventKind, EventLog
from controller.intent.model import Kind
from ovs_geneve.openflow.fields import TUN_ID, tun_metadata
from ovs_geneve.openflow.packet_in import PacketIn
from tests.builders import Fabric, group, group_policy, host, network, port, put

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
SYN = ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=1234, dport=5432)


@pytest.fixture
def fabric() -> Fabric:
    made = Fabric()
    made.do(
        put("hv2", host("192.0.2.2")),
        put("web", group(11)),
        put("db", group(12)),
        put("blue", network(100, "identity")),
        put("db1", port("blue", 2, "10.0.0.2", group="db")),
        put("no-web", group_policy("blue", "db", from_group="web", allow=False, log=True)),
    )
    return made


def packet(frame=SYN, *, key=0, sender=11, receiver=12, vni=100) -> PacketIn:
    return PacketIn(
        reason=1,
        table_id=75,
        cookie=0,
        userdata=bytes((Punt.DROP_LOG,)) + key.to_bytes(4),
        fields={TUN_ID: vni, DESTINATION_GROUP: receiver, tun_metadata(0, 4): sender},
        data=bytes(frame),
        length=len(frame),
    )


def told(fabric: Fabric, **rest) -> str:
    denial = denial_of(fabric.intent, packet(**rest))
    assert denial is not None
    return denial.told("hv2")


def test_who_to_whom_what_and_why(fabric: Fabric) -> None:
    key = fabric.key(Kind.POLICY, "no-web")
    wanted = "deny web -> db tcp 10.0.0.1:1234 -> 10.0.0.2:5432 by policy/no-web on hv2"
    assert told(fabric, key=key) == wanted
    assert told(fabric).endswith("by default on hv2")
    assert told(fabric, key=999).endswith("by a policy that is gone on hv2")
    assert told(fabric, sender=0).startswith("deny no group -> db tcp")
    assert told(fabric, sender=0x1_0000 | 11).startswith("deny web -> db"), (
        "the upper bits are for what is to come"
    )
    assert told(fabric, sender=77).startswith("deny identity 77 -> db")


@pytest.mark.parametrize(
    ("frame", "wanted"),
    [
        (
            ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2") / TCP(sport=1, dport=2),
            "tcp [2001:db8::1]:1 -> [2001:db8::2]:2",
        ),
        (ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / ICMP(), "icmp 10.0.0.1 -> 10.0.0.2"),
        (ETHER / IP(src="10.0.0.1", dst="10.0.0.2", proto=99), "protocol 99 10.0.0.1 -> 10.0.0.2"),
        (
            Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02", type=0x88B5) / b"x",
            "type 0x88b5 02:00:00:00:00:01 -> 02:00:00:00:00:02",
        ),
    ],
)
def test_packets_of_every_kind(fabric: Fabric, frame, wanted: str) -> None:
    assert told(fabric, frame=frame) == f"deny web -> db {wanted} by default on hv2"


@pytest.mark.parametrize("rest", [{"vni": 101}, {"receiver": 99}, {"receiver": 0}])
def test_what_nobody_knows_any_more_is_not_told(fabric: Fabric, rest) -> None:
    assert denial_of(fabric.intent, packet(**rest)) is None


@pytest.mark.parametrize("data", [b"", b"\1\2\3"])
def test_a_packet_cut_short_is_told_as_far_as_it_goes(fabric: Fabric, data: bytes) -> None:
    assert " db type " in told(fabric, frame=data)


def test_a_flood_is_counted_and_others_are_still_told(fabric: Fabric) -> None:
    events, now = EventLog(), [1000.0]
    log = DropLog(lambda: fabric.intent, {5: "hv2"}.get, events, lambda: now[0])
    for number in range(500):
        log.take_packet(5, packet(ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=number, dport=80)))
    log.take_packet(5, packet(key=fabric.key(Kind.POLICY, "no-web")))
    log.take_packet(6, packet())
    assert [event.count for event in events.since(0, 10)] == [1, 1]
    assert {event.kind for event in events.since(0, 10)} == {EventKind.DENIED}
    now[0] += 1.5
    log.take_packet(5, packet())
    (last,) = events.since(2, 10)
    assert (last.count, last.host, last.network) == (500, "hv2", "blue")
