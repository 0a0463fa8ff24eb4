# SPDX-License-Identifier: Apache-2.0
"""Keeps every host equal to what the compiler says.

    intent changes ─► compiler ─► deltas ─► a programmer a host ─► its switch
    host reports   ─► compiler (ports), binder (where ports are), programmers (which bridge is whose)

It has no loop and no I/O of its own: everything here runs to its end when somebody calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from controller.compiler.compile import Compiler, HostView
from controller.compiler.edits import HostChange
from controller.hoststate import HostFacts
from controller.intent.intent import Intent
from controller.intent.model import (
    AnyObject,
    Change,
    HostKind,
    HostSpec,
    Kind,
    NetworkSpec,
    Object,
    OptionPolicySpec,
    PolicySpec,
    PortSpec,
)
from controller.kernels.hosts import LinuxHosts
from controller.reconciler import linux_status, status
from controller.reconciler.binder import Binder
from controller.reconciler.bridges import Bridges
from controller.reconciler.effects import Effects
from controller.reconciler.elsewhere import Elsewhere
from controller.reconciler.mtus import Mtus
from controller.reconciler.programmer import Phase, Programmer
from controller.reconciler.restoring import Restoring
from controller.reconciler.status import Condition, HostProgress, Work
from controller.reconciler.waiters import Waiters
from controller.southbound.ports import HostLinks, HostReport, SwitchChannel
from ovs_geneve.openflow.events import Event
from ovs_geneve.openflow.tlv_table import TlvTable
from ovs_geneve.vport import GENEVE_PORT

_LEAVE_SECONDS = 2.0
"How long a host that is taken out may take to drop our flows before its bridge is given back anyway."

_NO_REPORT = HostReport()


class Reconciler:
    """The meeting point of intent, compiler and hosts. Implements HostEvents and SwitchEvents."""

    def __init__(
        self,
        binder: Binder,
        links: HostLinks,
        call_later: Callable[[float, Callable[[], None]], object],
        token: str = "",
        tunnel_port: int = GENEVE_PORT,
    ) -> None:
        self._binder = binder
        self._links = links
        self._call_later = call_later
        self._reports: dict[str, HostReport] = {}
        self.bridges = Bridges()
        self._tables: dict[str, TlvTable] = {}
        "What each host's bridge told when it was read last."
        self._waiters = Waiters()
        self.on_progress: Callable[[], None] = _ignore
        "Called when a bridge of ours acknowledged something, was read, or went."
        self.on_host: Callable[[str], None] = _ignore_host
        "Called with a host that was declared, whose bridge was read, or whose database told something."
        self.records_hosts = False
        "Somebody records what hosts can do: then one counts as programmed only once that is stored, for who waits."
        self._last = 0, 0, 0
        "Revision, parts compiled and hosts concerned of the last change that concerned any."
        self._mtus = Mtus()
        self.linux = LinuxHosts(binder, token, tunnel_port)
        self.elsewhere = Elsewhere(self.linux, lambda: self.compiler.intent)
        self._restoring = Restoring(call_later, links.look_again)
        self._leaving: dict[str, HostSpec] = {}
        "Hosts that were taken out and may still drop our flows, as they were declared last."
        self.compiler = Compiler()
        self.programmers: dict[str, Programmer] = {}
        self._effects = Effects()

    def start(self, intent: Intent) -> None:
        """Begin with what is stored."""
        objects = (held for kind in Kind for held in intent.objects(kind).values())
        changes = [Change(kind=held.kind, name=held.name, old=None, new=held) for held in objects]
        self.intent_changed(Intent(), intent, changes)

    def intent_changed(self, before: Intent, after: Intent, changes: Sequence[Change]) -> None:
        """Follow the intent."""
        compiled = self.compiler.parts_compiled
        self._effects.follow(after, changes)
        self.linux.intent_changed(after, changes)
        pending = self.compiler.update(after, changes)
        if pending:
            self._last = after.revision, self.compiler.parts_compiled - compiled, len(pending)
        hosts = [one for one in changes if _is_of_bridge(one) and self.elsewhere.is_ours(one.name)]
        for change in hosts:
            self._welcome(change)
        self._enqueue(pending, len(changes))
        for change in changes:
            if change.kind is Kind.CAPABILITY:
                self._waiters.wake(change.name)
        for change in hosts:
            self._follow_host(change)
        for host in self._mtus.follow(after, changes):
            self._links.look_again(host)
        self._binder.intent_changed(changes)

    def serve(self, hosts: frozenset[str] | None) -> None:
        """Keep these hosts equal from now on, None for all; others are let go as they are, untouched."""
        intent = self.compiler.intent
        before = {name for name in intent.hosts if self.elsewhere.is_ours(name)}
        self.elsewhere.served = hosts
        now = {name for name in intent.hosts if self.elsewhere.is_ours(name)}
        for name in before - now:
            self._binder.drop(name)
            self._forget(name)
            self._links.forget(name)
        pending = self.compiler.serve(hosts)
        for name in sorted(now - before):
            self.programmers.setdefault(name, self._programmer(name))
            self._links.enrol(intent.hosts[name])
        self._enqueue(pending)

    def host_reported(self, name: str, report: HostReport) -> None:
        """Take in what a host's OVSDB tells."""
        if name not in self.programmers or name not in self.compiler.intent.hosts:
            return
        before = self._facts(name)
        if report.facts is None:
            report = replace(report, facts=before)  # what keeps a host from being provisioned unplugs nothing
        self._reports[name] = report
        if self._restoring.follow(name, report.restoring, self.bridges.channel(name)):
            self.programmers[name].observe_again()  # who ended it may have restored what was desired before
        self.on_host(name)
        if report.facts is None or report.facts == before:
            return
        change = self.compiler.update_ofports(name, report.facts.ofports)
        if change is not None:
            self._enqueue({name: change})
        if before is None or before.dpid != report.facts.dpid:
            self._rename(name, report.facts.dpid)
        if before is None or before.ofports.keys() != report.facts.ofports.keys():
            self._binder.report(name, frozenset(report.facts.ofports))

    def interface_mtu(self, interface_id: str) -> int | None:
        """Return what an interface with this iface-id is to carry; None when it is no port of ours."""
        return self._mtus.interface(interface_id)

    def has_flows_back(self, name: str) -> bool:
        """Tell whether a host that was reported as restoring has its flows."""
        programmer = self.programmers.get(name)
        return programmer is not None and self._restoring.has_flows(name, programmer.equal_on)

    def network_mtu(self, network: str) -> int | None:
        """Return what a network carries; None while no host is declared."""
        return self._mtus.network(network)

    def switch_connected(self, dpid: int, channel: SwitchChannel) -> None:
        """Take over a bridge; it waits until a host's OVSDB says whose it is and which port is which."""
        programmer = self._programmer_of(self.bridges.connected(dpid, channel))
        if programmer is not None:
            programmer.connect(channel)

    def switch_event(self, dpid: int, channel: SwitchChannel, event: Event) -> None:
        """Hand an answer to the programmer that asked."""
        programmer = self._programmer_of(self.bridges.host_of(dpid))
        if programmer is not None:
            programmer.handle(channel, event)

    def switch_disconnected(self, dpid: int, channel: SwitchChannel) -> None:
        """Forget a channel that ended."""
        programmer = self._programmer_of(self.bridges.disconnected(dpid, channel))
        if programmer is not None:
            programmer.disconnect(channel)

    def report(self, host: str) -> HostReport:
        """Return what is known of a host."""
        return self._reports.get(host, _NO_REPORT)

    def run_directories(self) -> dict[str, Path]:
        """Return where the Open vSwitch of each host of ours on this machine has its sockets."""
        directories = {host: self.report(host).run_directory for host in self.programmers}
        return {host: directory for host, directory in directories.items() if directory is not None}

    def progress(self, host: str) -> HostProgress:
        """Return how far the programming of a host is."""
        if host in self.compiler.intent.linux_hosts:
            return linux_status.progress(self.elsewhere, host)
        flows, groups = self.compiler.size(host)
        programmer = self.programmers.get(host)
        return HostProgress(
            phase=Phase.ABSENT.value if programmer is None else programmer.phase.value,
            flows=flows,
            groups=groups,
            messages_sent=0 if programmer is None else programmer.messages_sent,
            behind_since=0 if programmer is None else programmer.behind_since,
        )

    def work(self) -> Work:
        """Return what changes cost."""
        revision, parts, hosts = self._last
        return Work(
            parts_compiled=self.compiler.parts_compiled,
            messages_sent=sum(programmer.messages_sent for programmer in self.programmers.values()),
            last_revision=revision,
            last_parts=parts,
            last_hosts=hosts,
        )

    def conditions(self, held: AnyObject) -> tuple[Condition, ...]:
        """Say how an object stands."""
        if isinstance(held.spec, HostSpec):
            return status.ACCEPTED, *self._host_conditions(held.name, held.spec)
        revision = self._effective_revision(held)
        concerned = self.hosts_concerned(held)
        programmed = status.programmed(
            held.key, revision, concerned, self.programmers, self.elsewhere.whom_to_ask
        )
        programmed = linux_status.of_object(self.elsewhere, held, concerned) or programmed
        if held.kind is Kind.PORT:
            host, refusal = self.compiler.intent.host_of(held.name), self._binder.refusal_of(held.name)
            return status.ACCEPTED, status.bound(host, refusal), programmed
        if self.compiler.intent.get(held.kind, held.name) is None:
            return status.ACCEPTED, programmed  # who stored it is answered, and somebody took it away since
        if held.kind in (Kind.OPTION_POLICY, Kind.POLICY):
            return status.ACCEPTED, self._effects.condition(self.compiler.intent, held), programmed
        if held.kind is Kind.NETWORK:
            intent = self.compiler.intent
            rollouts = [intent.rollouts[name].spec for name in intent.rollouts_of(held.name)]
            return status.ACCEPTED, status.rolling_out(programmed, rollouts)
        return status.ACCEPTED, programmed

    def _host_conditions(self, name: str, spec: HostSpec) -> tuple[Condition, ...]:
        intent, peers = self.compiler.intent, self.elsewhere.peers
        if name in intent.linux_hosts:
            return linux_status.of_host(self.elsewhere, name, intent.revision)
        if peers is not None and not self.elsewhere.is_ours(name):
            return status.served_elsewhere(peers.holder_of(name), peers.is_behind(name, intent.revision))
        report, unrecorded = self.report(name), self._is_unrecorded(name)
        return status.of_host(spec, report, self.programmers.get(name), unrecorded=unrecorded)

    def hosts_concerned(self, held: AnyObject) -> frozenset[str]:
        """Return the hosts whose bridges hold something because of an object."""
        match held.spec:
            case NetworkSpec(target=target):
                targets = () if target is None else target.hosts
                return frozenset((*self.compiler.hosts_with(held.name), *targets))
            case PortSpec(network=network) | OptionPolicySpec(network=network) | PolicySpec(network=network):
                return frozenset(self.compiler.hosts_with(network))
            case HostSpec():
                return frozenset((held.name,))
            case _:
                return frozenset((*self.programmers, *self.compiler.intent.linux_hosts))

    def peers_changed(self) -> None:
        """Take note that another controller told how far it is, or that hosts changed hands."""
        self._waiters.wake_others(self.programmers)

    async def acknowledged(self, hosts: Iterable[str], revision: int, object_key: int) -> None:
        """Return once the bridges have acknowledged a revision, or one of them has refused the object."""
        for host in sorted(hosts):
            while self._lacks(host, revision, object_key):
                await self._waiters.wait(host)

    def _lacks(self, host: str, revision: int, object_key: int) -> bool:
        programmer = self.programmers.get(host)
        if programmer is None:
            peers = self.elsewhere.whom_to_ask(host)
            return peers is not None and peers.is_behind(host, revision)
        if programmer.refusal_of(object_key):
            return False
        declared = self.compiler.intent.hosts.get(host)
        if declared is not None and declared.key == object_key and self._is_unrecorded(host):
            return True
        return status.is_behind(programmer, revision)

    def _is_unrecorded(self, host: str) -> bool:
        return self.records_hosts and host not in self.compiler.intent.capabilities

    def _effective_revision(self, held: AnyObject) -> int:
        """Return the revision that what bridges hold of an object goes back to: a port also moves."""
        binding = self.compiler.intent.bindings.get(held.name) if held.kind is Kind.PORT else None
        return held.revision if binding is None else max(held.revision, binding.revision)

    def _enqueue(self, pending: Mapping[str, HostChange], objects: int = 1) -> None:
        revision = self.compiler.intent.revision
        for host, change in pending.items():
            programmer = self.programmers.get(host)
            if programmer is not None:
                programmer.enqueue(change.delta, revision, objects)

    def _programmer(self, name: str) -> Programmer:
        return Programmer(HostView(self.compiler, name), lambda: self._progressed(name), self._call_later)

    def _progressed(self, name: str) -> None:
        self._waiters.wake(name)
        self.on_progress()
        self._note_read(name)
        if self.has_flows_back(name):
            self._links.look_again(name)
        if name in self.compiler.intent.hosts:
            return
        programmer = self.programmers.get(name)  # None: a host told twice that it has all is released already
        if programmer is not None and programmer.phase is Phase.IDLE:
            self._release(name)

    def _note_read(self, name: str) -> None:
        """Tell if a bridge was read since the last time: what it acknowledges meanwhile says nothing new of it."""
        programmer = self.programmers.get(name)
        table = None if programmer is None else programmer.table
        if table is not None and table is not self._tables.get(name):
            self._tables[name] = table
            self.on_host(name)

    def _welcome(self, change: Change) -> None:
        """Have a programmer for a host that is declared; one that left as another bridge has nothing to do with it."""
        if change.new is None:
            return
        left, spec = self._leaving.pop(change.name, None), change.new.spec
        if change.old is not None and change.old.key != change.new.key:
            left = cast("Object[HostSpec]", change.old).spec
        if left is not None and isinstance(spec, HostSpec) and _place(left) != _place(spec):
            self._binder.drop(change.name)
            self._forget(change.name)
            self._links.release(change.name)
        if change.name not in self.programmers:
            self.programmers[change.name] = self._programmer(change.name)

    def _follow_host(self, change: Change) -> None:
        if change.new is not None and isinstance(change.new.spec, HostSpec):
            self._links.enrol(cast("Object[HostSpec]", change.new))
            self.on_host(change.name)
            facts = self._facts(change.name)
            if facts is not None:
                # Declared again before it was let go: the binder has forgotten what is plugged there.
                self._binder.report(change.name, frozenset(facts.ofports))
            return
        # Its flows go first, while it still listens to us; a host that does not answer is let go all the same.
        if change.old is not None and isinstance(change.old.spec, HostSpec):
            self._leaving[change.name] = change.old.spec
        self._binder.drop(change.name)
        wanted, released = self.compiler.tlv_maps_of(change.name)
        nothing = HostChange(tlv_maps=wanted, released=released, meters=frozenset())
        self.programmers[change.name].enqueue(nothing.delta, self.compiler.intent.revision)
        self._call_later(_LEAVE_SECONDS, lambda: self._release(change.name))

    def _release(self, name: str) -> None:
        if name in self.compiler.intent.hosts or name not in self.programmers:
            return
        self._forget(name)
        self._links.release(name)

    def _forget(self, name: str) -> None:
        """Forget what is known of a host, its bridge's channel excepted."""
        del self.programmers[name]
        self._leaving.pop(name, None)
        self.bridges.assign(name, 0)
        self._reports.pop(name, None)
        self._tables.pop(name, None)
        self._restoring.forget(name)
        self._waiters.wake(name)
        self.compiler.update_ofports(name, {})

    def _facts(self, name: str) -> HostFacts | None:
        return self.report(name).facts

    def _rename(self, name: str, dpid: int) -> None:
        """Follow a host's bridge to another dpid, or to none."""
        before, after = self.bridges.assign(name, dpid)
        if before is not None:
            self.programmers[name].disconnect(before)
        if after is not None:
            self.programmers[name].connect(after)

    def _programmer_of(self, host: str | None) -> Programmer | None:
        return None if host is None else self.programmers.get(host)


def _is_of_bridge(change: Change) -> bool:
    """Tell whether a change is one of a host with Open vSwitch."""
    specs = (None if held is None else held.spec for held in (change.old, change.new))
    return any(isinstance(spec, HostSpec) and spec.kind is HostKind.OVS for spec in specs)


def _place(spec: HostSpec) -> tuple[str | None, str | None, str]:
    """Return where a host's bridge is."""
    return spec.ovsdb, spec.system_id, spec.bridge


def _ignore() -> None:
    """Stand in until somebody wants to hear."""


def _ignore_host(host: str) -> None:
    """Stand in until somebody wants to hear."""
