# SPDX-License-Identifier: Apache-2.0
"""What the compiler keeps up to date equals what it compiles from nothing, and its deltas lead there."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from random import Random

import pytest

from controller.compiler.compile import Compiler, HostView
from controller.compiler.fragments import FABRIC
from controller.compiler.recompute import Fault, compare
from controller.errors import IntentError
from controller.hoststate import HostState, Observed
from controller.intent.commands import Command, Put, Record, evaluate
from controller.intent.model import HostSpec, Kind, OffloadChoice, RolloutSpec, RolloutStage
from ovs_geneve.openflow.meters import contents
from tests.builders import (
    EMPTY,
    Fabric,
    apply_delta,
    bind,
    delete,
    host,
    network,
    port,
    put,
    rolled_out,
    schema,
    unbind,
)
from tests.unit.compiler.operations import HOSTS, PORTS, Operations

STEPS = 150


class Mirrored:
    """A fabric, and a copy of every host's bridge that has only ever seen deltas."""

    def __init__(self) -> None:
        self.fabric = Fabric()
        self.bridges: dict[str, HostState] = {}

    def do(self, *commands: Command) -> None:
        deltas = self.fabric.do(*commands)
        for name, delta in deltas.items():
            self.bridges[name] = apply_delta(self.bridges.get(name, EMPTY), delta)

    def plug(self, name: str, **ofports: int) -> None:
        delta = self.fabric.plug(name, **ofports)
        self.bridges[name] = apply_delta(self.bridges.get(name, EMPTY), delta)

    def check(self, names: tuple[str, ...] = HOSTS) -> None:
        compiler = self.fabric.compiler
        whole = Compiler.of(compiler.snapshot())
        assert list(compare(compiler.snapshot(), whole.snapshot())) == []
        for name in names:
            assert clashing_keys(self.fabric, name) == [], name
            assert whole.desired(name) == compiler.desired(name), name
            desired, held = compiler.desired(name), self.bridges.get(name, EMPTY)
            if name not in compiler.intent.hosts:
                # What it is to let go matters only to one that was just taken out.
                held = replace(held, released=desired.released)
            assert held == desired, name
            self._check_forms(name)

    def _check_forms(self, name: str) -> None:
        """The bytes that fill an empty bridge, and the quick comparison, say the same as the state."""
        view = HostView(self.fabric.compiler, name)
        state, whole = view.state(), view.installation()
        messages = [message for block in whole.blocks for message in block.messages()]
        wanted = [held.message for held in (*state.groups.values(), *state.flows.values())]
        assert sorted(messages) == sorted(wanted), name
        assert whole.tlv_maps == state.tlv_maps, name
        cookies = {key: flow.cookie for key, flow in state.flows.items()}
        groups = {number: group.content for number, group in state.groups.items()}
        seen = Observed(tlv_maps=state.tlv_maps, flows=cookies, groups=groups, meters=contents(state.meters))
        assert view.is_met(seen), name
        assert not view.is_met(replace(seen, flows={**cookies, b"key": 1}))
        assert not view.is_met(replace(seen, meters={**seen.meters, 0x6EF: b""}))


class Offloading(Operations):
    """Has hosts change their minds about offload, too."""

    def _host(self, name: str | None = None) -> Command:
        command = super()._host(name)
        assert isinstance(command, Put)
        assert isinstance(command.spec, HostSpec)
        offload = self._pick(None, OffloadChoice.OFF, OffloadChoice.ON)
        return replace(command, spec=replace(command.spec, offload=offload))


def clashing_keys(fabric: Fabric, name: str) -> list[bytes]:
    """Return flow keys that more than one fragment of a host has: the last one compiled would win."""
    compiler = fabric.compiler
    counts = Counter(
        flow.key
        for fragment in compiler._layers.fragments(name, compiler._layers.of(name))
        for flow in fragment.flows
    )
    return [key for key, count in counts.items() if count > 1]


@pytest.mark.parametrize("seed", range(12))
def test_incremental_equals_whole(seed: int) -> None:
    random = Random(seed)
    operations = Offloading(random)
    world = Mirrored()
    done = 0
    for command in operations.world():
        done += _try(world, command)
    for _ in range(STEPS):
        if random.random() < 0.2:
            _plug(world, random)
        else:
            done += _try(world, operations.draw())
        world.check()
    assert done > STEPS / 4, "most commands were refused: nothing was tested"


