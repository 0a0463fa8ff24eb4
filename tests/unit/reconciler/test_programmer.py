# SPDX-License-Identifier: Apache-2.0
"""One bridge is kept as desired, whatever its connection and its switch do meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from controller.compiler.compile import HostView
from controller.compiler.cookies import parse
from controller.compiler.meters import DROP_LOG, METERS, PROBES
from controller.errors import IntentError
from controller.intent.commands import Command
from controller.intent.model import Kind
from controller.reconciler.programmer import Phase, Programmer
from controller.reconciler.status import Truth, bridge_programmed
from ovs_geneve.openflow.events import Applied, Bundle
from ovs_geneve.openflow.messages import MessageType
from ovs_geneve.openflow.meters import contents
from ovs_geneve.openflow.tlv_table import TlvMap
from tests.builders import (
    Fabric,
    bind,
    delete,
    drop_policy,
    network,
    port,
    put,
    rolled_out,
    schema,
    small_fabric,
)
from tests.fakes.switch import FakeBridge, FakeChannel
from tests.unit.compiler.operations import HOSTS, Operations

HOST = "hv1"


class Rig:
    """A fabric, and the programmer of one of its hosts with a fake bridge behind it."""

    def __init__(self, fabric: Fabric, host: str = HOST) -> None:
        self.fabric = fabric
        self.host = host
        self.bridge = FakeBridge()
        self.progress = 0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.programmer = Programmer(
            HostView(fabric.compiler, host), self._progressed, lambda *timer: self.timers.append(timer)
        )
        self.channel = self.new_channel()

    def _progressed(self) -> None:
        self.progress += 1

    def new_channel(self) -> FakeChannel:
        return FakeChannel(self.bridge, self.programmer.handle)

    def connect(self) -> None:
        self.channel = self.new_channel()
        self.programmer.connect(self.channel)

    def disconnect(self, steps: int = 0) -> None:
        self.channel.cut(steps)
        self.programmer.disconnect(self.channel)

    def do(self, *commands: Command) -> None:
        self.enqueue(self.fabric.do(*commands).get(self.host))

    def enqueue(self, delta) -> None:
        if delta:
            self.programmer.enqueue(lambda: delta, self.fabric.intent.revision)

    def fire(self) -> None:
        timers, self.timers = self.timers, []
        for _, action in timers:
            action()

    @property
    def in_sync(self) -> bool:
        return self.bridge.equals(self.fabric.compiler.desired(self.host))


@pytest.fixture
def rig() -> Rig:
    return Rig(small_fabric())


@pytest.fixture
def settled(rig: Rig) -> Rig:
    rig.connect()
    rig.channel.settle()
    return rig


def with_object(rig: Rig, kind: Kind, name: str) -> Callable[[bytes], str | None]:
    """Return a rule that refuses flows that an object asked for."""
    key = rig.fabric.key(kind, name)
    return lambda message: (
        "OFPFMFC_TABLE_FULL"
        if message[1] == MessageType.FLOW_MOD and parse(int.from_bytes(message[8:16])).object_key == key
        else None
    )


def test_connecting_brings_an_empty_bridge_up(rig: Rig) -> None:
    assert rig.programmer.phase is Phase.ABSENT
    assert rig.programmer.behind_since == 0
    rig.connect()
    assert rig.programmer.phase is Phase.OBSERVING
    rig.channel.answer()
    assert rig.programmer.phase is Phase.APPLYING
    rig.channel.answer()
    assert rig.programmer.phase is Phase.IDLE
    assert rig.programmer.behind_since is None
    assert rig.in_sync


def test_reconnecting_with_nothing_to_do_sends_nothing(settled: Rig) -> None:
    sent = settled.programmer.messages_sent
    settled.disconnect()
    settled.connect()
    settled.channel.settle()
    assert settled.channel.asked == [None]
    assert settled.programmer.messages_sent == sent
    assert settled.programmer.behind_since is None


def test_looking_again_repairs_drift_and_else_sends_nothing(settled: Rig) -> None:
    sent = settled.programmer.messages_sent
    settled.programmer.observe_again()
    settled.channel.settle()
    assert settled.programmer.messages_sent == sent
    settled.bridge.flows.popitem()
    settled.programmer.observe_again()
    settled.channel.settle()
    assert settled.programmer.messages_sent == sent + 1
    assert settled.in_sync


def test_groups_and_flows_of_others_stay(settled: Rig) -> None:
    foreign = bytearray(next(iter(settled.fabric.compiler.desired(HOST).flows.values())).message)
    foreign[8], foreign[24] = 0x11, 99
    assert settled.bridge.carry_out(Bundle([bytes(foreign)])) == ()
    settled.bridge.groups[5] = b""
    settled.programmer.observe_again()
    settled.channel.settle()
    assert 5 in settled.bridge.groups
    assert any(flow.message == bytes(foreign) for flow in settled.bridge.flows.values())


FOREIGN = TlvMap(0xFF77, 1, 4, 0)


def test_a_mapping_of_somebody_else_stays(settled: Rig) -> None:
    elsewhere = TlvMap(0xFF77, 1, 8, 60)
    settled.bridge.tlv_maps |= {elsewhere}
    settled.do(
        put("web1", port("blue", 1, "10.0.0.1")),
        put("blue", network(100)),
        rolled_out("blue", "context"),
        delete("option-schema/context"),
    )
    settled.channel.settle()
    assert settled.bridge.tlv_maps == {elsewhere}, "ours went, this one did not"
    settled.disconnect()
    settled.connect()
    settled.channel.settle()
    assert settled.bridge.tlv_maps == {elsewhere}
    assert settled.channel.asked == [None], "and costs nothing"


def test_an_option_whose_slot_is_taken_is_left_out_by_name(rig: Rig) -> None:
    rig.bridge.tlv_maps = frozenset({FOREIGN})
    rig.connect()
    rig.channel.settle()
    assert rig.bridge.tlv_maps == {FOREIGN}
    assert [str(one) for one in rig.programmer.taken] == [
        "tun_metadata0 is to be class 0xff00, type 0x01: somebody else mapped it to class 0xff77, type 0x01"
    ]
    assert not any(flow.slots for flow in rig.bridge.flows.values()), "nothing of ours speaks of their option"
    assert rig.bridge.flows, "what needs no option works"
    assert rig.programmer.refusal_of(rig.fabric.key(Kind.PORT, "web1")) == "SlotTaken"
    assert rig.programmer.refusal_of(rig.fabric.key(Kind.HOST, HOST)) == ""
    assert bridge_programmed(rig.programmer, restoring=False).reason == "SlotTaken"
    # A change that needs it is left out as well, and one that does not is made.
    rig.do(put("web3", port("blue", 3, "10.0.0.3")), bind("web3", "hv2"), put("red", network(200)))
    rig.channel.settle()
    assert not any(flow.slots for flow in rig.bridge.flows.values())


def test_a_slot_that_is_let_go_is_used_at_the_next_look(rig: Rig) -> None:
    rig.bridge.tlv_maps = frozenset({FOREIGN})
    rig.connect()
    rig.channel.settle()
    assert [seconds for seconds, _ in rig.timers] == [30.0], "one timer however much is left out"
    rig.fire()
    rig.channel.settle()
    assert rig.programmer.taken, "still theirs"
    rig.bridge.tlv_maps = frozenset()
    rig.fire()
    rig.channel.settle()
    assert not rig.programmer.taken
    assert rig.in_sync
    assert rig.programmer.refusal_of(rig.fabric.key(Kind.PORT, "web1")) == ""


def test_an_option_that_is_mapped_elsewhere_is_taken_too(rig: Rig) -> None:
    rig.bridge.tlv_maps = frozenset({TlvMap(0xFF00, 1, 4, 9)})
    rig.connect()
    rig.channel.settle()
    assert [str(one) for one in rig.programmer.taken] == [
        "class 0xff00, type 0x01 is to be tun_metadata0: somebody else mapped it to tun_metadata9"
    ]


def test_what_others_mapped_leaves_less_room(rig: Rig) -> None:
    rig.bridge.tlv_maps = frozenset({TlvMap(0xFF77, 1, 124, 60), TlvMap(0xFF77, 2, 124, 61)})
    rig.do(put("wide", schema(3, length=8)))
    rig.connect()
    rig.channel.settle()
    assert [one.ours.option_type for one in rig.programmer.taken] == [3], "4 bytes fit, 8 more do not"


def test_every_bridge_has_the_meters_and_those_of_others_stay(rig: Rig) -> None:
    rig.bridge.meters[1] = foreign = b"somebody's"
    rig.connect()
    rig.channel.settle()
    assert rig.bridge.meters == {1: foreign, **contents(METERS)}
    rig.bridge.meters[PROBES] = b"altered"
    del rig.bridge.meters[DROP_LOG]
    rig.disconnect()
    rig.connect()
    rig.channel.settle()
    assert rig.bridge.meters == {1: foreign, **contents(METERS)}
    assert rig.programmer.phase is Phase.IDLE


def test_meters_go_with_the_host(settled: Rig) -> None:
    settled.do(delete("host/hv1"))
    settled.channel.settle()
    assert settled.bridge.meters == {}


def test_a_bridge_without_meters_is_programmed_all_the_same(rig: Rig) -> None:
    rig.bridge.refuse_meters = "OFPMMFC_INVALID_METER"
    rig.connect()
    rig.channel.settle()
    assert rig.programmer.phase is Phase.IDLE
    assert rig.bridge.flows.keys() == rig.fabric.compiler.desired(HOST).flows.keys()
    condition = bridge_programmed(rig.programmer, restoring=False)
    assert (condition.status, condition.reason) == (Truth.FALSE, "NotSupported")
    assert "OFPMMFC_INVALID_METER" in condition.message
    rig.do(put("web2", port("blue", 9)))
    rig.channel.settle()
    rig.bridge.refuse_meters = ""
    rig.disconnect()
    rig.connect()
    rig.channel.settle()
    assert rig.in_sync
    assert bridge_programmed(rig.programmer, restoring=False).status is Truth.TRUE


def test_changes_fold_while_one_is_under_way(settled: Rig) -> None:
    settled.do(put("new", port("blue", 50, "10.0.0.50")))
    for last in range(51, 60):
        settled.do(put("new", port("blue", last, f"10.0.0.{last}")))
    asked = len(settled.channel.asked)
    settled.channel.settle()
    assert settled.programmer.phase is Phase.GATHERING
    settled.do(put("new", port("blue", 60, "10.0.0.60")))
    assert len(settled.channel.asked) == asked
    settled.fire()
    settled.channel.settle()
    assert len(settled.channel.asked) == asked + 1, "ten changes were not one"
    assert settled.in_sync


def test_a_change_alone_never_waits(settled: Rig) -> None:
    """Not even behind another one: only several that came meanwhile are a burst."""
    for last in (50, 51):
        settled.do(put("new", port("blue", last, f"10.0.0.{last}")))
    settled.channel.settle()
    assert settled.in_sync
    assert settled.timers == []


def test_bundles_wait_longer_while_a_burst_goes_on(settled: Rig) -> None:
    waits = []
    settled.do(put("new", port("blue", 50, "10.0.0.50")))
    for last in range(100, 120, 2):
        settled.do(put("new", port("blue", 50, f"10.0.0.{last}")))
        settled.do(put("new", port("blue", 50, f"10.0.0.{last + 1}")))
        settled.channel.settle()
        waits += [delay for delay, _ in settled.timers]
        settled.fire()
    assert waits == sorted(waits)
    assert waits[0] < waits[-1] <= 0.1
    settled.channel.settle()
    settled.fire()
    assert settled.programmer.phase is Phase.IDLE


def test_many_objects_in_one_commit_are_a_burst_too(settled: Rig) -> None:
    """What comes next waits with them, unless it is a change alone."""
    many = [put(f"q{number}", port("blue", 60 + number, f"10.0.1.{number}")) for number in range(40)]
    for commands in (many[:20], many[20:]):
        for change in settled.fabric.do(*commands).values():
            settled.programmer.enqueue(
                lambda delta=change: delta, settled.fabric.intent.revision, len(commands)
            )
        settled.channel.settle()
    assert settled.programmer.phase is Phase.GATHERING
    assert not settled.in_sync
    settled.fire()
    settled.channel.settle()
    assert settled.in_sync
    assert settled.programmer.phase is Phase.GATHERING
    asked = len(settled.channel.asked)
    settled.do(put("alone", port("blue", 50, "10.0.0.50")))
    assert len(settled.channel.asked) == asked + 1
    settled.channel.settle()
    assert settled.in_sync


def test_connection_that_ends_while_more_is_waited_for(settled: Rig) -> None:
    for last in (50, 51, 52):
        settled.do(put("new", port("blue", last, f"10.0.0.{last}")))
    settled.channel.settle()
    assert settled.programmer.phase is Phase.GATHERING
    assert settled.programmer.behind_since is not None
    settled.disconnect()
    settled.fire()
    settled.connect()
    settled.channel.settle()
    assert settled.in_sync


def test_change_before_the_observation_is_not_lost(rig: Rig) -> None:
    rig.connect()
    rig.do(put("new", port("blue", 50, "10.0.0.50")))
    assert rig.programmer.phase is Phase.OBSERVING
    rig.channel.settle()
    assert rig.in_sync


def test_behind_since_is_the_oldest_change_that_may_be_missing(settled: Rig) -> None:
    settled.do(put("new", port("blue", 50, "10.0.0.50")))
    first = settled.fabric.intent.revision
    assert settled.programmer.behind_since == first
    settled.do(put("new", port("blue", 51, "10.0.0.51")))
    second = settled.fabric.intent.revision
    assert settled.programmer.behind_since == first
    settled.channel.answer()
    assert settled.programmer.behind_since == second
    settled.channel.answer()
    assert settled.programmer.behind_since is None


def test_no_waiter_starves_under_a_continuous_stream(settled: Rig) -> None:
    settled.do(put("new", port("blue", 50, "10.0.0.50")))
    awaited = settled.fabric.intent.revision
    answers = 0
    while settled.programmer.behind_since is not None and settled.programmer.behind_since <= awaited:
        answers += 1
        settled.do(put("new", port("blue", 51 + answers, f"10.0.0.{51 + answers}")))
        settled.channel.answer()
        assert answers < 3
    assert settled.programmer.phase is Phase.APPLYING


def test_what_was_not_acknowledged_is_behind_after_a_disconnect(settled: Rig) -> None:
    settled.do(put("new", port("blue", 50, "10.0.0.50")))
    revision = settled.fabric.intent.revision
    settled.disconnect()
    assert settled.programmer.phase is Phase.ABSENT
    assert settled.programmer.behind_since == revision
    settled.do(put("new", port("blue", 51, "10.0.0.51")))
    assert settled.programmer.behind_since == revision
    settled.connect()
    settled.channel.settle()
    assert settled.programmer.behind_since is None
    assert settled.in_sync


@pytest.mark.parametrize("steps", range(4))
@pytest.mark.parametrize("answers", range(3))
def test_connection_that_ends_anywhere(steps: int, answers: int) -> None:
    rig = Rig(small_fabric())
    rig.connect()
    for _ in range(answers):
        rig.channel.answer()
    # Another option in place of the first: map, bundle, unmap, and the connection ends after any of them.
    rig.do(
        put("web1", port("blue", 1, "10.0.0.1")),
        put("blue", network(100)),
        rolled_out("blue", "context"),
        delete("option-schema/context"),
        put("other", schema(2)),
        put("blue", network(100, "other")),
        rolled_out("blue", "other"),
    )
    rig.disconnect(steps)
    rig.connect()
    rig.channel.settle()
    assert rig.in_sync
    assert rig.programmer.behind_since is None


def test_answer_on_a_connection_that_was_replaced_means_nothing(settled: Rig) -> None:
    old = settled.channel
    settled.connect()
    settled.programmer.handle(old, Applied())
    settled.programmer.disconnect(old)
    assert settled.programmer.phase is Phase.OBSERVING
    settled.channel.settle()
    assert settled.programmer.phase is Phase.IDLE


def test_only_what_is_refused_is_left_out_and_its_object_is_named(settled: Rig) -> None:
    settled.do(put("rule", drop_policy("blue", priority=7)))
    settled.channel.settle()
    settled.bridge.refuse = with_object(settled, Kind.OPTION_POLICY, "rule")
    settled.do(
        put("rule", drop_policy("blue", priority=8)),
        put("new", port("blue", 50, "10.0.0.50")),
    )
    settled.channel.settle()
    key = settled.fabric.key(Kind.OPTION_POLICY, "rule")
    assert settled.programmer.refusals.objects[key] == "OFPFMFC_TABLE_FULL"
    assert settled.programmer.refusals.objects.keys() == {key}
    assert settled.programmer.behind_since is None, "the rest is programmed"
    wanted = settled.fabric.compiler.desired(HOST).flows
    assert len(wanted.keys() - settled.bridge.flows.keys()) == 1


def test_object_that_changes_gets_another_chance(settled: Rig) -> None:
    settled.bridge.refuse = lambda message: (
        "OFPFMFC_TABLE_FULL" if message[1] == MessageType.FLOW_MOD else None
    )
    settled.do(put("rule", drop_policy("blue", priority=8)))
    settled.channel.settle()
    assert settled.programmer.refusals.objects
    settled.bridge.refuse = lambda message: None
    settled.do(put("rule", drop_policy("blue", priority=9)))
    settled.channel.settle()
    assert settled.programmer.refusals.objects == {}
    assert settled.in_sync


def test_object_stays_refused_while_one_of_its_flows_is(settled: Rig) -> None:
    """A port of which the switch refused two flows, and one of them is not wanted any more."""
    settled.do(put("new", port("blue", 50, "10.0.0.50", "10.0.0.51")))
    settled.channel.settle()
    settled.bridge.refuse = with_object(settled, Kind.PORT, "new")
    settled.do(put("new", port("blue", 50, "10.0.0.60", "10.0.0.61")))
    settled.channel.settle()
    key = settled.fabric.key(Kind.PORT, "new")
    settled.bridge.refuse = lambda message: None
    settled.do(put("new", port("blue", 50, "10.0.0.60")))
    assert len(settled.fabric.compiler.desired(HOST).flows.keys() - settled.bridge.flows.keys()) == 1
    assert key in settled.programmer.refusals.objects


def test_refused_object_that_is_deleted_is_forgotten(settled: Rig) -> None:
    settled.do(put("rule", drop_policy("blue", priority=7)))
    settled.channel.settle()
    settled.bridge.refuse = with_object(settled, Kind.OPTION_POLICY, "rule")
    settled.do(put("rule", drop_policy("blue", priority=8)))
    settled.channel.settle()
    settled.do(delete("option-policy/rule"))
    settled.channel.settle()
    assert settled.programmer.refusals.objects == {}
    assert settled.in_sync


def test_refused_map_is_tried_again_with_patience(settled: Rig) -> None:
    settled.bridge.refuse_maps = "NXTTMFC_TABLE_FULL"
    settled.do(put("other", schema(2)))
    settled.channel.settle()
    assert settled.programmer.refusals.bridge == "NXTTMFC_TABLE_FULL"
    delays = []
    for _ in range(8):
        assert len(settled.timers) == 1
        delays.append(settled.timers[0][0])
        settled.fire()
        settled.channel.settle()
    assert delays == sorted(delays)
    assert delays[0] < 1 < delays[-1] <= 30
    settled.bridge.refuse_maps = ""
    settled.fire()
    settled.channel.settle()
    assert settled.programmer.refusals.bridge == ""
    assert settled.in_sync


def test_refused_deletion_is_tried_again_with_patience(settled: Rig) -> None:
    """Leaving it out would leave the bridge wrong, and asking at once for ever would keep it busy."""
    settled.do(put("rule", drop_policy("blue", priority=8)))
    settled.channel.settle()
    settled.bridge.refuse = lambda message: "OFPFMFC_EPERM" if message[25] == 4 else None
    settled.do(delete("option-policy/rule"))
    settled.channel.settle()
    assert settled.programmer.refusals.bridge == "OFPFMFC_EPERM"
    settled.bridge.refuse = lambda message: None
    settled.fire()
    settled.channel.settle()
    assert settled.in_sync
    assert settled.programmer.refusals.bridge == ""


def test_retry_of_a_connection_that_is_gone_asks_nobody(settled: Rig) -> None:
    settled.bridge.refuse_maps = "NXTTMFC_TABLE_FULL"
    settled.do(put("other", schema(2)))
    settled.channel.settle()
    settled.disconnect()
    asked = len(settled.channel.asked)
    settled.fire()
    assert len(settled.channel.asked) == asked


def test_cost_on_the_wire_is_what_changed(settled: Rig) -> None:
    sent = settled.programmer.messages_sent
    settled.do(put("new", port("blue", 50, "10.0.0.50")))
    settled.channel.settle()
    assert settled.programmer.messages_sent == sent + 1


@pytest.mark.parametrize("seed", range(10))
def test_any_history_ends_in_sync(seed: int) -> None:
    """Commands, interfaces, cut connections and refusals in any order, with a switch that takes its time."""
    random = Random(seed)
    fabric = Fabric()
    operations = Operations(random)
    rigs = {name: Rig(fabric, name) for name in HOSTS[:2]}
    for command in [*operations.world(), *(operations.draw() for _ in range(300))]:
        try:
            deltas = fabric.do(command)
        except IntentError:
            deltas = {}
        for name, rig in rigs.items():
            rig.enqueue(deltas.get(name))
            _something_happens(rig, random)
    for rig in rigs.values():
        rig.bridge.refuse = lambda message: None
        rig.programmer.refusals.flows.clear()
        rig.programmer.refusals.groups.clear()
        rig.disconnect()
        rig.connect()
        rig.channel.settle()
        assert rig.in_sync


def _something_happens(rig: Rig, random: Random) -> None:
    chance = random.random()
    if chance < 0.4 and rig.channel.waiting:
        rig.channel.answer()
    elif chance < 0.5:
        free = set(range(10)) - set(rig.fabric.ofports.get(rig.host, {}).values())
        interface = f"p{random.randrange(8)}"
        rig.enqueue(rig.fabric.plug(rig.host, **{interface: random.choice(sorted(free | {0}))}))
    elif chance < 0.55:
        rig.disconnect(random.randrange(4))
        rig.connect()
    elif chance < 0.6:
        unlucky = random.randrange(256)
        rig.bridge.refuse = lambda message: "OFPFMFC_TABLE_FULL" if message[15] == unlucky else None
    elif chance < 0.65:
        rig.fire()
