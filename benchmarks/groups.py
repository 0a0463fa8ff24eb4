# SPDX-License-Identifier: Apache-2.0
"""What do 500 rules between 50 groups of 10,000 ports cost a host, and what does one member more?

    python -m benchmarks.groups [--quick]

Ours: the sender's group is in an option, and a rule is a flow an IP version. Theirs: a rule names its members'
addresses (`rig/address_sets.py`). Both for the same intent, both really on one bridge, where ofproto/trace has to find
them of one mind. Ports are spread (every group on every host) and, in a second count, packed (two hosts a group).
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from benchmarks.rig import flows as shape
from benchmarks.rig.address_sets import NEXT, TABLE, AddressSets, Member, Rule, default_deny
from benchmarks.rig.daemons import BRIDGE, OvsHost, cpu_seconds, rss_mib, workspace
from benchmarks.rig.report import Report, progress
from benchmarks.rig.switch import connected
from controller.compiler.compile import Compiler
from controller.compiler.cookies import Feature, parse
from controller.compiler.pipeline import Table
from controller.hoststate import EncodedFlow, HostDelta
from controller.intent.commands import Bind, Command, Put, evaluate
from controller.intent.intent import Intent, merged
from controller.intent.model import Change, GroupSpec, HostSpec, Kind, NetworkSpec, PolicySpec, PortSpec
from controller.intent.rules import PortRange
from ovs_geneve.openflow.events import Applied, Bundle
from ovs_geneve.openflow.template import encode_flow_delete, message_key
from ovs_geneve.values import vni

FLOWS_RATIO, MESSAGES_RATIO = 50, 100
"The goals: so many times fewer."

_NETWORK = "net"
_RULES = (Feature.GROUP_POLICY, Feature.PORT_GROUP)
_FIRST_PORT = 1000
_SETTLED_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much there is of everything."""

    hosts: int = 100
    ports: int = 10_000
    groups: int = 50
    rules: int = 500
    rounds: int = 20
    packed: bool = False

    def host_of(self, number: int) -> int:
        """Return where a port is plugged: its group's ports everywhere, or on as few hosts as hold them."""
        row, group = divmod(number, self.groups)
        if not self.packed:
            return row % self.hosts
        each = max(1, self.hosts // self.groups)
        return (group * each + row % each) % self.hosts

    def rule(self, number: int) -> Rule:
        """Return a rule; as many to each group as from it, none twice."""
        to = number % self.groups
        return Rule(number, (to + 1 + number // self.groups) % self.groups, to, _FIRST_PORT + number)

    @property
    def all_rules(self) -> list[Rule]:
        """List the rules."""
        return [self.rule(number) for number in range(self.rules)]


QUICK = Size(hosts=10, ports=200, groups=5, rules=20, rounds=2)


@dataclass
class Ours:
    """The intent, and the compiler that follows it."""

    size: Size
    intent: Intent = field(default_factory=Intent)
    compiler: Compiler = field(default_factory=Compiler)

    def declare(self) -> None:
        """Declare and plug everything in."""
        self.do(_declared(self.size))
        interfaces = defaultdict[int, dict[str, int]](dict)
        for number in range(self.size.ports):
            here = interfaces[self.size.host_of(number)]
            here[f"p{number}"] = len(here) + 1
        for host, ofports in interfaces.items():
            self.compiler.update_ofports(f"hv{host}", ofports)

    def do(self, commands: Iterable[Command]) -> dict[str, HostDelta]:
        """Carry commands out; return what hosts must change."""
        changes = list[Change]()
        for command in commands:
            decision = evaluate(self.intent, command)
            self.intent = self.intent.with_changes(decision.changes, self.intent.revision + 1)
            changes += decision.changes
        pending = self.compiler.update(self.intent, merged(changes))
        return {name: delta for name, change in pending.items() if (delta := change.delta())}

    def flows(self, host: int, *features: Feature) -> list[EncodedFlow]:
        """Return a host's flows of some features."""
        return [
            flow
            for flow in self.compiler.desired(f"hv{host}").flows.values()
            if parse(flow.cookie).feature in features
        ]


def _declared(size: Size) -> Iterator[Command]:
    for number in range(size.hosts):
        endpoint = IPv4Address(0xC6120000 + number + 1)
        yield Put(kind=Kind.HOST, name=f"hv{number}", spec=HostSpec(endpoints=(endpoint,)))
    for number in range(size.groups):
        yield Put(kind=Kind.GROUP, name=f"g{number}", spec=GroupSpec())
    yield Put(kind=Kind.NETWORK, name=_NETWORK, spec=NetworkSpec(vni=vni(100), options=("identity",)))
    for number in range(size.ports):
        yield Put(kind=Kind.PORT, name=f"p{number}", spec=_port(number, f"g{number % size.groups}"))
        yield Bind(port=f"p{number}", host=f"hv{size.host_of(number)}")
    for rule in size.all_rules:
        spec = PolicySpec(
            network=_NETWORK,
            from_group=f"g{rule.from_group}",
            to_group=f"g{rule.to_group}",
            protocol=6,
            ports=(PortRange(rule.port, rule.port),),
        )
        yield Put(kind=Kind.POLICY, name=f"r{rule.number}", spec=spec)


def _addresses(number: int) -> dict[int, int]:
    return {4: 0x0A000000 + number + 1, 6: (0x20010DB8 << 96) + number + 1}


def _port(number: int, group: str) -> PortSpec:
    addresses = _addresses(number)
    return PortSpec(
        network=_NETWORK,
        mac=0x020000000000 + number,
        addresses=(IPv4Address(addresses[4]), IPv6Address(addresses[6])),
        group=group,
    )


def theirs(size: Size, host: int) -> AddressSets:
    """Return what a host knows of members."""
    members, local = defaultdict[int, list[Member]](list), defaultdict[int, list[Member]](list)
    for number in range(size.ports):
        member = Member(number + 1, _addresses(number))
        members[number % size.groups].append(member)
        if size.host_of(number) == host:
            local[number % size.groups].append(member)
    return AddressSets(members, local)


def count_flows(report: Report, ours: Ours, what: str) -> tuple[list[bytes], list[bytes]]:
    """Count what rules come to on the first host, both ways; return the messages."""
    size, sets = ours.size, theirs(ours.size, 0)
    own = [flow.message for flow in ours.flows(0, *_RULES)]
    other = [*sets.flows(size.all_rules), *default_deny(sets.local)]
    report.note(f"flows of rules on a host, {what}", {"ours": len(own), "address sets": len(other)})
    report.note(f"without conjunctions, {what}", sets.cross_product(size.all_rules))
    bytes_each = {"ours": sum(map(len, own)), "address sets": sum(map(len, other))}
    report.note(f"bytes of those flows, {what}", bytes_each)
    report.at_least(
        f"flows of {size.rules} rules on a host, ports {what}, address sets / ours, x",
        len(other) / len(own),
        FLOWS_RATIO if what == "spread" else 1,
    )
    return own, other


def count_messages(report: Report, ours: Ours) -> tuple[HostDelta, list[bytes]]:
    """Move a port to another group and count who hears of it; return what one host gets, each way."""
    size = ours.size
    began = time.process_time()
    deltas = ours.do([Put(kind=Kind.PORT, name="p0", spec=_port(0, "g1"))])
    report.note(
        "a member more, ours: CPU to compile and encode it, ms", round(1e3 * (time.process_time() - began), 3)
    )
    own = sum(len(delta.flows) + len(delta.groups) for delta in deltas.values())
    member, others = Member(1, _addresses(0)), 0
    rules = [rule for rule in size.all_rules if rule.from_group == 1]
    spent, one = 0.0, list[bytes]()
    for host in range(size.hosts):
        sets = theirs(size, host) if host < 1 else sets_like(host, size)
        began = time.process_time()
        found = sets.flows_of_member(member, 1, rules)
        spent += time.process_time() - began
        others += len(found)
        one = one or found
    report.note("a member more, address sets: CPU to encode it on all hosts, ms", round(1e3 * spent, 3))
    report.note("hosts that a member more touches", {"ours": len(deltas), "address sets": size.hosts})
    report.note("flow and group messages of a member more", {"ours": own, "address sets": others})
    report.at_most("hosts that a member more touches", len(deltas), 1)
    report.at_least("flow messages of a member more, address sets / ours, x", others / own, MESSAGES_RATIO)
    return deltas["hv0"], one


def sets_like(host: int, size: Size) -> AddressSets:
    """Return what a host knows, but for the members of groups, which are not looked at."""
    local = defaultdict[int, list[Member]](list)
    for number in range(size.ports):
        if size.host_of(number) == host:
            local[number % size.groups].append(Member(number + 1, _addresses(number)))
    return AddressSets({}, local)


def check_alike(host: OvsHost, ours: Ours) -> None:
    """Assert that both ways allow and refuse the same, as ofproto/trace has it."""
    size = ours.size
    host.ofctl("add-flow", BRIDGE, f"table=0,pkt_mark=1,actions=resubmit(,{TABLE})")
    host.ofctl("add-flow", BRIDGE, f"table=0,pkt_mark=2,actions=resubmit(,{Table.GROUPS})")
    identity = {number: ours.intent.groups[f"g{number}"].spec.identity for number in range(size.groups)}
    local = theirs(size, 0).local
    seen = set[bool]()
    for rule in size.all_rules[:: max(1, size.rules // 8)]:
        for from_group, port in (
            (rule.from_group, rule.port),
            (rule.from_group, 9),
            (rule.to_group, rule.port),
        ):
            source = IPv4Address(_addresses(from_group + size.groups)[4])
            packet = f"tcp,nw_src={source},tp_dst={port}"
            way = {
                NEXT: f"in_port=LOCAL,pkt_mark=1,metadata=1,reg15={local[rule.to_group][0].key},{packet}",
                int(Table.DELIVER): f"in_port=LOCAL,pkt_mark=2,tun_id=100,reg2={identity[rule.to_group]},"
                f"tun_metadata0={identity[from_group]:#x},{packet}",
            }
            allowed = {
                bool(re.search(rf"^ *{table}\. ", host.appctl("ofproto/trace", BRIDGE, flow), re.MULTILINE))
                for table, flow in way.items()
            }
            assert len(allowed) == 1, (rule, from_group, port)
            seen |= allowed
    assert seen == {True, False}, "nothing was allowed, or everything"


async def _install(host: OvsHost, messages: Sequence[bytes]) -> tuple[float, float]:
    """Put messages on the bridge in one step; return the seconds it took, and vswitchd's CPU seconds."""
    async with connected(host.management) as (switch, _):
        cpu, wall = cpu_seconds(host.vswitchd), time.perf_counter()
        event = await switch.apply([Bundle(list(messages), at_once=True)])
        assert event == Applied(), event
        return time.perf_counter() - wall, cpu_seconds(host.vswitchd) - cpu


def measure_bridge(report: Report, ours: Ours, own: list[bytes], other: list[bytes]) -> None:
    """Put both on a bridge, compare what they decide, and time a member more."""
    with workspace() as folder, OvsHost(folder / "hv0") as host:
        shape.add_bridge(host)
        host.ofctl("add-tlv-map", BRIDGE, "{class=0xff6e,type=1,len=4}->tun_metadata0")
        for name, messages in (("ours", own), ("address sets", other)):
            before = rss_mib(host.vswitchd)
            seconds, cpu = asyncio.run(_install(host, messages))
            time.sleep(_SETTLED_S)
            report.note(
                f"rules into a bridge, {name}",
                {
                    "s": round(seconds, 4),
                    "CPU s": round(cpu, 2),
                    "MiB of vswitchd": round(rss_mib(host.vswitchd) - before, 1),
                },
            )
        check_alike(host, ours)
        progress("both ways decide alike")
        state = ours.compiler.desired("hv0")
        ready = [group.message for group in state.groups.values()]
        ready += [flow.message for flow in ours.flows(0, Feature.LOCAL)]
        asyncio.run(_install(host, ready))
        _time_members(report, host, ours)


def _time_members(report: Report, host: OvsHost, ours: Ours) -> None:
    delta, other = count_messages(report, ours)
    own = [group.message for group in delta.groups.values() if group is not None]
    own += [flow.message for flow in delta.flows.values() if flow is not None]
    away = [encode_flow_delete(message_key(message)) for message in other]
    taken = defaultdict[str, list[float]](list)
    for _ in range(ours.size.rounds):
        taken["ours"].append(1e3 * asyncio.run(_install(host, own))[0])
        taken["address sets"].append(1e3 * asyncio.run(_install(host, other))[0])
        asyncio.run(_install(host, away))
    hosts = {"ours": 1, "address sets": ours.size.hosts}
    middle = {
        name: report.add_series(f"a member more on one bridge of {hosts[name]}, {name}", times, "ms")
        for name, times in taken.items()
    }
    work = {name: round(middle[name] * hosts[name], 2) for name in middle}
    report.note("a member more, ms of all bridges together", work)
    report.at_least(
        "a member more, time of all bridges together, address sets / ours, x",
        work["address sets"] / work["ours"],
        ours.size.hosts / 2,
    )


def main(*, quick: bool = False) -> None:
    """Measure and print."""
    size = QUICK if quick else Size()
    report = Report("groups")
    report.note(
        "size", {"hosts": size.hosts, "ports": size.ports, "groups": size.groups, "rules": size.rules}
    )
    packed = Ours(Size(hosts=size.hosts, ports=size.ports, groups=size.groups, rules=size.rules, packed=True))
    packed.declare()
    count_flows(report, packed, "packed")
    ours = Ours(size)
    ours.declare()
    progress("declared")
    own, other = count_flows(report, ours, "spread")
    measure_bridge(report, ours, own, other)
    report.print()


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
