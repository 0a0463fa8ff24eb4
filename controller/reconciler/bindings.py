# SPDX-License-Identifier: Apache-2.0
"""Where a port is: decided from where its interface is plugged. Pure.

A port follows the interface that turned up last; a controller that has just started and finds two cannot know which
that is and leaves the port where it was. A host that cannot be asked keeps its ports: their flows do no harm, and a
controller that restarts must not take down what it has not heard from yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol


class Arrivals:
    """When each interface turned up on each host."""

    def __init__(self) -> None:
        self._count = 0
        self._reported: dict[str, frozenset[str]] = {}
        self._since: dict[str, dict[str, int]] = {}

    def report(self, host: str, interfaces: frozenset[str]) -> frozenset[str]:
        """Take in the interface ids plugged on a host; return those that came or went."""
        first = host not in self._reported
        before = self._reported.get(host, frozenset())
        self._reported[host] = interfaces
        # Of what a first report names nobody knows how long it has been there.
        self._count += 1
        for interface_id in interfaces - before:
            self._since.setdefault(interface_id, {})[host] = 0 if first else self._count
        for interface_id in before - interfaces:
            self._forget(interface_id, host)
        return interfaces ^ before

    def drop(self, host: str) -> frozenset[str]:
        """Forget a host; return the interface ids it had."""
        gone = self._reported.pop(host, frozenset())
        for interface_id in gone:
            self._forget(interface_id, host)
        return gone

    def hosts_of(self, interface_id: str) -> Mapping[str, int]:
        """Return the hosts where an interface is plugged, each with the order of its arrival."""
        return self._since.get(interface_id, {})

    def heard_from(self, host: str) -> bool:
        """Tell whether a host has reported at all."""
        return host in self._reported

    def _forget(self, interface_id: str, host: str) -> None:
        hosts = self._since[interface_id]
        del hosts[host]
        if not hosts:
            del self._since[interface_id]


class Plugged(Protocol):
    """What `seat` asks about interfaces."""

    def hosts_of(self, interface_id: str) -> Mapping[str, int]:
        """Return the hosts where an interface is plugged, each with the order of its arrival."""

    def heard_from(self, host: str) -> bool:
        """Tell whether a host has reported at all."""


class Able:
    """Where interfaces are plugged, those hosts left out that a port cannot come to."""

    def __init__(self, plugged: Plugged, is_able: Callable[[str], bool]) -> None:
        self._plugged = plugged
        self._is_able = is_able

    def hosts_of(self, interface_id: str) -> Mapping[str, int]:
        """Return the able hosts where an interface is plugged, each with the order of its arrival."""
        found = self._plugged.hosts_of(interface_id)
        return {host: since for host, since in found.items() if self._is_able(host)}

    def heard_from(self, host: str) -> bool:
        """Tell whether a host has reported at all."""
        return self._plugged.heard_from(host)


def seat(interface_id: str, current: str | None, plugged: Plugged, *, elsewhere: bool = False) -> str | None:
    """Return the host that a port should be bound to; None for none.

    `elsewhere`: another controller serves the current host, and would say if the interface were not there.
    """
    hosts = plugged.hosts_of(interface_id)
    if not hosts:
        return None if current is None or plugged.heard_from(current) else current
    latest = max(hosts.values())
    if elsewhere and not latest:
        return current
    newest = sorted(host for host, since in hosts.items() if since == latest)
    return current if current in newest else newest[0]
