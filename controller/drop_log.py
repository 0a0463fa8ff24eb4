# SPDX-License-Identifier: Apache-2.0
"""Packets that a policy between groups refused and was asked to tell of, as events.

A meter of each bridge limits how many come (compiler/meters.py); what comes faster than people read is counted with
the event before it, so that one who scans does not push other events out of memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from controller.compiler.registers import DESTINATION_GROUP
from controller.events import EventKind, EventLog
from controller.intent.identity import IDENTITY, group_in
from controller.intent.intent import Intent
from controller.intent.model import Kind, object_id
from ovs_geneve.geneve.header import ETHERNET_PAYLOAD
from ovs_geneve.geneve.inner import InnerSummary, protocol_name, summarise
from ovs_geneve.openflow.fields import TUN_ID
from ovs_geneve.openflow.packet_in import PacketIn

_PAUSE_S = 1.0
"From one event about the same groups, protocol and policy, on the same host, to the next."

_KEPT = 4_096
"Pairs of groups whose last event is remembered."


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """A packet that did not get to its port."""

    network: str
    sender: str
    "Its group."
    receiver: str
    packet: str
    protocol: int | None
    policy: str
    "Kind and name, or that there is none."

    def told(self, host: str) -> str:
        """Say it in a line."""
        return f"deny {self.sender} -> {self.receiver} {self.packet} by {self.policy} on {host}"


class _Told(NamedTuple):
    at: float
    unsaid: int


class DropLog:
    """Makes events of packets that come up. Implements PacketTaker."""

    def __init__(
        self,
        intent: Callable[[], Intent],
        host_of_bridge: Callable[[int], str | None],
        events: EventLog,
        clock: Callable[[], float],
    ) -> None:
        self._intent = intent
        self._host_of_bridge = host_of_bridge
        self._events = events
        self._clock = clock
        self._told: OrderedDict[tuple[str | int | None, ...], _Told] = OrderedDict()

    def take_packet(self, dpid: int, packet: PacketIn) -> None:
        """Tell of a packet, or count it where the like of it was told of just now."""
        host = self._host_of_bridge(dpid)
        denial = denial_of(self._intent(), packet)
        if host is None or denial is None:
            return
        now = self._clock()
        what = host, denial.network, denial.sender, denial.receiver, denial.protocol, denial.policy
        before = self._told.pop(what, _Told(now - _PAUSE_S, 0))
        if now - before.at < _PAUSE_S:
            self._told[what] = before._replace(unsaid=before.unsaid + 1)
            return
        self._told[what] = _Told(now, 0)
        while len(self._told) > _KEPT:
            self._told.popitem(last=False)
        self._events.add(
            EventKind.DENIED,
            host=host,
            message=denial.told(host),
            now=now,
            network=denial.network,
            count=1 + before.unsaid,
        )


def denial_of(intent: Intent, packet: PacketIn) -> Denial | None:
    """Read a packet that came up; None where the network or the group is gone by now."""
    network = intent.network_by_vni(packet.fields.get(TUN_ID, 0))
    receiver = intent.group_by_identity(packet.fields.get(DESTINATION_GROUP, 0))
    summary = summarise(ETHERNET_PAYLOAD, packet.data)
    if network is None or receiver is None or summary is None:
        return None
    return Denial(
        network=network,
        sender=_sender(intent, packet),
        receiver=receiver,
        packet=_described(summary),
        protocol=summary.protocol,
        policy=_policy(intent, network, receiver, int.from_bytes(packet.userdata[1:5])),
    )


def _sender(intent: Intent, packet: PacketIn) -> str:
    schema = intent.option_schemas.get(IDENTITY)
    data = b"" if schema is None or schema.spec.slot is None else packet.options.get(schema.spec.slot, b"")
    identity = group_in(data)
    if identity == 0:
        return "no group"
    return intent.group_by_identity(identity) or f"identity {identity}"


def _policy(intent: Intent, network: str, receiver: str, key: int) -> str:
    for name in intent.policies_to_group(network, receiver) if key else ():
        if intent.policies[name].key == key:
            return object_id(Kind.POLICY, name)
    return "a policy that is gone" if key else "default"


def _described(packet: InnerSummary) -> str:
    if packet.source is None or packet.protocol is None:
        return f"type {packet.ethertype:#06x} {packet.source_mac} -> {packet.destination_mac}"
    name = protocol_name(packet.protocol).lower()
    ends = ((packet.source, packet.source_port), (packet.destination, packet.destination_port))
    return f"{name} {' -> '.join(_end(str(address), port) for address, port in ends)}"


def _end(address: str, port: int | None) -> str:
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
