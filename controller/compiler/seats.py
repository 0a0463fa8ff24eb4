# SPDX-License-Identifier: Apache-2.0
"""Which host has which ports of which network: the compiler's index of where things are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import NamedTuple

from controller.intent.intent import Intent
from controller.intent.model import Payload

_NOBODY: Mapping[str, Set[str]] = {}


class Seat(NamedTuple):
    """Where a port is: its network, and the host it is plugged into."""

    network: str
    host: str


class Seats:
    """Ports by network and host. A port has a seat while port, binding and host all exist."""

    def __init__(self) -> None:
        self._seat_of: dict[str, Seat] = {}
        self._ports: dict[str, dict[str, set[str]]] = {}
        self._networks_on: dict[str, set[str]] = {}

    def move(self, port: str, intent: Intent) -> tuple[Seat | None, Seat | None]:
        """Seat a port where the intent has it now; return where it was and where it is."""
        old, new = self._seat_of.get(port), _seat(port, intent)
        if old != new:
            if old is not None:
                self._leave(port, old)
            if new is not None:
                self._take(port, new)
        return old, new

    def of(self, port: str) -> Seat | None:
        """Return a port's seat."""
        return self._seat_of.get(port)

    def hosts_of(self, network: str) -> Mapping[str, Set[str]]:
        """Return the hosts of a network, each with its ports of it."""
        return self._ports.get(network, _NOBODY)

    def networks_on(self, host: str) -> Iterable[str]:
        """Return the networks that a host has ports of."""
        return self._networks_on.get(host, ())

    def _take(self, port: str, seat: Seat) -> None:
        self._seat_of[port] = seat
        self._ports.setdefault(seat.network, {}).setdefault(seat.host, set()).add(port)
        self._networks_on.setdefault(seat.host, set()).add(seat.network)

    def _leave(self, port: str, seat: Seat) -> None:
        del self._seat_of[port]
        hosts = self._ports[seat.network]
        hosts[seat.host].discard(port)
        if hosts[seat.host]:
            return
        del hosts[seat.host]
        self._networks_on[seat.host].discard(seat.network)
        if not self._networks_on[seat.host]:
            del self._networks_on[seat.host]
        if not hosts:
            del self._ports[seat.network]


def _seat(port: str, intent: Intent) -> Seat | None:
    declared = intent.ports.get(port)
    host = intent.host_of(port)
    if declared is None or host is None or host not in intent.hosts:
        return None
    network = intent.networks.get(declared.spec.network)
    if network is not None and network.spec.payload is Payload.IP and host not in intent.linux_hosts:
        return None  # admission binds none there: bridges carry Ethernet
    return Seat(declared.spec.network, host)
