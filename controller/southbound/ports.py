# SPDX-License-Identifier: Apache-2.0
"""What the reconciler asks of hosts and of other controllers, and what they tell it; others implement it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from controller.hoststate import HostFacts
from controller.intent.model import HostSpec, Object
from ovs_geneve.openflow.events import Event, Step
from ovs_geneve.openflow.packet_in import PacketIn
from ovs_geneve.openflow.packet_out import PacketOut
from ovs_geneve.openflow.stats import Count
from ovs_geneve.ovsdb.offload import OffloadSetting


class SwitchChannel(Protocol):
    """One OpenFlow connection to one bridge. Answers come as events, in the order of the questions."""

    def observe(self) -> None:
        """Ask for everything of ours that the bridge holds; Observed or ObserveRefused follows."""

    def apply(self, steps: Sequence[Step]) -> None:
        """Carry out steps; Applied or Refused follows."""

    def send_packet(self, packet: PacketOut) -> bool:
        """Have the bridge send a packet at once, whatever else is asked; False where it cannot leave."""

    async def counters(self, cookie: int, cookie_mask: int) -> Mapping[int, Count]:
        """Read what the flows with such cookies have counted, by cookie; raise OpenFlowError or ConnectionLost."""


class SwitchEvents(Protocol):
    """Where a switch channel reports to."""

    def switch_connected(self, dpid: int, channel: SwitchChannel) -> None:
        """Take over a bridge that is ready."""

    def switch_event(self, dpid: int, channel: SwitchChannel, event: Event) -> None:
        """Take in an answer."""

    def switch_disconnected(self, dpid: int, channel: SwitchChannel) -> None:
        """Forget a channel that ended."""


class PacketTaker(Protocol):
    """Who wants packets of one kind."""

    def take_packet(self, dpid: int, packet: PacketIn) -> None:
        """Take a packet that a bridge sent up; its userdata begins with the punt."""


class PacketEvents(Protocol):
    """Where packets that bridges send up are reported."""

    def switch_connected(self, dpid: int, channel: SwitchChannel) -> None:
        """Take note of the way to a bridge."""

    def switch_disconnected(self, dpid: int, channel: SwitchChannel) -> None:
        """Forget a way that ended."""

    def packet_arrived(self, dpid: int, packet: PacketIn) -> None:
        """Take a packet in; it has userdata."""


class LinkState(Enum):
    """How a host's OVSDB stands towards us."""

    WAITING = "waiting"
    "Not connected: it is being dialled, or has not called in."
    CONNECTED = "connected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a host is not as declared, for people and programs."""

    reason: str
    'One word in camel case: "BridgeNotOwned".'
    message: str


@dataclass(frozen=True, slots=True)
class OffloadState:
    """How a host's Open vSwitch stands towards traffic control."""

    wanted: OffloadSetting | None
    "None leaves it alone."
    configured: OffloadSetting
    "What its database says."
    running: OffloadSetting | None
    "What its ovs-vswitchd does; None when that process cannot be seen from here, or does not run."
    kept_by: str = ""
    "Another owner that keeps the setting."


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReport:
    """All that is known about a host from its OVSDB."""

    state: LinkState = LinkState.WAITING
    facts: HostFacts | None = None
    "None until the database was read for the first time; the last ones while it is away."
    provisioned: bool = False
    "Bridge, vport and controller are as declared, as far as OVSDB tells."
    ovs_version: str = ""
    datapath: str = ""
    'The bridge\'s, as OVS spells it: "system" or "netdev".'
    kernel: str = ""
    "Its release, where it can be known: OVSDB does not tell."
    system_id: str = ""
    problem: Problem | None = None
    run_directory: Path | None = None
    "Where its Open vSwitch has its sockets, when that is on this machine."
    offload: OffloadState | None = None
    "None until the database was read."
    restoring: bool = False
    "Its ovs-vswitchd is to wait until it has its flows back (`ovs_geneve.ovsdb.flow_restore`)."


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingHost:
    """A stranger: its OVSDB called in, and no host is declared with its system-id."""

    system_id: str
    remote: str
    "Where it called from."
    ovs_version: str


class HostLinks(Protocol):
    """The OVSDB side of all hosts."""

    def enrol(self, host: Object[HostSpec]) -> None:
        """Keep a host provisioned as declared from now on; a second call changes what is declared."""

    def release(self, name: str) -> None:
        """Take what is ours off a host, if it answers, and forget it."""

    def forget(self, name: str) -> None:
        """Let go of a host as it is: another controller serves it."""

    def look_again(self, name: str) -> None:
        """Have a host's database looked at: what it should hold may have changed."""


class Peers(Protocol):
    """The controllers that hosts are shared with."""

    def holder_of(self, host: str) -> str | None:
        """Return the name of the controller that serves a host, None while nobody does.

        A host without Open vSwitch is served by whoever hears its agent.
        """

    def is_behind(self, host: str, revision: int) -> bool:
        """Tell whether a host may lack a change of this revision, as far as its holder has told."""

    def told_of(self, host: str) -> str:
        """Return what is wrong on a host without Open vSwitch, as its holder tells it; "" for nothing."""


class HostEvents(Protocol):
    """Where host links report to."""

    def host_reported(self, name: str, report: HostReport) -> None:
        """Take in what a host's OVSDB tells now."""

    def interface_mtu(self, interface_id: str) -> int | None:
        """Return what an interface with this iface-id is to carry; None when it is no port of ours."""

    def has_flows_back(self, name: str) -> bool:
        """Tell whether a host that was reported as restoring has its flows: it may begin."""


class HostDatabases(HostLinks, Protocol):
    """The OVSDB side of all hosts, as a process runs it (`ovsdb.OvsdbHosts`). `events` is set before the first host."""

    events: HostEvents

    async def start(self) -> None:
        """Begin to listen for hosts that call in."""

    def strangers(self) -> tuple[WaitingHost, ...]:
        """Return the hosts that called in and are not declared."""

    async def close(self) -> None:
        """End all links and listeners."""
