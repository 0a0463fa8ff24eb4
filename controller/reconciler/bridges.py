# SPDX-License-Identifier: Apache-2.0
"""Which bridges are connected, and whose they are: two things that become known in either order."""

from __future__ import annotations

from collections.abc import Iterable

from controller.southbound.ports import SwitchChannel


class Bridges:
    """The ways to bridges by dpid, and the hosts of ours by their bridge's dpid."""

    def __init__(self) -> None:
        self._channels: dict[int, SwitchChannel] = {}
        self._host_of: dict[int, str] = {}
        self._dpid_of: dict[str, int] = {}

    def connected(self, dpid: int, channel: SwitchChannel) -> str | None:
        """Take note of a bridge; return its host, None while nobody says whose it is."""
        self._channels[dpid] = channel
        return self._host_of.get(dpid)

    def disconnected(self, dpid: int, channel: SwitchChannel) -> str | None:
        """Forget a way to a bridge, unless there is a newer one; return its host."""
        if self._channels.get(dpid) is channel:
            del self._channels[dpid]
        return self._host_of.get(dpid)

    def assign(self, host: str, dpid: int) -> tuple[SwitchChannel | None, SwitchChannel | None]:
        """Say which bridge a host has, 0 for none; return the ways to the one that it had and to this one."""
        old = self._dpid_of.pop(host, 0)
        before = None
        if self._host_of.get(old) == host:
            del self._host_of[old]
            before = self._channels.get(old)
        if not dpid:
            return before, None
        self._host_of[dpid] = host
        self._dpid_of[host] = dpid
        return before, self._channels.get(dpid)

    def host_of(self, dpid: int) -> str | None:
        """Return whose bridge it is; None for one that is not ours."""
        return self._host_of.get(dpid)

    def channel(self, host: str) -> SwitchChannel | None:
        """Return the way to a host's bridge; None while it is not connected, or not ours."""
        dpid = self._dpid_of.get(host, 0)
        return self._channels.get(dpid) if self._host_of.get(dpid) == host else None

    def channels(self, hosts: Iterable[str]) -> dict[str, SwitchChannel]:
        """Return the ways to the bridges of hosts that are connected here."""
        ways = ((host, self.channel(host)) for host in hosts)
        return {host: channel for host, channel in ways if channel is not None}

    def connected_hosts(self) -> frozenset[str]:
        """Return the hosts of ours whose bridges are connected."""
        return frozenset(self.channels(self._dpid_of))
