# SPDX-License-Identifier: Apache-2.0
"""Ways to break compiled flows, each with what it breaks; and ways to change them that break nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from controller.compiler.pipeline import TUNNEL_OFPORT, Priority, Table
from controller.intent.model import direct_vni
from controller.proof.report import Breach
from ovs_geneve.openflow import fields as f
from ovs_geneve.openflow.actions import (
    OFPP_IN_PORT,
    OFPP_LOCAL,
    Action,
    Clone,
    Ct,
    Group,
    Move,
    Output,
    OutputField,
    Resubmit,
    SetField,
)
from ovs_geneve.openflow.fields import Field
from ovs_geneve.openflow.flow import Flow, GroupEntry
from tests.unit.proof.estate import (
    BLUE,
    PORTS,
    RED,
    REG0_OR_1,
    Estate,
    asking,
    doing,
    of_table,
    swapped,
    value_of,
    without,
)

Mutant = Callable[[Estate], Estate]
Change = Callable[[Flow], Iterable[Flow]]

BLUE_MAC, RED_MAC = 0x020000000001, 0x020000000005
IPV4, ARP, IPV6, RARP, VLAN = 0x0800, 0x0806, 0x86DD, 0x8035, 0x8100
STRANGE = 0xC0000263


def where(asked: Callable[[Flow], bool], change: Change, host: str | None = None) -> Mutant:
    """Change the flows that are asked for, on one host or on all."""

    def mutant(estate: Estate) -> Estate:
        def changed(name: str, flow: Flow) -> Iterable[Flow]:
            return change(flow) if host in (None, name) and asked(flow) else (flow,)

        return estate.with_flows(changed)

    return mutant


def in_table(
    table: Table, *fields: Field, priority: int | None = None, **values: int
) -> Callable[[Flow], bool]:
    """Ask for flows of a table that match some fields, and some of them by name to a value."""
    return lambda flow: (
        of_table(flow, table, *fields, priority=priority)
        and all(value_of(flow, f.BY_NAME[name]) == value for name, value in values.items())
    )


def forgets(*fields: Field) -> Change:
    return lambda flow: [without(flow, *fields)]


def first_does(*actions: Action) -> Change:
    return lambda flow: [doing(flow, *actions)]


def goes_to(table: Table) -> Change:
    return lambda flow: [replace(flow, goto=table)]


def gone(flow: Flow) -> Iterable[Flow]:
    return ()


def sets(field: Field, value: int) -> Change:
    """Have each SetField of a field write something else."""
    return lambda flow: [
        swapped(
            flow,
            lambda one: SetField(field, value) if isinstance(one, SetField) and one.field is field else one,
        )
    ]


def keyed(table: Table, name: str, change: Callable[[Estate], Change], host: str | None = None) -> Mutant:
    """Change the flows of a table that match the key of a port in reg0 or reg1."""

    def mutant(estate: Estate) -> Estate:
        key = estate.key(f"port/{name}")
        return where(
            lambda flow: of_table(flow, table, REG0_OR_1) and value_of(flow, REG0_OR_1) in (key, key << 32),
            change(estate),
            host,
        )(estate)

    return mutant


def with_key(
    asked: Callable[[Flow], bool], change: Callable[[Estate], Change], host: str | None = None
) -> Mutant:
    """Change flows to something that needs to know the estate."""
    return lambda estate: where(asked, change(estate), host)(estate)


def to_port(name: str) -> Callable[[Estate], Change]:
    return lambda estate: sets(f.REG1, estate.key(f"port/{name}"))


def is_for(name: str) -> Callable[[Estate], Change]:
    return lambda estate: first_does(SetField(f.REG1, estate.key(f"port/{name}")))


def miss(table: Table, *actions: Action, goto: Table | None = None) -> Mutant:
    """Have the last flow of a table do something else."""
    return where(
        in_table(table, priority=Priority.MISS), lambda flow: [replace(flow, actions=actions, goto=goto)]
    )


def bucket(change: Callable[[tuple[Action, ...]], tuple[Action, ...]], *, local: bool) -> Mutant:
    """Change the actions of all buckets of blue's groups: those for local ports, or for other hosts."""

    def mutant(estate: Estate) -> Estate:
        number = 0x6E000000 + 2 * estate.key("network/blue") + local

        def changed(_: str, group: GroupEntry) -> GroupEntry:
            if group.group_id != number:
                return group
            return replace(
                group, buckets=tuple(replace(one, actions=change(one.actions)) for one in group.buckets)
            )

        return estate.with_groups(changed)

    return mutant