@pytest.mark.parametrize("seed", range(6))
def test_batches_equal_whole(seed: int) -> None:
    """Commands that share a commit arrive as one change an object, deleted and made anew included."""
    random = Random(1000 + seed)
    operations = Offloading(random)
    world = Mirrored()
    for command in operations.world():
        _try(world, command)
    for _ in range(STEPS // 5):
        world.do(*_acceptable(world, [operations.draw() for _ in range(random.randrange(1, 30))]))
        world.check()


@pytest.mark.parametrize("seed", range(6))
def test_a_share_of_the_hosts_is_compiled_as_the_whole_would(seed: int) -> None:
    """Whichever hosts a controller serves, and however that changes, theirs are as if it served all."""
    random = Random(2000 + seed)
    operations = Offloading(random)
    fabric = Fabric()
    compiler = fabric.compiler
    commands = [*operations.world(), *(operations.draw() for _ in range(STEPS))]
    for command in commands:
        with suppress(IntentError):
            fabric.do(command)
        if random.random() < 0.3:
            number = random.randrange(len(PORTS))
            fabric.plug(random.choice(HOSTS), **{PORTS[number]: random.choice((0, number + 1))})
        if random.random() < 0.2:
            compiler.serve(random.choice((None, frozenset(random.sample(HOSTS, random.randrange(4))))))
        kept = compiler.snapshot()
        assert list(compare(kept, Compiler.of(kept).snapshot())) == []
        whole = Compiler.of(replace(kept, served=None))
        for name in HOSTS:
            served = kept.served is None or name in kept.served
            desired = compiler.desired(name)
            if name in compiler.intent.hosts:
                assert desired == (whole.desired(name) if served else EMPTY), name
            else:
                assert replace(desired, released=frozenset()) == EMPTY, name


def test_host_that_is_served_anew_gets_all_it_needs() -> None:
    fabric = Fabric()
    fabric.do(
        *(put(f"hv{n}", host(f"192.0.2.{n}")) for n in (1, 2)),
        put("blue", network(100)),
        *(put(f"p{n}", port("blue", n, f"10.0.0.{n}")) for n in (1, 2)),
        *(bind(f"p{n}", f"hv{n}") for n in (1, 2)),
    )
    assert fabric.compiler.serve(frozenset({"hv1"})) == {}
    assert fabric.compiler.desired("hv2") == EMPTY
    (change,) = fabric.compiler.serve(None).values()
    assert apply_delta(EMPTY, change.delta()) == fabric.compiler.desired("hv2")


def test_comparison_tells_what_differs() -> None:
    fabric = Fabric()
    fabric.do(put("hv1", host("192.0.2.1")), put("blue", network(100)), put("p1", port("blue", 1)))
    fabric.do(put("s", schema(1)), bind("p1", "hv1"))
    kept = fabric.compiler.snapshot()
    layers = {layer: dict(fragments) for layer, fragments in kept.layers.items()}
    layers[FABRIC].popitem()
    wrong = replace(
        kept, layers=layers, tlv_maps=frozenset(), layers_of={**kept.layers_of, "hv9": frozenset()}
    )
    faults = {(found.fault, found.hosts) for found in compare(wrong, kept)}
    assert (Fault.MISSING, ("hv1",)) in faults
    assert {found.what for found in compare(wrong, kept)} >= {"TLV map", "layers"}
    assert {found.fault for found in compare(kept, wrong)} == {Fault.STALE, Fault.DIFFERENT}


def test_object_made_anew_in_one_batch() -> None:
    world = Mirrored()
    again = [
        put("hv1", host("192.0.2.1")),
        put("hv2", host("192.0.2.2")),
        put("context", schema(1)),
        put("blue", network(100, "context")),
        put("web1", port("blue", 1, "10.0.0.1")),
        bind("web1", "hv1"),
    ]
    gone = [
        delete("port/web1"),
        delete("network/blue"),
        delete("option-schema/context"),
        delete("host/hv1"),
        delete("host/hv2"),
    ]
    world.do(*again)
    world.plug("hv1", web1=1)
    world.do(*gone, *again)
    world.check()
    world.do(*gone)
    world.check()
    left = world.bridges["hv1"]
    assert replace(left, released=frozenset()) == EMPTY
    assert [mapped.option_type for mapped in left.released] == [1], "a host that leaves lets go of all"
    world.do(*again)
    world.check()


def test_port_that_takes_the_mac_of_one_that_goes() -> None:
    world = Mirrored()
    world.do(
        put("hv1", host("192.0.2.1")),
        put("hv2", host("192.0.2.2")),
        put("blue", network(100)),
        put("old", port("blue", 1, "10.0.0.1")),
        put("stays", port("blue", 9)),
        bind("old", "hv1"),
        bind("stays", "hv2"),
    )
    world.do(delete("port/old"), put("new", port("blue", 1, "10.0.0.1")), bind("new", "hv2"))
    world.check()


def test_family_that_turns_up_and_goes() -> None:
    """Ways to ports are compiled for the underlay families that a network's hosts have."""
    world = Mirrored()
    world.do(
        put("hv1", host("192.0.2.1", "2001:db8::1")),
        put("hv2", host("192.0.2.2")),
        put("blue", network(100)),
        put("web1", port("blue", 1)),
        put("db1", port("blue", 2)),
        bind("web1", "hv1"),
        bind("db1", "hv2"),
    )
    for endpoints in (("2001:db8::2",), ("192.0.2.2", "2001:db8::2"), ("192.0.2.2",), ("2001:db8::2",)):
        world.do(put("hv2", host(*endpoints)))
        world.check()
    world.do(unbind("db1"))
    world.do(put("web1", port("blue", 3)))
    world.do(bind("db1", "hv2"))
    world.check()


def test_cost_of_a_port_does_not_grow_with_the_fabric() -> None:
    """A port more on a network of 25 hosts: the same few parts, and the same few flows a host, as on five."""
    costs = {size: _cost_of_a_port(size) for size in (5, 25)}
    for size, (parts, elsewhere, at_home) in costs.items():
        # What all hosts have of the port, what its own has (bound, then plugged in), and that one's flood group.
        assert parts == 4, size
        # Elsewhere: ARP answer, ND answers for the declared and the link-local address, and the way to it.
        assert elsewhere == {4}, size
        assert at_home == (3, 24, 1), size


def _cost_of_a_port(size: int) -> tuple[int, set[int], tuple[int, int, int]]:
    fabric = Fabric()
    fabric.do(put("blue", network(100)))
    for number in range(1, size + 1):
        fabric.do(
            put(f"hv{number}", host(f"192.0.2.{number}")),
            put(f"p{number}", port("blue", number, f"10.0.0.{number}", f"2001:db8::{number}")),
            bind(f"p{number}", f"hv{number}"),
        )
        fabric.plug(f"hv{number}", **{f"p{number}": 1})
    before = fabric.compiler.parts_compiled
    deltas = fabric.do(put("new", port("blue", 99, "10.0.0.99", "2001:db8::99")), bind("new", "hv3"))
    plugged = fabric.plug("hv3", new=7)
    parts = fabric.compiler.parts_compiled - before
    assert len(deltas) == size
    assert all(not delta.groups and delta.tlv_maps is None for name, delta in deltas.items() if name != "hv3")
    elsewhere = {len(delta.flows) for name, delta in deltas.items() if name != "hv3"}
    return parts, elsewhere, (len(deltas["hv3"].flows), len(plugged.flows), len(deltas["hv3"].groups))


def test_moved_port_touches_its_two_hosts_groups_and_one_flow_elsewhere() -> None:
    fabric = Fabric()
    fabric.do(put("blue", network(100)))
    for number in range(1, 11):
        fabric.do(
            put(f"hv{number}", host(f"192.0.2.{number}")),
            put(f"a{number}", port("blue", number)),
            put(f"b{number}", port("blue", 100 + number)),
            bind(f"a{number}", f"hv{number}"),
            bind(f"b{number}", f"hv{number}"),
        )
    before = fabric.compiler.parts_compiled
    deltas = fabric.do(bind("a1", "hv2"))
    assert fabric.compiler.parts_compiled - before == 4
    assert {len(d.flows) for name, d in deltas.items() if name not in ("hv1", "hv2")} == {1}
    assert {name for name, d in deltas.items() if d.groups} == {"hv1", "hv2"}


def test_change_of_one_network_touches_no_other() -> None:
    fabric = Fabric()
    fabric.do(
        *(put(f"hv{n}", host(f"192.0.2.{n}")) for n in (1, 2)),
        *(put(name, network()) for name in ("blue", "red")),
        *(put(f"{name}1", port(name, 1)) for name in ("blue", "red")),
        bind("blue1", "hv1"),
        bind("red1", "hv2"),
    )
    assert set(fabric.do(put("blue1", port("blue", 1, "10.0.0.1")))) == {"hv1"}


def test_labels_and_a_demanded_mtu_cost_nothing() -> None:
    fabric = Fabric()
    blue = network(100)
    fabric.do(put("hv1", host("192.0.2.1")), put("blue", blue))
    for number in range(1, 11):
        fabric.do(put(f"p{number}", port("blue", number)), bind(f"p{number}", "hv1"))
    before = fabric.compiler.parts_compiled
    assert fabric.do(Put(kind=Kind.NETWORK, name="blue", spec=blue, labels=(("owner", "me"),))) == {}
    assert fabric.do(put("blue", replace(blue, mtu=1300))) == {}
    assert fabric.compiler.parts_compiled == before
    assert fabric.intent.networks["blue"].spec.mtu == 1300


def test_unbound_port_needs_nothing_on_hosts_without_its_network() -> None:
    fabric = Fabric()
    fabric.do(put("hv1", host("192.0.2.1")), put("blue", network(100)))
    assert fabric.do(put("web1", port("blue", 1, "10.0.0.1"))) == {}
    assert fabric.intent.get(Kind.PORT, "web1") is not None


def _plug(world: Mirrored, random: Random) -> None:
    """Plug an interface in, give it another number, or unplug it; OVS numbers no two alike."""
    name = random.choice(HOSTS)
    free = set(range(20)) - set(world.fabric.ofports.get(name, {}).values())
    interface = random.choice([*PORTS, *(f"if-{port_name}" for port_name in PORTS)])
    world.plug(name, **{interface: random.choice((0, *free))})


def _try(world: Mirrored, command: Command) -> bool:
    """Carry a command out, unless the intent refuses it; tell whether it changed something."""
    try:
        decision = evaluate(world.fabric.intent, command)
    except IntentError:
        return False
    world.do(command)
    return bool(decision.changes)


def _acceptable(world: Mirrored, commands: list[Command]) -> list[Command]:
    """Leave out the commands that are refused after those before them."""
    intent, accepted = world.fabric.intent, []
    for command in commands:
        try:
            decision = evaluate(intent, command)
        except IntentError:
            continue
        if decision.changes:
            intent = intent.with_changes(decision.changes, intent.revision + 1)
        accepted.append(command)
    return accepted


def test_host_that_comes_back_gets_the_tlv_map_again() -> None:
    """Between its deletion and its return its bridge may have stayed connected, and lost its map."""
    world = Mirrored()
    world.do(put("context", schema(1)), put("hv1", host("192.0.2.1")))
    world.do(delete("host/hv1"))
    assert world.bridges["hv1"].tlv_maps == frozenset()
    world.do(put("hv1", host("192.0.2.1")))
    assert len(world.bridges["hv1"].tlv_maps) == 1


def test_host_that_joins_a_network_costs_the_others_a_group_each() -> None:
    fabric = Fabric()
    fabric.do(put("blue", network(100)), put("hv0", host("192.0.2.100")))
    for number in range(1, 26):
        fabric.do(
            put(f"hv{number}", host(f"192.0.2.{number}")),
            put(f"p{number}", port("blue", number)),
            bind(f"p{number}", f"hv{number}"),
        )
    before = fabric.compiler.parts_compiled
    deltas = fabric.do(put("new", port("blue", 99)), bind("new", "hv0"))
    # The port (elsewhere, here), the group of its host's ports, and of each of the 26 hosts the group of the others.
    assert fabric.compiler.parts_compiled - before == 29
    others = {(len(d.flows), len(d.groups)) for name, d in deltas.items() if name != "hv0"}
    assert others == {(1, 1)}


def test_a_rollout_s_stage_and_reason_cost_hosts_only_what_they_change() -> None:
    world = Mirrored()
    world.do(
        put("hv1", host("192.0.2.1")),
        put("hv2", host("192.0.2.2")),
        put("context", schema(1)),
        put("blue", network(100)),
        *(put(f"web{number}", port("blue", number, f"10.0.0.{number}")) for number in range(1, 9)),
        *(bind(f"web{number}", "hv1") for number in range(1, 9)),
    )
    world.plug("hv1", **{f"web{number}": number for number in range(1, 9)})
    world.do(put("blue", network(100, "context")))
    for stage, reason, ports_change in (
        (RolloutStage.RECEIVERS, "waits for host hv2: not connected", False),
        (RolloutStage.CANARY, "", False),
        (RolloutStage.SENDERS, "canary passed", True),
        (RolloutStage.SENDERS, "waits for host hv2: not connected", False),
    ):
        spec = RolloutSpec(network="blue", schema="context", stage=stage, reason=reason)
        before = world.fabric.compiler.parts_compiled
        world.do(Record(name="blue:context", spec=spec))
        world.check()
        compiled = world.fabric.compiler.parts_compiled - before
        assert (compiled > 8) is ports_change, (stage, reason)
    before = world.fabric.compiler.parts_compiled
    world.do(rolled_out("blue", "context"))
    world.check()
    assert world.fabric.compiler.parts_compiled - before == 1, (
        "the flows for those who do not stamp it yet go"
    )
