# SPDX-License-Identifier: Apache-2.0
"""Packets go to who asked for their kind, and to the bridge that is meant."""

from __future__ import annotations

from controller.compiler.punts import Punt, send_up
from controller.southbound.packets import PacketExchange
from ovs_geneve.openflow.actions import Controller, Output
from ovs_geneve.openflow.packet_in import PacketIn
from ovs_geneve.openflow.packet_out import PacketOut
from tests.fakes.switch import FakeBridge, FakeChannel

OUT = PacketOut(data=b"frame", actions=(Output(1),))


class Taker:
    def __init__(self) -> None:
        self.taken: list[tuple[int, bytes]] = []

    def take_packet(self, dpid: int, packet: PacketIn) -> None:
        self.taken.append((dpid, packet.userdata))


def channel() -> FakeChannel:
    return FakeChannel(FakeBridge(), lambda sender, event: None)


def up(userdata: bytes) -> PacketIn:
    return PacketIn(reason=1, table_id=0, cookie=0, userdata=userdata, fields={}, data=b"frame", length=5)


def test_the_action_names_the_kind() -> None:
    assert send_up(Punt.PROBE, b"xy") == Controller(userdata=b"\1xy", meter_id=0x6E0)
    assert send_up(Punt.DROP_LOG) == Controller(userdata=b"\2", meter_id=0x6E1)


def test_each_kind_has_its_taker_and_the_rest_is_counted() -> None:
    exchange, probes, log = PacketExchange(), Taker(), Taker()
    exchange.register(Punt.PROBE, probes)
    exchange.register(Punt.DROP_LOG, log)
    for userdata in (b"\1a", b"\2b", b"\1c", b"\x63d"):
        exchange.packet_arrived(7, up(userdata))
    assert probes.taken == [(7, b"\1a"), (7, b"\1c")]
    assert log.taken == [(7, b"\2b")]
    assert exchange.received == {1: 2, 2: 1, 0x63: 1}


def test_a_packet_leaves_by_the_connection_that_stands() -> None:
    exchange, old, new = PacketExchange(), channel(), channel()
    assert not exchange.send(7, OUT)
    exchange.switch_connected(7, old)
    exchange.switch_connected(7, new)
    exchange.switch_disconnected(7, old)
    assert exchange.send(7, OUT)
    assert (old.packets, new.packets) == ([], [OUT])
    exchange.switch_disconnected(7, new)
    assert not exchange.send(7, OUT)