def stamped_from(source: Field, bits: int, at: int = 0) -> Callable[[Estate], Change]:
    """Have a field of the packet written into blue's option."""
    return lambda estate: first_does_last(Move(source, estate.slot("context"), bits, 0, at))


def first_does_last(*actions: Action) -> Change:
    return lambda flow: [replace(flow, actions=(*flow.actions, *actions))]


def steered_abroad(estate: Estate) -> Change:
    """Have what is steered, or mirrored, go to red's mirror."""
    foreign = estate.key("port/redtap")

    def swap(one: Action) -> Action:
        if isinstance(one, Clone):
            return Clone(tuple(swap(inner) for inner in one.actions))
        return SetField(f.REG1, foreign) if isinstance(one, SetField) and one.field is f.REG1 else one

    return lambda flow: [swapped(flow, swap)]


def _local(table: Table) -> Callable[[Flow], bool]:
    """Ask for flows that find blue's ports on their own host."""
    return lambda flow: (
        of_table(flow, table, f.ETH_DST, f.TUN_ID, priority=Priority.EXACT)
        and flow.goto == Table.POLICY
        and value_of(flow, f.TUN_ID) == BLUE
    )


def _remote(flow: Flow) -> bool:
    return of_table(flow, Table.FORWARD, f.ETH_DST, f.TUN_ID) and any(
        isinstance(a, Output) for a in flow.actions
    )


def _classify(name: str) -> Callable[[Flow], bool]:
    host = next(host for host, ports in PORTS.items() if name in ports)
    return in_table(Table.CLASSIFY, f.VLAN_VID, in_port=PORTS[host][name])


def _own_exact(kind: int, field: Field) -> Callable[[Flow], bool]:
    return lambda flow: (
        of_table(flow, Table.ANTISPOOF, f.ETH_TYPE, field, priority=Priority.EXACT)
        and value_of(flow, f.ETH_TYPE) == kind
        and bool(value_of(flow, field))
    )


def _refusal(table: Table, **values: int) -> Callable[[Flow], bool]:
    return lambda flow: (
        in_table(table, priority=Priority.REFUSE)(flow)
        and all(value_of(flow, f.BY_NAME[name]) == value for name, value in values.items())
    )


_any_source = in_table(Table.ANTISPOOF, f.ETH_SRC, priority=Priority.ANY_SOURCE)
_stamps = in_table(Table.STAMP, priority=Priority.EXACT)
_FRAGMENTS = in_table(Table.ND_GUARD, f.IP_FRAG)
_NS, _NA, _RA, _REDIRECT = 135, 136, 134, 137
_icmp = {"dl_type": IPV6, "nw_proto": 58}

