# SPDX-License-Identifier: Apache-2.0
"""What a family of NICs can be hoped to take of what forwards on a host without Open vSwitch. Pure.

    workload ─► bridge ─► a device without a driver: the rule that chooses the tunnel ─► geneve device ─► NIC
    workload ◄─ bridge ◄─ rules of the geneve device: mark, redirect to the ingress of that device ◄──────┘

The rules are those that `controller/linux` makes; the families' limits are the same as for Open vSwitch's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum

from ovs_geneve.offload.families import Family
from ovs_geneve.offload.verdict import NetworkUse, OptionUse, Reason, Verdict, can, compares, ports, sets

_OPEN_VSWITCH = "have Open vSwitch on this host: it hands rules at the interfaces of ports to NICs"


class Forwarding(StrEnum):
    """What of the kernel has a network's packets on such a host."""

    FILTERS = "filters"
    "Rules of traffic control at one device for all tunnels."
    DEVICES = "devices"
    "A bridge of devices with a fixed network and peer."
    ROUTES = "routes"
    "A routing domain, in a network of IP."


def never_sent(by: Forwarding) -> tuple[Reason, ...]:
    """Say why no NIC whatever takes packets that such a host sends."""
    if by is not Forwarding.FILTERS:
        return (_no_filters(by),)
    message = "packets pass a bridge, and the rule that chooses their tunnel is behind it, at a device with no driver"
    source = "drivers/net/dummy.c: dummy_netdev_ops has no ndo_setup_tc"
    return (
        Reason(
            code="behind-bridge",
            verdict=Verdict.NO,
            message=message,
            change=_OPEN_VSWITCH,
            source=source,
        ),
    )


def never_received(by: Forwarding) -> tuple[Reason, ...]:
    """Say why no NIC whatever takes packets that arrive at such a host."""
    return () if by is Forwarding.FILTERS else (_no_filters(by),)


def sending(family: Family, use: NetworkUse, by: Forwarding) -> tuple[Reason, ...]:
    """Say what keeps a family from taking packets that such a host sends."""
    if by is not Forwarding.FILTERS:
        return never_sent(by)
    return (*(never_sent(by) if family.hardware else ()), *sets(family, use), *ports(family, use))


def receiving(family: Family, use: NetworkUse, by: Forwarding) -> tuple[Reason, ...]:
    """Say what keeps a family from taking packets that arrive at such a host."""
    if by is not Forwarding.FILTERS:
        return never_received(by)
    return tuple(_arriving(family, use))


def of_option(family: Family, option: OptionUse, by: Forwarding) -> tuple[Reason, ...]:
    """Say what keeps a family from taking packets with one option alone, either way, for the option's sake."""
    if by is not Forwarding.FILTERS:
        return (_no_filters(by),)
    use = NetworkUse(options=(option,))
    reasons = (*sets(family, use), *compares(family, _compared(use)))
    return tuple({reason.code: reason for reason in reasons}.values())


def df_not_set() -> Reason:
    """Say what is otherwise in packets whose tunnel a rule chooses, with a NIC or without."""
    return Reason(
        code="df-lost",
        verdict=Verdict.YES,
        message="the outer DF bit is never set: the rule that chooses the tunnel of a packet does not set it",
        change='"tunnels": "fixed" sets it; "tunnel": {"df_default": false} says so for all hosts',
        source="net/sched/act_tunnel_key.c: TCA_TUNNEL_KEY_NO_FRAG, which Linux 6.1 has not",
    )


def _arriving(family: Family, use: NetworkUse) -> Iterator[Reason]:
    what = f"whether {family.title} marks packets and redirects them to the ingress of a device"
    yield from can("into-bridge", family.into_bridge, what, _OPEN_VSWITCH)
    yield from compares(family, _compared(use))
    yield from ports(family, use)


def _compared(use: NetworkUse) -> NetworkUse:
    """Leave out the options of packets of which no rule reads any: such a host then looks at none."""
    return use if any(option.read for option in use.options) else replace(use, options=())


def _no_filters(by: Forwarding) -> Reason:
    if by is Forwarding.ROUTES:
        message = "packets of IP go by routes, and routes into tunnels are no rules of traffic control: no NIC is asked"
        change = "carry Ethernet in this network, between hosts with Open vSwitch"
    else:
        message = "fixed tunnels are ports of a bridge, with no rules of traffic control: no NIC is asked"
        change = f'{_OPEN_VSWITCH}; "tunnels": "metadata" has rules, in software'
    return Reason(code="no-filters", verdict=Verdict.NO, message=message, change=change, source=_SOURCES[by])


_SOURCES = {
    Forwarding.ROUTES: "controller/linux/routed.py; drivers/net/geneve.c: geneve_netdev_ops has no ndo_setup_tc",
    Forwarding.DEVICES: "controller/linux/fixed.py; drivers/net/geneve.c: geneve_netdev_ops has no ndo_setup_tc",
}
