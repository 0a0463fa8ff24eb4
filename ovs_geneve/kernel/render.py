# SPDX-License-Identifier: Apache-2.0
"""A kernel state as the ip, bridge, tc and sysctl commands that make or end it. Pure.

They stand in the order of `plan` on an empty host and may be run again: what the tools cannot replace is made only
where it is not there. They end nothing that is no longer wanted: that is `removal` of what was there before.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from shlex import quote

from ovs_geneve.kernel import codec_links, render_filters
from ovs_geneve.kernel.canonical import canonical
from ovs_geneve.kernel.codec_neighbours import ROUTE_PROTOCOL
from ovs_geneve.kernel.objects import (
    Attachment,
    BridgeLink,
    BridgePort,
    DummyLink,
    Encap,
    Fdb,
    Filter,
    GeneveLink,
    KernelState,
    Link,
    LinkKind,
    Neighbour,
    Route,
    Setting,
    VrfLink,
)
from ovs_geneve.kernel.observation import Observation, Preference
from ovs_geneve.kernel.plan import plan
from ovs_geneve.kernel.steps import Qdisc, Step, StepObject, Verb


def commands(state: KernelState) -> tuple[str, ...]:
    """Return the commands that make a state on a host that has nothing of it but its workloads' interfaces."""
    return tuple(line for step in plan(state, Observation()) for line in _commands(step))


def removal(state: KernelState) -> tuple[str, ...]:
    """Return the commands that end a state that is there as a whole."""
    there = Observation(
        state=canonical(state, KernelState()), qdiscs=frozenset(one.device for one in state.filters)
    )
    return tuple(line for step in plan(KernelState(), there) for line in _commands(step))


def _commands(step: Step) -> list[str]:
    if step.verb is Verb.REMOVE:
        return [_removal(step.object)]
    match step.object:
        case Link() as link if step.verb is Verb.RAISE:
            return [f"ip link set dev {link.name} up"]
        case Link() as link:
            return [_added(link), *_kept_mtu(link), _alias(link), *_enslaved(link)]
        case Attachment() as one:
            mtu = [f"ip link set dev {one.name} mtu {one.mtu}"] if one.mtu is not None else []
            return mtu + _enslaved(one)
        case Setting(path=path, value=value):
            return [f"sysctl -qw {path}={value}"]
        case Qdisc(device=device):
            return [f"tc qdisc show dev {device} | grep -q clsact || tc qdisc add dev {device} clsact"]
        case Filter() as one:
            return [render_filters.put_filter(one)]
    return [_entry("replace", step.object)]


def _removal(one: StepObject) -> str:
    match one:
        case Link(name=name):
            return f"ip link del dev {name}"
        case Attachment(name=name):
            return f"ip link set dev {name} nomaster"
        case Qdisc(device=device):
            return f"tc qdisc del dev {device} clsact"
        case Filter():
            return render_filters.remove_filter(one)
        case Preference():
            direction = "egress" if one.egress else "ingress"
            return f"tc filter del dev {one.device} {direction} chain {one.chain} pref {one.preference}"
    return _entry("del", one)


def _entry(verb: str, one: StepObject) -> str:
    match one:
        case Fdb():
            return f"bridge fdb {verb} {one.mac} dev {one.device} master static"
        case Neighbour(mac=None):
            return f"ip {_family(one.address)} neigh {verb} proxy {one.address} dev {one.device}"
        case Neighbour():
            lladdr = f" lladdr {one.mac} nud permanent" if verb == "replace" else ""
            return f"ip {_family(one.address)} neigh {verb} {one.address}{lladdr} dev {one.device}"
        case Route():
            encap = f" {_encap(one.encap)}" if one.encap else ""
            scope = " scope link" if ip_network(one.prefix).version == 4 else ""
            return (
                f"ip {_family(one.prefix)} route {verb} {one.prefix}{encap} dev {one.device} "
                f"table {one.table} proto {ROUTE_PROTOCOL}{scope}"
            )
    raise AssertionError(one)


def _family(address: str) -> str:
    return "-6" if ":" in address else "-4"


def _encap(encap: Encap) -> str:
    version4 = ip_address(encap.dst).version == 4
    kind, ttl, tos = ("ip", "ttl", "tos") if version4 else ("ip6", "hoplimit", "tc")
    words = f"encap {kind} id {encap.vni} dst {encap.dst} {ttl} {encap.ttl} {tos} {encap.tos:#x} key"
    # ip-route(8) takes class and type as any number: hexadecimal ones need their 0x
    options = ",".join(f"{o.option_class:#06x}:{o.option_type:#04x}:{o.data}" for o in encap.options)
    return f"{words} geneve_opts {options}" if options else words


def _added(link: Link) -> str:
    mac = f" address {link.mac}" if link.mac else ""
    mtu = link.mtu - 1 if _kept_mtu(link) else link.mtu
    return (
        f"test -e /sys/class/net/{link.name} || "
        f"ip link add {link.name}{mac} mtu {mtu} type {codec_links.kind_name(link.kind)}{_words(link.kind)}"
    )


def _kept_mtu(link: Link) -> list[str]:
    # Else a bridge has that of its narrowest port (net/bridge/br_if.c, br_mtu_auto_adjust), whatever it was made with:
    # what is set counts, and only where it is another than before (net/core/dev.c, dev_set_mtu_ext).
    return [f"ip link set dev {link.name} mtu {link.mtu}"] if isinstance(link.kind, BridgeLink) else []


def _alias(link: Link) -> str:
    return f"ip link set dev {link.name} alias {quote(link.alias)}"


def _enslaved(one: Link | Attachment) -> list[str]:
    if one.master is None:
        return []
    lines = [f"ip link set dev {one.name} master {one.master}"]
    return lines + ([_port(one.name, one.port)] if one.port else [])


def _port(name: str, port: BridgePort) -> str:
    def word(option: str, *, on: bool) -> str:
        return f"{option} {'on' if on else 'off'}"

    words = [word("learning", on=port.learning)]
    words += [word(option, on=port.flood) for option in ("flood", "mcast_flood", "bcast_flood")]
    words += [word("neigh_suppress", on=port.neigh_suppress), word("isolated", on=port.isolated)]
    return f"bridge link set dev {name} {' '.join(words)}"


def _words(kind: LinkKind) -> str:
    match kind:
        case BridgeLink():
            return " forward_delay 0 stp_state 0 vlan_filtering 0 mcast_snooping 0"
        case DummyLink():
            return ""
        case VrfLink():
            return f" table {kind.table}"
        case GeneveLink():
            return _geneve(kind)


def _geneve(kind: GeneveLink) -> str:
    inner = " innerprotoinherit" if kind.inner_proto_inherit else ""
    if kind.vni is None or kind.remote is None:
        return f" external dstport {kind.dst_port} udp6zerocsumrx{inner}"
    words = f" id {kind.vni} remote {kind.remote} dstport {kind.dst_port} ttl {kind.ttl} tos {_tos(kind)} df {kind.df}"
    if ip_address(kind.remote).version == 4:
        return f"{words} {_switch('udpcsum', on=kind.udp_csum)}{inner}"
    sent = _switch("udp6zerocsumtx", on=kind.udp6_zero_csum_tx)
    return f"{words} {sent} {_switch('udp6zerocsumrx', on=kind.udp6_zero_csum_rx)}{inner}"


def _tos(kind: GeneveLink) -> str:
    return "inherit" if kind.tos == "inherit" else f"{kind.tos:#x}"


def _switch(word: str, *, on: bool) -> str:
    return word if on else f"no{word}"