HARMFUL: dict[str, tuple[Mutant, Breach]] = {
    # Who is it?
    "classify: any port is web1": (where(_classify("web1"), forgets(f.IN_PORT), "hv1"), Breach.INTRUDER),
    "classify: red1 is taken for mid": (
        with_key(_classify("red1"), lambda e: sets(f.REG0, e.key("port/mid")), "hv1"),
        Breach.SPOOFED,
    ),
    "classify: a port without addresses is taken for red's": (
        with_key(_classify("mid"), lambda e: sets(f.REG0, e.key("port/red3")), "hv1"),
        Breach.FOREIGN,
    ),
    "classify: what matches nothing is web1's": (
        lambda e: miss(
            Table.CLASSIFY, SetField(f.REG0, e.key("port/web1")), SetField(f.TUN_ID, BLUE), goto=Table.EGRESS
        )(e),
        Breach.INTRUDER,
    ),
    "classify: what matches nothing goes to red's flood": (
        miss(Table.CLASSIFY, SetField(f.TUN_ID, RED), goto=Table.FORWARD),
        Breach.INTRUDER,
    ),
    "classify: tagged frames of red are let in": (
        where(_classify("red1"), forgets(f.VLAN_VID), "hv1"),
        Breach.SPOOFED,
    ),
    # Is it who it says?
    "antispoof: any MAC": (where(_any_source, forgets(f.ETH_SRC)), Breach.SPOOFED),
    "antispoof: a MAC but for one bit": (
        where(
            _any_source,
            lambda flow: [asking(flow, (f.ETH_SRC, value_of(flow, f.ETH_SRC) & ~2, 0xFFFFFFFFFFFD))],
        ),
        Breach.SPOOFED,
    ),
    "antispoof: any MAC without addresses": (
        where(in_table(Table.ANTISPOOF, f.ETH_SRC, priority=Priority.OPEN_PORT), forgets(f.ETH_SRC)),
        Breach.SPOOFED,
    ),
    "antispoof: any IPv4 source": (where(_own_exact(IPV4, f.IPV4_SRC), forgets(f.IPV4_SRC)), Breach.SPOOFED),
    "antispoof: an IPv4 /31": (
        where(
            _own_exact(IPV4, f.IPV4_SRC),
            lambda flow: [asking(flow, (f.IPV4_SRC, value_of(flow, f.IPV4_SRC) & ~1, 0xFFFFFFFE))],
        ),
        Breach.SPOOFED,
    ),
    "antispoof: any IPv6 source": (where(_own_exact(IPV6, f.IPV6_SRC), forgets(f.IPV6_SRC)), Breach.SPOOFED),
    "antispoof: any ARP address": (where(_own_exact(ARP, f.ARP_SPA), forgets(f.ARP_SPA)), Breach.SPOOFED),
    "antispoof: any ARP MAC": (where(_own_exact(ARP, f.ARP_SPA), forgets(f.ARP_SHA)), Breach.SPOOFED),
    "antispoof: ARP answers from 0.0.0.0": (
        where(in_table(Table.ANTISPOOF, f.ARP_OP), forgets(f.ARP_OP)),
        Breach.SPOOFED,
    ),
    "antispoof: 0.0.0.0 to anybody": (
        where(in_table(Table.ANTISPOOF, f.IPV4_DST), forgets(f.IPV4_DST, f.UDP_SRC, f.UDP_DST)),
        Breach.SPOOFED,
    ),
    ":: may say any ICMPv6": (
        where(in_table(Table.ANTISPOOF, f.ICMPV6_TYPE), forgets(f.ICMPV6_TYPE)),
        Breach.SPOOFED,
    ),
    **{
        f"antispoof: {kind:#06x} is not refused": (
            where(_refusal(Table.ANTISPOOF, dl_type=kind), gone),
            Breach.SPOOFED,
        )
        for kind in (IPV4, ARP, IPV6, RARP, VLAN)
    },
    "antispoof: reserved addresses are not looked at": (
        where(in_table(Table.ANTISPOOF, f.ETH_DST, priority=Priority.OVERRIDE), goes_to(Table.STAMP)),
        Breach.SPOOFED,
    ),
    "antispoof: refusals go on": (where(_refusal(Table.ANTISPOOF), goes_to(Table.STAMP)), Breach.SPOOFED),
    "antispoof: refusals come too late": (
        where(_refusal(Table.ANTISPOOF), lambda flow: [replace(flow, priority=90)]),
        Breach.SPOOFED,
    ),
    "antispoof: what matches nothing goes on": (miss(Table.ANTISPOOF, goto=Table.STAMP), Breach.SPOOFED),
    "antispoof: web1's MAC is anybody's": (
        keyed(Table.ANTISPOOF, "web1", lambda _: forgets(REG0_OR_1), "hv1"),
        Breach.SPOOFED,
    ),
    # Does neighbour discovery tell the truth?
    "nd: any advertised target": (
        where(in_table(Table.ND_GUARD, f.ND_TARGET), forgets(f.ND_TARGET)),
        Breach.SPOOFED,
    ),
    "nd: any advertised MAC": (where(in_table(Table.ND_GUARD, f.ND_TLL), forgets(f.ND_TLL)), Breach.SPOOFED),
    "nd: any asking MAC": (where(in_table(Table.ND_GUARD, f.ND_SLL), forgets(f.ND_SLL)), Breach.SPOOFED),
    **{
        f"nd: type {kind} is not refused": (
            where(_refusal(Table.ND_GUARD, **_icmp, icmpv6_type=kind), gone),
            Breach.SPOOFED,
        )
        for kind in (_NS, _NA, _RA, _REDIRECT)
    },
    "nd: fragments": (where(_FRAGMENTS, gone), Breach.SPOOFED),
    "nd: IPv6 does not come here": (
        where(
            lambda flow: flow.table == Table.ANTISPOOF and flow.goto == Table.ND_GUARD, goes_to(Table.STAMP)
        ),
        Breach.SPOOFED,
    ),
    # What is it stamped with?
    "stamp: red's VNI": (keyed(Table.STAMP, "web1", lambda _: sets(f.TUN_ID, RED)), Breach.FOREIGN),
    "stamp: everybody's is blue": (keyed(Table.STAMP, "web1", lambda _: forgets(REG0_OR_1)), Breach.FOREIGN),
    "stamp: VNI from the destination MAC": (
        where(_stamps, first_does_last(Move(f.ETH_DST, f.TUN_ID, 24))),
        Breach.OPTION,
    ),
    "stamp: VNI from the destination MAC, but for the first byte": (
        where(_stamps, first_does_last(SetField(f.TUN_ID, 0), Move(f.ETH_DST, f.TUN_ID, 8))),
        Breach.OPTION,
    ),
    "stamp: an option from the source MAC": (with_key(_stamps, stamped_from(f.ETH_SRC, 8)), Breach.OPTION),
    "stamp: an option from the DSCP, undeclared bits": (
        with_key(_stamps, stamped_from(f.IP_DSCP, 6)),
        Breach.OPTION,
    ),
    "stamp: an option from the TTL": (with_key(_stamps, stamped_from(f.IP_TTL, 8, 24)), Breach.OPTION),
    "stamp: an option from the VLAN ID, by way of reg3": (
        with_key(_stamps, stamped_from(f.REG3, 12)),
        Breach.OPTION,
    ),
    "stamp: an option by way of a register": (
        lambda e: where(
            _stamps, first_does_last(Move(f.ETH_DST, f.REG9, 16), Move(f.REG9, e.slot("context"), 16))
        )(e),
        Breach.OPTION,
    ),
    # What do policies do?
    "egress: what no policy speaks of is red": (
        miss(Table.EGRESS, SetField(f.TUN_ID, RED), goto=Table.NEIGHBOURS),
        Breach.FOREIGN,
    ),
    "egress: steered to red": (
        with_key(in_table(Table.EGRESS, f.TCP_DST), steered_abroad, "hv2"),
        Breach.FOREIGN,
    ),
    "egress: stamped from the ports": (
        lambda e: where(in_table(Table.EGRESS, f.TCP_DST), first_does(Move(f.TCP_DST, e.slot("trace"), 16)))(
            e
        ),
        Breach.OPTION,
    ),
    "neighbours: answers go to another port": (
        where(
            in_table(Table.NEIGHBOURS, f.ARP_TPA, f.TUN_ID),
            lambda flow: [swapped(flow, lambda one: Output(3) if one == Output(OFPP_IN_PORT) else one)],
            "hv1",
        ),
        Breach.FOREIGN,
    ),
    "neighbours: answers go on, in another's name": (
        where(
            in_table(Table.NEIGHBOURS, f.ARP_TPA, f.TUN_ID),
            lambda flow: [
                replace(
                    flow,
                    actions=tuple(a for a in flow.actions if not isinstance(a, Output)),
                    goto=Table.FORWARD,
                )
            ],
        ),
        Breach.SPOOFED,
    ),
    "track: what is committed is red": (
        where(in_table(Table.TRACK, f.TUN_ID), first_does(SetField(f.TUN_ID, RED))),
        Breach.FOREIGN,
    ),
    # Where does it go?
    "forward: a MAC is found in every network": (
        where(_local(Table.FORWARD), forgets(f.TUN_ID)),
        Breach.FOREIGN,
    ),
    "forward: to red's port": (with_key(_local(Table.FORWARD), to_port("red1"), "hv1"), Breach.FOREIGN),
    "forward: blue's flood takes red's": (
        where(in_table(Table.FORWARD, priority=Priority.FLOOD, tun_id=BLUE), forgets(f.TUN_ID)),
        Breach.FOREIGN,
    ),
    "forward: red's VNI on the way": (where(_remote, first_does(SetField(f.TUN_ID, RED))), Breach.FOREIGN),
    "forward: another port's direct VNI": (
        lambda e: where(_remote, first_does(SetField(f.TUN_ID, direct_vni(e.key("port/redtap")))), "hv1")(e),
        Breach.FOREIGN,
    ),
    "forward: to a stranger": (where(_remote, sets(f.TUN_DST, STRANGE)), Breach.LEAVES),
    "forward: to whom the guest says": (
        where(
            _remote,
            lambda flow: [
                swapped(
                    flow, lambda one: Move(f.IPV4_DST, f.TUN_DST, 32) if isinstance(one, SetField) else one
                )
            ],
        ),
        Breach.OPTION,
    ),
    "forward: out of a port that a register names": (
        where(_local(Table.FORWARD), first_does(SetField(f.REG7, 3), OutputField(f.REG7)), "hv1"),
        Breach.FOREIGN,
    ),
    "forward: and to the host itself": (
        where(_local(Table.FORWARD), first_does(Output(OFPP_LOCAL))),
        Breach.NOBODY,
    ),
    "direct: without asking for whom": (
        keyed(Table.DIRECT, "redtap", lambda _: forgets(REG0_OR_1), "hv1"),
        Breach.FOREIGN,
    ),
    "direct: red's port at home": (keyed(Table.DIRECT, "tap", is_for("red2"), "hv2"), Breach.FOREIGN),
    # What comes out of the tunnel?
    "peers: everybody": (where(in_table(Table.PEERS, f.TUN_SRC), forgets(f.TUN_SRC)), Breach.INTRUDER),
    "peers: a /31": (
        where(
            in_table(Table.PEERS, f.TUN_SRC),
            lambda flow: [asking(flow, (f.TUN_SRC, value_of(flow, f.TUN_SRC) & ~0xFF, 0xFFFFFF00))],
        ),
        Breach.INTRUDER,
    ),
    "peers: everybody over IPv6": (
        where(in_table(Table.PEERS, f.TUN_IPV6_SRC), forgets(f.TUN_IPV6_SRC)),
        Breach.INTRUDER,
    ),
    "peers: what matches nothing goes on": (miss(Table.PEERS, goto=Table.RECEIVE), Breach.INTRUDER),
    "classify: what comes out of the tunnel is not asked from where": (
        where(lambda flow: flow.table == Table.CLASSIFY and flow.goto == Table.PEERS, goes_to(Table.RECEIVE)),
        Breach.INTRUDER,
    ),
    "receive: a MAC is found in every network": (
        where(_local(Table.RECEIVE), forgets(f.TUN_ID)),
        Breach.FOREIGN,
    ),
    "receive: to red's port": (with_key(_local(Table.RECEIVE), to_port("red2"), "hv2"), Breach.FOREIGN),
    "receive: blue's flood takes red's": (
        where(in_table(Table.RECEIVE, priority=Priority.FLOOD, tun_id=BLUE), forgets(f.TUN_ID)),
        Breach.FOREIGN,
    ),
    "receive: flood to red": (
        lambda e: where(
            in_table(Table.RECEIVE, priority=Priority.FLOOD, tun_id=BLUE),
            lambda flow: [replace(flow, actions=(Group(0x6E000001 + 2 * e.key("network/red")),))],
        )(e),
        Breach.FOREIGN,
    ),
    "receive: a direct VNI is another port's": (
        lambda e: where(in_table(Table.RECEIVE, tun_id=direct_vni(e.key("port/mid"))), to_port("red1")(e))(e),
        Breach.FOREIGN,
    ),
    # Who gets it?
    "policy: what no policy speaks of is red's": (
        lambda e: miss(Table.POLICY, SetField(f.REG1, e.key("port/red1")), goto=Table.GROUPS)(e),
        Breach.FOREIGN,
    ),
    "policy: mirrored to red": (
        with_key(
            lambda flow: flow.table == Table.POLICY and any(isinstance(a, Clone) for a in flow.actions),
            steered_abroad,
        ),
        Breach.FOREIGN,
    ),
    "groups: what is allowed is red's": (
        with_key(
            lambda flow: in_table(Table.GROUPS, f.TUN_ID)(flow) and flow.goto == Table.DELIVER,
            is_for("red2"),
            "hv2",
        ),
        Breach.FOREIGN,
    ),
    "groups: what no policy speaks of is red's": (
        lambda e: miss(Table.GROUPS, SetField(f.REG1, e.key("port/red1")), goto=Table.DELIVER)(e),
        Breach.FOREIGN,
    ),
    "groups_state: replies are red's": (
        with_key(in_table(Table.GROUPS_STATE, f.CT_STATE), is_for("red1"), "hv1"),
        Breach.FOREIGN,
    ),
    "groups_state: what conntrack does not know is red's": (
        lambda e: where(
            in_table(Table.GROUPS_STATE, priority=Priority.MISS),
            first_does(SetField(f.REG1, e.key("port/red1")), Resubmit(Table.DELIVER)),
            "hv1",
        )(e),
        Breach.FOREIGN,
    ),
    "deliver: without asking for whom": (
        keyed(Table.DELIVER, "red1", lambda _: forgets(REG0_OR_1), "hv1"),
        Breach.FOREIGN,
    ),
    "deliver: out of red's port": (
        keyed(Table.DELIVER, "web1", lambda _: lambda flow: [replace(flow, actions=(Output(3),))], "hv1"),
        Breach.FOREIGN,
    ),
    "deliver: and out of red's port": (
        keyed(Table.DELIVER, "web1", lambda _: first_does(Output(3)), "hv1"),
        Breach.FOREIGN,
    ),
    "deliver: out of nobody's port": (
        keyed(Table.DELIVER, "web1", lambda _: first_does(Output(77)), "hv1"),
        Breach.NOBODY,
    ),
    # Copies
    "group: a bucket for red's port": (
        lambda e: bucket(lambda one: (SetField(f.REG1, e.key("port/red1")), *one[1:]), local=True)(e),
        Breach.FOREIGN,
    ),
    "group: a bucket out of red's port": (bucket(lambda one: (Output(3), *one), local=True), Breach.FOREIGN),
    "group: copies with red's VNI": (
        bucket(lambda one: (SetField(f.TUN_ID, RED), *one), local=False),
        Breach.FOREIGN,
    ),
    "group: copies to a stranger": (
        bucket(lambda one: (SetField(f.TUN_DST, STRANGE), Output(TUNNEL_OFPORT)), local=False),
        Breach.LEAVES,
    ),
}
"By name: the mutant, and a breach that it is found by."


