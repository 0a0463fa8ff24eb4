# SPDX-License-Identifier: Apache-2.0
"""A bridge in memory behind a SwitchChannel: it answers when told to, refuses what OVS refuses and what a test says.

channel.answer()    answers the oldest question       channel.cut(n)   carries out n steps of it, then hangs up
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from controller.compiler.cookies import is_ours
from controller.hoststate import HostState
from ovs_geneve.openflow.events import (
    Applied,
    Bundle,
    Event,
    MapTlv,
    Observed,
    Refusal,
    Refused,
    SetMeters,
    Step,
    UnmapTlv,
)
from ovs_geneve.openflow.flow import GroupKind
from ovs_geneve.openflow.messages import MessageType
from ovs_geneve.openflow.meters import MeterCommand, contents, encode_meter
from ovs_geneve.openflow.packet_out import PacketOut
from ovs_geneve.openflow.stats import Count, decode_group_desc
from ovs_geneve.openflow.template import message_key
from ovs_geneve.openflow.tlv_table import TlvMap

_PACKET_BYTES = 100
_NXM_1 = 0x0001
_TUN_METADATA0 = 40
_SET_FIELD, _GROUP, _METER = 25, 22, 29
_CONTROLLER2, _METER_ID = 37, 5
_DELETE_STRICT = 4
_GROUP_DELETE = 2

FAIL_AT_COMMIT = frozenset({"OFPFMFC_TABLE_FULL", "OFPBAC_BAD_OUT_GROUP"})
"Errors that OVS finds only when it carries a bundle out, and that take all of it with them."

Rule = Callable[[bytes], str | None]
"Given a FLOW_MOD or GROUP_MOD, the name of the error it gets, None to take it."


@dataclass(frozen=True, slots=True)
class HeldFlow:
    """A flow of the bridge, and what it needs."""

    cookie: int
    message: bytes
    slots: frozenset[tuple[int, int]]
    "tun_metadata fields, with the length they are written at."
    groups: frozenset[int]
    limited: frozenset[int] = frozenset()
    "Meters that were there when it came: OVS does not look again."
    packets: int = 0


@dataclass
class FakeBridge:
    """What a bridge holds; it outlives connections."""

    tlv_maps: frozenset[TlvMap] = frozenset()
    flows: dict[bytes, HeldFlow] = field(default_factory=dict)
    groups: dict[int, bytes] = field(default_factory=dict)
    meters: dict[int, bytes] = field(default_factory=dict)
    refuse: Rule = lambda message: None
    refuse_maps: str = ""
    "The name of the error that mapping options gets."
    refuse_meters: str = ""
    "The name of the error that a new meter gets."

    def carry_out(self, step: Step) -> tuple[Refusal, ...]:
        """Take a step whole, or say why not and take nothing."""
        match step:
            case MapTlv(maps):
                return self._map(maps)
            case UnmapTlv(maps):
                return self._unmap(maps)
            case Bundle(messages, at_once):
                return self._bundle(messages, at_once)
            case SetMeters():
                return self._set_meters(step)

    def observed(self) -> Observed:
        """Return what the bridge reports of ours; flows of others are not in the answer, their groups are."""
        return Observed(
            tlv_maps=tuple(self.tlv_maps),
            max_option_space=256,
            max_fields=64,
            groups={number: (GroupKind.ALL, raw) for number, raw in self.groups.items()},
            flows={key: flow.cookie for key, flow in self.flows.items() if is_ours(flow.cookie)},
            meters=dict(self.meters),
        )

    def equals(self, state: HostState) -> bool:
        """Tell whether the bridge holds a desired state and nothing else."""
        flows = {key: flow.message for key, flow in self.flows.items()}
        return (
            self.tlv_maps == state.tlv_maps
            and flows == {key: flow.message for key, flow in state.flows.items()}
            and self.groups == {number: group.content for number, group in state.groups.items()}
            and self.meters == contents(state.meters)
            and all(flow.limited == _meters(flow.message) for flow in self.flows.values())
        )

    def _map(self, maps: tuple[TlvMap, ...]) -> tuple[Refusal, ...]:
        if self.refuse_maps:
            return (_refusal(self.refuse_maps, b"", None),)
        both = [*self.tlv_maps, *maps]
        if len({m.index for m in both}) < len(both):
            return (_refusal("NXTTMFC_ALREADY_MAPPED", b"", 0),)
        if len({(m.option_class, m.option_type) for m in both}) < len(both):
            return (_refusal("NXTTMFC_DUP_ENTRY", b"", 0),)
        self.tlv_maps |= frozenset(maps)
        return ()

    def _unmap(self, maps: tuple[TlvMap, ...]) -> tuple[Refusal, ...]:
        used = {slot for flow in self.flows.values() for slot, _ in flow.slots}
        if any(m.index in used for m in maps):
            return (_refusal("NXTTMFC_INVALID_TLV_DEL", b"", 0),)
        self.tlv_maps -= frozenset(maps)
        return ()

    def _set_meters(self, step: SetMeters) -> tuple[Refusal, ...]:
        refusals = []
        for index, meter in enumerate((*step.add, *step.change)):
            add = index < len(step.add)
            command = MeterCommand.ADD if add else MeterCommand.MODIFY
            known = meter.meter_id in self.meters
            error = self.refuse_meters if add else ""
            error = error or ("OFPMMFC_METER_EXISTS" if add and known else "")
            error = error or ("OFPMMFC_UNKNOWN_METER" if not add and not known else "")
            if error:
                refusals.append(_refusal(error, encode_meter(command, meter), index))
            else:
                self.meters[meter.meter_id] = meter.content
        for meter_id in step.delete:
            self.meters.pop(meter_id, None)
            for key in [key for key, flow in self.flows.items() if meter_id in _meter_actions(flow.message)]:
                del self.flows[key]
            for key, flow in self.flows.items():
                self.flows[key] = replace(flow, limited=flow.limited - {meter_id})
        return tuple(refusals)

    def _bundle(self, messages: Sequence[bytes], at_once: bool) -> tuple[Refusal, ...]:
        flows, groups = dict(self.flows), dict(self.groups)
        refusals = []
        for index, message in enumerate(messages):
            error = self.refuse(message) or self._take(message, flows, groups)
            if error in FAIL_AT_COMMIT and at_once:
                return (*refusals, _refusal(error, message, index))
            if error:
                refusals.append(_refusal(error, message, index))
        if at_once or not refusals:
            self.flows, self.groups = flows, groups
        return tuple(refusals)

    def _take(self, message: bytes, flows: dict[bytes, HeldFlow], groups: dict[int, bytes]) -> str | None:
        if message[1] == MessageType.GROUP_MOD:
            _take_group(message, flows, groups)
            return None
        key, slots = message_key(message), _slots(message)
        mapped = {m.index: m.length for m in self.tlv_maps}
        if any(slot not in mapped for slot, _ in slots):
            return "NXFMFC_INVALID_TLV_FIELD"
        # OVS takes another length in silence and keeps the wrong end.
        assert all(mapped[slot] == length for slot, length in slots), "option written at another length"
        if message[25] == _DELETE_STRICT:
            if key in flows and is_ours(flows[key].cookie):
                del flows[key]
            return None
        used = frozenset(int.from_bytes(a[4:8]) for a in _actions(message) if a[1] == _GROUP)
        if used - groups.keys():
            return "OFPBAC_BAD_OUT_GROUP"
        if _meter_actions(message) - self.meters.keys():
            return "OFPMMFC_INVALID_METER"
        limited = _meters(message) & self.meters.keys()
        flows[key] = HeldFlow(int.from_bytes(message[8:16]), message, slots, used, limited)
        return None


class FakeChannel:
    """One connection to a bridge; `report` gets the answers."""

    def __init__(self, bridge: FakeBridge, report: Callable[[FakeChannel, Event], None]) -> None:
        self.bridge = bridge
        self.asked: list[Sequence[Step] | None] = []
        "Every question so far: the steps to apply, None for an observation."
        self.packets: list[PacketOut] = []
        "What it was told to send."
        self._report = report
        self._open: deque[Sequence[Step] | None] = deque()

    def observe(self) -> None:
        self._ask(None)

    def apply(self, steps: Sequence[Step]) -> None:
        self._ask(steps)

    def send_packet(self, packet: PacketOut) -> bool:
        self.packets.append(packet)
        return True

    async def counters(self, cookie: int, cookie_mask: int) -> dict[int, Count]:
        return {
            flow.cookie: Count(flow.packets, flow.packets * _PACKET_BYTES)
            for flow in self.bridge.flows.values()
            if flow.cookie & cookie_mask == cookie
        }

    @property
    def waiting(self) -> bool:
        """Tell whether a question is unanswered."""
        return bool(self._open)

    def answer(self) -> None:
        """Answer the oldest question."""
        question = self._open.popleft()
        self._report(self, self.bridge.observed() if question is None else self._carry_out(question))

    def settle(self, limit: int = 100) -> None:
        """Answer until nothing is asked; fail when that never ends."""
        for _ in range(limit):
            if not self._open:
                return
            self.answer()
        raise AssertionError(f"still asked after {limit} answers")

    def cut(self, steps: int = 0) -> None:
        """Carry out so many steps of the oldest question and never answer anything again."""
        question = self._open.popleft() if self._open else None
        for step in (question or ())[:steps]:
            self.bridge.carry_out(step)
        self._open.clear()

    def _ask(self, question: Sequence[Step] | None) -> None:
        self.asked.append(question)
        self._open.append(question)

    def _carry_out(self, steps: Sequence[Step]) -> Event:
        for number, step in enumerate(steps):
            refusals = self.bridge.carry_out(step)
            if refusals:
                return Refused(step=number, refusals=refusals, committed=0)
        return Applied()


def _refusal(name: str, message: bytes, index: int | None) -> Refusal:
    return Refusal(name=name, error_type=0, code=0, index=index, message=message)


def _take_group(message: bytes, flows: dict[bytes, HeldFlow], groups: dict[int, bytes]) -> None:
    number = int.from_bytes(message[12:16])
    if int.from_bytes(message[8:10]) != _GROUP_DELETE:
        groups[number] = _canonical(message)
        return
    groups.pop(number, None)
    for key in [key for key, flow in flows.items() if number in flow.groups]:
        del flows[key]


def _canonical(group_mod: bytes) -> bytes:
    """Return the buckets as a switch would report them."""
    buckets = group_mod[24:]
    entry = (16 + len(buckets)).to_bytes(2) + group_mod[10:16] + len(buckets).to_bytes(2) + bytes(6) + buckets
    head = bytes((6, 19)) + (16 + len(entry)).to_bytes(2) + bytes(4) + (7).to_bytes(2) + bytes(6)
    return decode_group_desc(head + entry)[0].buckets


def _slots(message: bytes) -> frozenset[tuple[int, int]]:
    """Return the tun_metadata fields that a FLOW_MOD matches or sets, with the length of their data."""
    found = [_slot(field) for field in _oxm_fields(message_key(message)[3:])]
    found += [_slot(action[4:]) for action in _actions(message) if action[1] == _SET_FIELD]
    return frozenset(slot for slot in found if slot is not None)


def _slot(oxm: bytes) -> tuple[int, int] | None:
    number, masked, length = oxm[2] >> 1, oxm[2] & 1, oxm[3]
    if int.from_bytes(oxm[:2]) != _NXM_1 or not _TUN_METADATA0 <= number < _TUN_METADATA0 + 64:
        return None
    return number - _TUN_METADATA0, length // 2 if masked else length


def _meter_actions(message: bytes) -> frozenset[int]:
    return frozenset(int.from_bytes(action[4:8]) for action in _actions(message) if action[1] == _METER)


def _meters(message: bytes) -> frozenset[int]:
    """Return the meters that a flow names, in actions `Meter` and `Controller`."""
    found = set(_meter_actions(message))
    for action in _actions(message):
        if action[:2] == b"\xff\xff" and int.from_bytes(action[8:10]) == _CONTROLLER2:
            found.update(_controller_meters(action[16:]))
    return frozenset(found)


def _controller_meters(properties: bytes) -> Iterator[int]:
    while properties:
        length = int.from_bytes(properties[2:4])
        if int.from_bytes(properties[:2]) == _METER_ID:
            yield int.from_bytes(properties[4:8])
        properties = properties[length + -length % 8 :]


def _oxm_fields(raw: bytes) -> Iterator[bytes]:
    while raw:
        size = 4 + raw[3]
        yield raw[:size]
        raw = raw[size:]


def _actions(message: bytes) -> Iterator[bytes]:
    at = 48 + int.from_bytes(message[50:52])
    at += -at % 8
    while at < len(message):
        kind, length = int.from_bytes(message[at : at + 2]), int.from_bytes(message[at + 2 : at + 4])
        inside, end = at + 8, at + length
        while kind == 4 and inside < end:
            size = int.from_bytes(message[inside + 2 : inside + 4])
            yield message[inside : inside + size]
            inside += size
        at = end
