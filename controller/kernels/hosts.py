# SPDX-License-Identifier: Apache-2.0
"""The hosts without Open vSwitch: what they should hold, how far their agents are, what these tell.

    intent changes ─► compiler ─► a feed a host ─► its agent (SSE)
    agent reports  ─► compiler (interfaces), binder (where ports are), conditions, `acknowledged`

It has no loop of its own. For the reconciler it stands where other controllers do (`Peers`): it says who holds a host
and whether that is behind. Several controllers need no leases for these hosts: whoever hears the agent serves it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from controller.errors import Conflict, NotFound
from controller.intent.intent import Intent
from controller.intent.model import CapabilitySpec, Change, HostKind, Kind, TunnelStyle
from controller.kernels.feed import Feed
from controller.kernels.report import (
    AgentReport,
    HostKernel,
    KernelProblem,
    PartUpdate,
    Synced,
    problems_told,
)
from controller.kernels.sight import host_sight
from controller.linux.compile import HostChanges, LinuxCompiler
from controller.linux.part import HOST_PART, Part, PartKind
from ovs_geneve.offload.sight import HostSight
from ovs_geneve.vport import GENEVE_PORT

AGENT = "its agent"

_OPTION_BYTES, _OPTIONS = 252, 63
"Of one packet: what the six bits of Opt Len leave (RFC 8926 3.4), in options of no data at most."


class Plugged(Protocol):
    """Who follows interfaces with bindings (`controller.reconciler.binder.Binder`)."""

    def report(self, host: str, interfaces: frozenset[str]) -> None:
        """Take in the interface ids that are plugged on a host."""

    def drop(self, host: str) -> None:
        """Forget what is plugged on a host."""


class LinuxHosts:
    """What is known of Linux hosts, or of `only` one. Implements `controller.southbound.ports.Peers` for them."""

    def __init__(
        self, plugged: Plugged, token: str, tunnel_port: int = GENEVE_PORT, only: str | None = None
    ) -> None:
        self._plugged = plugged
        self._token = token
        "Tells this run's generations from those of another."
        self._feeds: dict[str, Feed] = {}
        self._reports: dict[str, AgentReport] = {}
        self.compiler = LinuxCompiler(tunnel_port, only)
        self.on_progress: Callable[[], None] = _ignore
        "Called when an agent acknowledged something, came or went."
        self.on_host: Callable[[str], None] = _ignore_host
        "Called with a host whose agent reported."

    def intent_changed(self, intent: Intent, changes: Sequence[Change]) -> None:
        """Follow the intent."""
        hosts = [change.name for change in changes if change.kind is Kind.HOST]
        for host in hosts:
            if host in intent.linux_hosts:
                self._feeds.setdefault(host, Feed())
        self._feed(self.compiler.update(intent, changes), intent.revision)
        for host in hosts:
            if host in self._feeds and host not in intent.linux_hosts:
                self._feeds.pop(host).close()
                self._reports.pop(host, None)
                self._plugged.drop(host)

    def kernel(self, host: str) -> HostKernel:
        """Return what a host's kernel should hold. Raises NotFound, or Conflict for one with Open vSwitch."""
        synced = self.synced(host)
        parts = {str(part): made.state for part, made in self.compiler.parts(host).items()}
        return HostKernel(revision=synced.revision, generation=synced.generation, parts=parts)

    def updates(self, host: str, parts: Iterable[Part]) -> list[PartUpdate]:
        """Return these parts of a host as they are now."""
        held, revision = self.compiler.parts(host), self.compiler.intent.revision
        states = {str(part): held[part].state if part in held else None for part in parts}
        return [PartUpdate(part=one, state=state, revision=revision) for one, state in sorted(states.items())]

    def synced(self, host: str) -> Synced:
        """Return how far whoever has all parts of a host is. Raises NotFound, or Conflict for one with Open vSwitch."""
        feed = self._feed_of(host)
        return Synced(generation=self._spell(feed.generation), revision=self.compiler.intent.revision)

    def follow(self, host: str) -> Feed:
        """Return the feed of a host, for one agent: whoever followed it before is sent away."""
        feed = self._feed_of(host)
        feed.open()
        self.on_progress()
        return feed

    def left(self, host: str, feed: Feed, turn: int) -> None:
        """Take note that an agent went; what it said last of interfaces may be wrong from now on."""
        if self._feeds.get(host) is feed and feed.end(turn):
            self._plugged.drop(host)
            self.on_progress()

    def let_go(self, host: str) -> None:
        """Send a host's agent away, if it is connected here: it is with another controller."""
        if self.hears(host):
            self._feeds[host].send_away()
            self._plugged.drop(host)
            self.on_progress()

    def report(self, host: str, report: AgentReport) -> None:
        """Take in what an agent tells. Raises NotFound, or Conflict for a host with Open vSwitch."""
        feed = self._feed_of(host)
        interfaces = {one.interface_id: one.name for one in report.interfaces}
        self._reports[host] = report
        changes = self.compiler.update_interfaces(host, interfaces)
        self._feed(changes, self.compiler.intent.revision)
        self._plugged.report(host, frozenset(interfaces))
        generation = self._read(report.acknowledged)
        if generation is not None:
            feed.acknowledge(generation)
        self.on_host(host)
        self.on_progress()

    def hears(self, host: str) -> bool:
        """Tell whether a host's agent is connected here."""
        feed = self._feeds.get(host)
        return feed is not None and feed.is_open

    def heard(self) -> Mapping[str, str]:
        """Return the hosts whose agents are connected here, each with what is wrong there, for other controllers."""
        return {host: self.told_of(host) for host, feed in self._feeds.items() if feed.is_open}

    def told_of(self, host: str) -> str:
        """Return what is wrong on a host, for other controllers."""
        return problems_told(self.problems(host))

    def holder_of(self, host: str) -> str | None:
        """Return who carries out what a host should hold; None while its agent is not connected here."""
        return AGENT if self.hears(host) else None

    def is_behind(self, host: str, revision: int) -> bool:
        """Tell whether a host may lack a change of this revision."""
        feed = self._feeds.get(host)
        return feed is not None and feed.is_behind(revision)

    def behind_since(self, host: str) -> int | None:
        """Return the revision of the oldest change that a host may lack."""
        feed = self._feeds.get(host)
        return None if feed is None else feed.behind_since

    def lacks(self, host: str, revision: int) -> str:
        """Say why a host may lack a revision; "" when all is well."""
        if not self.is_behind(host, revision):
            return ""
        return "not acknowledged yet" if self.hears(host) else "its agent is not connected"

    def problems(self, host: str) -> tuple[KernelProblem, ...]:
        """Return what a host's kernel refused."""
        report = self._reports.get(host)
        return () if report is None else report.problems

    def sight(self, host: str) -> HostSight | None:
        """Return what a host's agent told of its offload; None while none is connected, or it told nothing."""
        report = self._reports.get(host)
        if report is None or report.sight is None or not self.hears(host):
            return None
        return host_sight(report.sight)

    def refusals(self, subject: str, hosts: Iterable[str]) -> Mapping[str, str]:
        """Return, by host, why it leaves out an object of this id."""
        kind, _, name = subject.partition("/")
        place = Part(PartKind.PORT, name) if kind == PartKind.PORT else HOST_PART
        return {
            host: problem.reason
            for host in sorted(hosts)
            if (part := self.compiler.parts(host).get(place)) is not None
            for problem in part.problems
            if problem.subject == subject
        }

    def capability(self, host: str) -> CapabilitySpec | None:
        """Return what a host can do; None until its agent reported."""
        report = self._reports.get(host)
        held = self.compiler.intent.hosts.get(host)
        if report is None or held is None:
            return None
        return CapabilitySpec(
            datapath=HostKind.LINUX.value,
            kernel=report.kernel,
            max_option_bytes=_OPTION_BYTES,
            max_options=_OPTIONS,
            # An external device hands packets with any option to filters; one of a fixed VNI drops those whose C bit
            # is set (drivers/net/geneve.c: geneve_rx).
            critical=held.spec.tunnels is TunnelStyle.METADATA,
            lacks=tuple(sorted(set(report.lacks))),
        )

    def _feed_of(self, host: str) -> Feed:
        held = self.compiler.intent.hosts.get(host)
        if held is None:
            raise NotFound("not-found", f"there is no host/{host}")
        if held.spec.kind is not HostKind.LINUX:
            raise Conflict(
                "host-not-linux", f"host/{host} has Open vSwitch: its bridge is programmed instead"
            )
        return self._feeds.setdefault(host, Feed())

    def _feed(self, changes: HostChanges, revision: int) -> None:
        for host, parts in changes.items():
            feed = self._feeds.get(host)
            if feed is not None:
                feed.changed(parts, revision)

    def _spell(self, generation: int) -> str:
        return f"{self._token}.{generation}"

    def _read(self, acknowledged: str | None) -> int | None:
        token, _, number = (acknowledged or "").rpartition(".")
        return int(number) if token == self._token and number.isascii() and number.isdigit() else None


def _ignore() -> None:
    """Stand in until somebody wants to hear."""


def _ignore_host(host: str) -> None:
    """Stand in until somebody wants to hear."""