def _bypass(flow: Flow) -> Iterable[Flow]:
    return [
        swapped(
            flow, lambda one: replace(one, table=Table.DELIVER) if isinstance(one, Ct) and one.table else one
        )
    ]


HARMLESS: dict[str, Mutant] = {
    "a flow that repeats another at a lower priority": where(
        in_table(Table.DELIVER, REG0_OR_1), lambda flow: [flow, replace(flow, priority=100)]
    ),
    "priorities a little higher": where(
        in_table(Table.ANTISPOOF, priority=Priority.EXACT), lambda flow: [replace(flow, priority=201)]
    ),
    "blue is cut off": keyed(Table.STAMP, "web1", lambda _: lambda flow: [replace(flow, actions=())]),
    "nothing is sent to other hosts": where(_remote, gone),
    "policies between groups are not asked": where(in_table(Table.GROUPS, f.CT_STATE), _bypass),
    "what no policy allows in a network is let in": where(
        in_table(Table.GROUPS, priority=Priority.POLICY_DEFAULT), goes_to(Table.DELIVER)
    ),
    "the host's own endpoints are not asked for": where(
        lambda flow: flow.table == Table.CLASSIFY and flow.goto == Table.PEERS,
        forgets(f.TUN_DST, f.TUN_IPV6_DST),
    ),
    "a table that nothing gets to": lambda e: replace(
        e,
        hosts={
            n: ((*flows, Flow(table=99, priority=1, match=flows[0].match, actions=(Output(3),))), g)
            for n, (flows, g) in e.hosts.items()
        },
    ),
    "an unused register is written": where(
        in_table(Table.CLASSIFY, f.IN_PORT), first_does(SetField(f.REG8, 7))
    ),
    "an unused register is what a guest says": where(_stamps, first_does(Move(f.ETH_DST, f.REG9, 32))),
    "ARP is asked of the neighbour itself": where(in_table(Table.NEIGHBOURS, f.ARP_TPA, f.TUN_ID), gone),
    "an option is constant": lambda e: where(_stamps, first_does_last(SetField(e.slot("context"), 9)))(e),
    "a loop": where(in_table(Table.DELIVER, priority=Priority.MISS), first_does(Resubmit(Table.DELIVER))),
}
"Changes that may be mistakes, but let nobody out or in."
