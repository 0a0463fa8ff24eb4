# SPDX-License-Identifier: Apache-2.0
"""What the API shows: objects with their status, tunnels, the controller as a whole. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import combinations
from typing import cast

from msgspec import UNSET

from controller.api.answers import (
    ConditionView,
    ControllerView,
    CountersView,
    CountView,
    DisagreementView,
    EventListView,
    EventView,
    FindingView,
    InabilityView,
    ObjectView,
    ProfileListView,
    ProfileOptionView,
    ProfileView,
    ProgressView,
    RecomputationView,
    StatusView,
    TunnelEndView,
    TunnelListView,
    TunnelView,
    WaitingHostView,
    WorkView,
)
from controller.api.backend import Controller
from controller.api.documents import field_document, to_document
from controller.api.rollouts import capabilities_view, rollout_states
from controller.api.schema import Document
from controller.compiler.cookies import Feature
from controller.compiler.recompute import Recomputation
from controller.intent.model import (
    Address,
    AnyObject,
    HostSpec,
    Kind,
    NetworkSpec,
    Object,
    OptionSchemaSpec,
    PortSpec,
)
from controller.intent.mtu import OVERHEAD, added_length
from controller.intent.needs import lacks
from controller.intent.offload_use import network_use, schema_use
from ovs_geneve.geneve.lint import Finding, lint
from ovs_geneve.geneve.profiles import Profile, profiles
from ovs_geneve.offload.profile import lint_offload

SHOWN = (
    Kind.HOST,
    Kind.NETWORK,
    Kind.PORT,
    Kind.OPTION_SCHEMA,
    Kind.OPTION_POLICY,
    Kind.GROUP,
    Kind.POLICY,
)


def object_view(controller: Controller, held: AnyObject) -> ObjectView[Document]:
    """Show an object as stored, and how it stands."""
    return ObjectView(
        kind=held.kind.value,
        name=held.name,
        revision=held.revision,
        spec=to_document(held, controller.intent),
        status=status_view(controller, held),
    )


_COUNTED = {Kind.OPTION_POLICY: Feature.POLICY, Kind.POLICY: Feature.GROUP_POLICY}
"What the flows are for whose counters say what became of an object's packets."


async def counted_view(controller: Controller, held: AnyObject) -> ObjectView[Document]:
    """Show an object, with what its bridges counted if they count for it."""
    view = object_view(controller, held)
    feature = _COUNTED.get(held.kind)
    if feature is not None:
        by_host = await controller.counters(held, feature)
        known = [count for count in by_host.values() if count is not None]
        view.status.counters = CountersView(
            packets=sum(count.packets for count in known),
            bytes=sum(count.bytes for count in known),
            hosts={
                host: None if count is None else CountView(count.packets, count.bytes)
                for host, count in sorted(by_host.items())
            },
        )
    return view


def status_view(controller: Controller, held: AnyObject) -> StatusView:
    """Show how an object stands."""
    view = StatusView(
        conditions=[
            ConditionView(c.type, c.status.value, c.reason, c.message) for c in controller.conditions(held)
        ]
    )
    match held.spec:
        case PortSpec():
            view.host = controller.intent.host_of(held.name)
            view.mtu = controller.network_mtu(held.spec.network)
        case NetworkSpec():
            view.mtu = controller.network_mtu(held.name)
            view.overhead = OVERHEAD[4] + added_length(controller.intent, held.name, held.spec)
            view.lint = _findings(lint_offload(network_use(controller.intent, held.name), "this network"))
            view.rollouts = rollout_states(controller.intent, held.name)
        case OptionSchemaSpec(layout=layout, slot=slot):
            view.slot = UNSET if slot is None else slot
            view.replaced_by = sorted(controller.intent.schemas_replacing(held.name)) or UNSET
            view.lint = _findings(
                (*lint(layout), *lint_offload(schema_use(held.name, held.spec), "this schema"))
            )
        case HostSpec():
            view.capabilities = capabilities_view(controller.intent, held.name)
            unable = lacks(controller.intent, cast("Object[HostSpec]", held))
            view.cannot = [InabilityView(need.value, reason) for need, reason in unable.items()]
            view.ovs_version = controller.report(held.name).ovs_version
            view.guarded = controller.guards(held.name)
            progress = controller.progress(held.name)
            view.progress = ProgressView(
                phase=progress.phase,
                flows=progress.flows,
                groups=progress.groups,
                messages_sent=progress.messages_sent,
                behind_since=progress.behind_since,
            )
        case _:
            pass
    return view


def controller_view(controller: Controller) -> ControllerView:
    """Show the controller as a whole."""
    intent = controller.intent
    return ControllerView(
        version=controller.version,
        revision=intent.revision,
        objects={kind.value: len(intent.objects(kind)) for kind in SHOWN},
        hosts={name: status_view(controller, host) for name, host in sorted(intent.hosts.items())},
        waiting=[
            WaitingHostView(host.system_id, host.remote, host.ovs_version)
            for host in controller.waiting_hosts()
        ],
        work=WorkView(**asdict(controller.work())),
    )


def recomputation_view(found: Recomputation) -> RecomputationView:
    """Show what came of compiling everything from nothing."""
    return RecomputationView(
        revision=found.revision,
        hosts=found.hosts,
        parts=found.parts,
        disagreements=[
            DisagreementView(one.fault.value, one.what, list(one.hosts)) for one in found.disagreements
        ],
    )


def profiles_view() -> ProfileListView:
    """Show the coexistence profiles."""
    return ProfileListView(items=[profile_view(profile) for profile in profiles()])


def profile_view(profile: Profile) -> ProfileView:
    """Show a coexistence profile."""
    return ProfileView(
        name=profile.name,
        about=profile.about,
        source=profile.source,
        options=[
            ProfileOptionView(
                name=option.name,
                class_=f"{option.option_class:#06x}",
                type=option.option_type,
                length=option.length,
                fields=[field_document(field) for field in option.fields],
                rest=option.rest,
            )
            for option in profile.options
        ],
    )


def events_view(controller: Controller, since: int, limit: int) -> EventListView:
    """Show what happened."""
    events = controller.events(since, limit)
    items = [
        EventView(
            number=event.number,
            first=_when(event.first),
            last=_when(event.last),
            kind=event.kind.value,
            host=event.host,
            peer=event.peer,
            network=event.network,
            message=event.message,
            count=event.count,
        )
        for event in events
    ]
    return EventListView(items=items, next=events[-1].number if events else since)


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def tunnels_view(controller: Controller) -> TunnelListView:
    """Show every pair of hosts that has a network in common."""
    return TunnelListView(revision=controller.intent.revision, items=list(_tunnels(controller)))


def _tunnels(controller: Controller) -> Iterator[TunnelView]:
    intent = controller.intent
    networks = {
        name: frozenset(intent.ports[port].spec.network for port in intent.ports_on(name))
        for name in intent.hosts
    }
    behind = {name: controller.progress(name).behind_since is not None for name in intent.hosts}
    for one, other in combinations(sorted(intent.hosts), 2):
        ends = _ends(intent.hosts[one], intent.hosts[other])
        common = networks[one] & networks[other]
        if common and ends is not None:
            yield TunnelView(
                source=TunnelEndView(one, str(ends[0])),
                destination=TunnelEndView(other, str(ends[1])),
                networks=sorted(common),
                programmed=not behind[one] and not behind[other],
            )


def _ends(one: Object[HostSpec], other: Object[HostSpec]) -> tuple[Address, Address] | None:
    """Return the endpoints between which two hosts talk, None when they have no family in common."""
    for address in other.spec.endpoints:
        for own in one.spec.endpoints:
            if own.version == address.version:
                return own, address
    return None


def _findings(found: Iterable[Finding]) -> list[FindingView]:
    return [
        FindingView(code=f.code, severity=f.severity.value, message=f.message, field=f.field) for f in found
    ]
