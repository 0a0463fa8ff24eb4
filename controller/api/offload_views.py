# SPDX-License-Identifier: Apache-2.0
"""The offload report: what rules say of networks and hosts, beside what is seen. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from controller.api.offload_rules import Rules, with_ovs, without_ovs
from controller.api.offload_schema import (
    FamilyView,
    FilterCountView,
    HostNetworkView,
    HostOffloadView,
    NetworkOffloadView,
    NicView,
    OffloadReportView,
    OptionVerdictView,
    PlaceCountView,
    ReasonView,
    Seen,
    TunnelPortView,
)
from controller.intent.intent import Intent
from controller.intent.model import HostKind, HostSpec, TunnelStyle
from controller.intent.offload_use import forwarding, linux_use, network_use
from controller.reconciler.status import RESTART
from controller.southbound.ports import HostReport, OffloadState
from ovs_geneve.offload.families import SOFTWARE, Family, families, family_of
from ovs_geneve.offload.linux import df_not_set
from ovs_geneve.offload.nic import Nic, standing_in_the_way
from ovs_geneve.offload.placement import REASONS, Place
from ovs_geneve.offload.sight import FilterCount, FlowCount, HostSight
from ovs_geneve.offload.verdict import (
    NetworkUse,
    Reason,
    Verdict,
    caveats,
    oam_taken,
    verdict_of,
)

NOT_SEEN = "not seen: run the agent there"
NOT_HEARD = "not seen: its agent does not follow this controller"
STAND_IN = "stand-in, no hardware figure"

_STAND_INS = frozenset({"standin_nic", "fakenic", "netdevsim"})


def report_view(
    intent: Intent,
    reports: Mapping[str, HostReport],
    sights: Mapping[str, HostSight | None],
    tunnel_port: int,
    networks: Iterable[str],
) -> OffloadReportView:
    """Show hosts (those in `reports`) and networks."""
    uses = {name: network_use(intent, name, tunnel_port) for name in sorted(networks)}
    return OffloadReportView(
        revision=intent.revision,
        hosts=[
            _host(intent, name, reports[name], sights.get(name), uses, tunnel_port)
            for name in sorted(reports)
        ],
        networks=[_network(intent, name, use, tunnel_port) for name, use in uses.items()],
    )


def label_of(nic: Nic) -> str:
    """Say what may be said of figures taken with a device."""
    family = family_of(nic.driver)
    if family is not None:
        return family.title
    if nic.driver in _STAND_INS:
        return STAND_IN
    return f"no NIC that is known ({nic.driver or 'no driver'}): no hardware figure"


def _network(intent: Intent, name: str, use: NetworkUse, tunnel_port: int) -> NetworkOffloadView:
    linux = list[Rules]()
    if any(name in _networks_on(intent, host) for host in intent.linux_hosts):
        by = forwarding(TunnelStyle.METADATA, intent.networks[name].spec)
        linux = [without_ovs(linux_use(intent, name, tunnel_port), by)]
    return NetworkOffloadView(
        network=name,
        options=[option.name for option in use.options],
        features=sorted(use.features),
        families=[_family(family, with_ovs(use)) for family in families().values()],
        linux=[_family(family, rules) for rules in linux for family in families().values()],
        caveats=_reasons(caveats(use)),
    )


def _rules(intent: Intent, host: str, network: str, use: NetworkUse, tunnel_port: int) -> Rules:
    spec = intent.hosts[host].spec
    if spec.kind is HostKind.LINUX:
        by = forwarding(spec.tunnels, intent.networks[network].spec)
        return without_ovs(linux_use(intent, network, tunnel_port), by)
    # Hosts that drop OAM packets do that first (docs/pipeline.md), so that every megaflow of theirs compares the O bit.
    return with_ovs(replace(use, oam=not spec.takes_oam))


def _networks_on(intent: Intent, host: str) -> frozenset[str]:
    return frozenset(intent.ports[port].spec.network for port in intent.ports_on(host))


def _family(family: Family, rules: Rules) -> FamilyView:
    sends, receives = rules.sending(family, rules.use), rules.receiving(family, rules.use)
    return FamilyView(
        family=family.name,
        title=family.title,
        hardware=family.hardware,
        sending=verdict_of(sends).value,
        receiving=verdict_of(receives).value,
        reasons=_reasons((*sends, *receives)),
        options=[
            OptionVerdictView(option=option.name, verdict=verdict_of(found).value, reasons=_reasons(found))
            for option in rules.use.options
            for found in [rules.of_option(family, option)]
        ],
    )


def _host(
    intent: Intent,
    name: str,
    report: HostReport,
    sight: HostSight | None,
    uses: Mapping[str, NetworkUse],
    tunnel_port: int,
) -> HostOffloadView:
    spec = intent.hosts[name].spec
    state = report.offload
    reasons = (*_of_state(state), *_of_datapath(report.datapath))
    nics = () if sight is None else (*sight.uplinks, *sight.ports)
    uplinks = frozenset() if sight is None else frozenset(nic.device for nic in sight.uplinks)
    there = _networks_on(intent, name)
    return HostOffloadView(
        host=name,
        seen=sight is not None,
        note="" if sight is not None else NOT_HEARD if spec.kind is HostKind.LINUX else NOT_SEEN,
        declared=None if spec.offload is None else spec.offload.value,
        configured=None if state is None else str(state.configured),
        running=None if state is None or state.running is None else str(state.running),
        datapath=spec.kind.value if spec.kind is HostKind.LINUX else report.datapath,
        reasons=_reasons((*reasons, *_notes(state), *_given_up(spec))),
        nics=[_nic(nic, is_uplink=nic.device in uplinks) for nic in nics],
        filters=[] if sight is None else _filters(sight, ""),
        networks=[
            _on_host(
                network,
                _rules(intent, name, network, use, tunnel_port),
                reasons,
                sight,
                intent.networks[network].spec.vni or 0,
            )
            for network, use in uses.items()
            if network in there
        ],
        unread=0 if sight is None else sight.unread,
        problems=[] if sight is None else list(sight.problems),
    )


def _on_host(
    network: str, rules: Rules, of_host: tuple[Reason, ...], sight: HostSight | None, vni: int
) -> HostNetworkView:
    flows = () if sight is None else tuple(flow for flow in sight.flows if vni in flow.vnis)
    uplinks = () if sight is None else sight.uplinks
    found = [family_of(nic.driver) for nic in uplinks]
    known = [family for family in found if family is not None]
    own = (*of_host, *(reason for nic in uplinks for reason in standing_in_the_way(nic)))
    if not known or len(known) < len(found):
        own = (*own, _no_family(uplinks))
    judged = known or [families()[SOFTWARE]]  # no NIC is offered what traffic control does not hold
    sent = (reason for family in judged for reason in rules.sending(family, rules.use))
    received = (reason for family in judged for reason in rules.receiving(family, rules.use))
    sends = (*own, *rules.never_sent, *sent)
    receives = (*own, *rules.never_received, *received)
    return HostNetworkView(
        network=network,
        sending=verdict_of(sends).value,
        receiving=verdict_of(receives).value,
        reasons=_reasons((*sends, *receives, *_kept(flows, own))),
        live=_live(flows),
        filters=[] if sight is None else _filters(sight, network),
        seen=_seen(_taken(flows, () if sight is None else sight.filters, network)),
    )


def _of_state(state: OffloadState | None) -> tuple[Reason, ...]:
    if state is None:
        return ()
    does = state.configured if state.running is None else state.running
    if not does.enabled:
        change = '"offload": "on"'
        return (Reason(code="offload-off", verdict=Verdict.NO, message="hw-offload is off", change=change),)
    if does.policy == "skip_hw":
        message = "tc-policy is skip_hw: no NIC is asked"
        return (Reason(code="skip-hw", verdict=Verdict.NO, message=message, change='"offload": "on"'),)
    return ()


def _given_up(spec: HostSpec) -> Iterator[Reason]:
    if spec.kind is HostKind.OVS and spec.takes_oam:
        yield oam_taken()
    if spec.kind is HostKind.LINUX and spec.tunnels is TunnelStyle.METADATA and spec.tunables.df_default:
        yield df_not_set()


def _notes(state: OffloadState | None) -> Iterator[Reason]:
    """Say what is no reason for or against, and worth knowing."""
    if state is None:
        return
    if state.running not in (None, state.configured):
        message = (
            f"{state.configured} is set, ovs-vswitchd goes on with {state.running} until it is restarted"
        )
        yield Reason(code="needs-restart", verdict=Verdict.YES, message=message, change=RESTART)
    if (state.running or state.configured).policy == "skip_sw":
        message = (
            "tc-policy is skip_sw: what a NIC refuses is not in traffic control, it stays in Open vSwitch"
        )
        change = '"offload": "on" leaves it to traffic control in software'
        yield Reason(code="skip-sw", verdict=Verdict.YES, message=message, change=change)


def _of_datapath(datapath: str) -> tuple[Reason, ...]:
    if datapath != "netdev":
        return ()
    message = "the userspace datapath offers flows to DPDK's ports alone; what those take is not known here"
    change = '"datapath": "system"'
    return (Reason(code="userspace-datapath", verdict=Verdict.UNKNOWN, message=message, change=change),)


def _no_family(uplinks: tuple[Nic, ...]) -> Reason:
    named = ", ".join(f"{nic.device}: {label_of(nic)}" for nic in uplinks)
    message = named or "its NIC is not seen"
    return Reason(code="nic-unknown", verdict=Verdict.UNKNOWN, message=message)


def _kept(flows: Iterable[FlowCount], own: Iterable[Reason]) -> tuple[Reason, ...]:
    """Say why megaflows stay in Open vSwitch's datapath, where it is not for the host's own settings."""
    if any(reason.code == "offload-off" for reason in own):
        return ()
    codes = sorted({code for flow in flows if flow.place is Place.OPENVSWITCH for code in flow.keeps})
    return tuple(
        Reason(
            code=code, verdict=Verdict.NO, message=REASONS[code][0], change=REASONS[code][1], source="seen"
        )
        for code in codes
        if code in REASONS
    )


def _live(flows: Iterable[FlowCount]) -> list[PlaceCountView]:
    number, packets = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for flow in flows:
        key = (flow.way.value, flow.place.value)
        number[key] += flow.flows
        packets[key] += flow.packets
    return [
        PlaceCountView(way=way, place=place, flows=count, packets=packets[way, place])
        for (way, place), count in sorted(number.items())
    ]


def _filters(sight: HostSight, network: str) -> list[FilterCountView]:
    return [
        FilterCountView(
            device=one.device,
            direction="egress" if one.egress else "ingress",
            filters=one.filters,
            in_hardware=one.in_hardware,
        )
        for one in sight.filters
        if one.network == network
    ]


def _taken(flows: Iterable[FlowCount], filters: Iterable[FilterCount], network: str) -> Iterator[bool]:
    """Yield, of megaflows and of filters, whether a NIC has all that are alike, and whether it has any."""
    yield from (flow.place in (Place.HARDWARE, Place.PARTIAL) for flow in flows)
    for one in filters:
        if one.network == network:
            yield from {one.in_hardware > 0, one.in_hardware == one.filters}


def _seen(taken: Iterable[bool]) -> Seen:
    found = frozenset(taken)
    return "not-seen" if not found else "some" if len(found) > 1 else "all" if True in found else "none"


def _nic(nic: Nic, *, is_uplink: bool) -> NicView:
    family = family_of(nic.driver)
    return NicView(
        device=nic.device,
        role="uplink" if is_uplink else "port",
        driver=nic.driver,
        family=None if family is None else family.name,
        label=label_of(nic),
        features={name: str(feature) for name, feature in nic.features.items()},
        tunnel_ports=None
        if nic.tunnel_ports is None
        else [TunnelPortView(one.port, one.kind) for one in nic.tunnel_ports],
        reasons=_reasons(standing_in_the_way(nic)),
    )


def _reasons(reasons: Iterable[Reason]) -> list[ReasonView]:
    return [
        ReasonView(
            code=one.code,
            verdict=one.verdict.value,
            message=one.message,
            change=one.change,
            source=one.source,
            option=one.option,
        )
        for one in dict.fromkeys(reasons)
    ]
