# SPDX-License-Identifier: Apache-2.0
"""Writes into the intent where ports are plugged, as hosts report it.

It is told names only ("look at this port again") and decides from what is known when it looks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from controller.errors import IntentError, StoreUnavailable
from controller.intent.checks.abilities import refusal
from controller.intent.commands import Bind, Command, Put, Unbind
from controller.intent.intent import Intent
from controller.intent.model import Change, Kind, Object, PortSpec
from controller.reconciler.bindings import Able, Arrivals, seat

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.5

_ABOUT_ABILITIES = frozenset(
    (Kind.HOST, Kind.CAPABILITY, Kind.NETWORK, Kind.ROLLOUT, Kind.POLICY, Kind.OPTION_POLICY)
)
"What decides whether a port may be on a host, ports themselves apart."


class Binder:
    """Follows interfaces with bindings."""

    def __init__(self, intent: Callable[[], Intent], submit: Callable[[Command], Awaitable[object]]) -> None:
        self._intent = intent
        self._submit = submit
        self._ports: set[str] = set()
        self._wake = asyncio.Event()
        self._arrivals = Arrivals()
        self._refused: dict[str, str] = {}
        "Why ports are not on a host where their interface is."
        self.elsewhere: Callable[[str], bool] = lambda host: False
        "Tells whether another controller serves a host."

    def report(self, host: str, interfaces: frozenset[str]) -> None:
        """Take in the interface ids that are plugged on a host."""
        first = not self._arrivals.heard_from(host)
        self._look_at_interfaces(self._arrivals.report(host, interfaces))
        if first:
            # Only now can a port that is said to be here be known not to be.
            self.look_again(self._intent().ports_on(host))

    def drop(self, host: str) -> None:
        """Forget a host that is no longer enrolled."""
        self._look_at_interfaces(self._arrivals.drop(host))

    def intent_changed(self, changes: Sequence[Change]) -> None:
        """Follow the intent."""
        self.look_again(change.name for change in changes if _may_move(change))
        if any(change.kind in _ABOUT_ABILITIES for change in changes):
            self.look_at_refused()

    def look_again(self, ports: Iterable[str]) -> None:
        """Have ports looked at: something about them changed."""
        self._ports.update(ports)
        self._wake.set()

    def look_at_refused(self) -> None:
        """Have ports looked at that are not on a host where their interface is: it may be able now."""
        self.look_again(self._refused)

    def refusal_of(self, port: str) -> str:
        """Return why a port is not on a host where its interface is; "" when there is no such host."""
        return self._refused.get(port, "")

    def follow_up(self, command: Command) -> Bind | None:
        """Return what binds a port that is about to be declared, when its interface is plugged already.

        Stored together they are one change for every bridge.
        """
        if not isinstance(command, Put) or not isinstance(command.spec, PortSpec):
            return None
        return self._bind(command.name, command.spec)

    async def run(self) -> None:
        """Look at ports for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            ports, self._ports = self._ports, set()
            commands = [command for port in sorted(ports) if (command := self._decide(port)) is not None]
            await asyncio.gather(*(self._write(command) for command in commands))

    def _look_at_interfaces(self, interface_ids: Iterable[str]) -> None:
        intent = self._intent()
        ports = (intent.port_by_interface_id(interface_id) for interface_id in interface_ids)
        self.look_again(port for port in ports if port is not None)

    def _decide(self, port: str) -> Bind | Unbind | None:
        intent = self._intent()
        self._refused.pop(port, None)
        declared = intent.ports.get(port)
        if declared is None:
            return None
        self._note_refusal(declared)
        if intent.host_of(port) is not None and self._host(port, declared.spec) is None:
            return Unbind(port=port)
        return self._bind(port, declared.spec)

    def _host(self, port: str, spec: PortSpec) -> str | None:
        """Return the host where a port should be."""
        current = self._intent().host_of(port)
        elsewhere = current is not None and self.elsewhere(current)
        plugged = Able(self._arrivals, lambda host: self._is_able(port, host))
        return seat(spec.interface_id or port, current, plugged, elsewhere=elsewhere)

    def _is_able(self, port: str, host: str) -> bool:
        """Tell whether a port may come to a host; where it is it stays."""
        intent = self._intent()
        declared = intent.ports.get(port)
        if declared is None or host not in intent.hosts or host == intent.host_of(port):
            return True
        return refusal(intent, host, declared) is None

    def _note_refusal(self, port: Object[PortSpec]) -> None:
        intent = self._intent()
        plugged = self._arrivals.hosts_of(port.spec.interface_id or port.name)
        newest = sorted(plugged, key=lambda host: (-plugged[host], host))
        for host in newest:
            if host in intent.hosts and host != intent.host_of(port.name):
                refused = refusal(intent, host, port)
                if refused is not None:
                    self._refused[port.name] = refused.reason
                    _log.info("%s: %s", port.id, refused.reason)
                    return

    def _bind(self, port: str, spec: PortSpec) -> Bind | None:
        intent = self._intent()
        host = self._host(port, spec)
        if host is None or host == intent.host_of(port) or host not in intent.hosts:
            return None
        return Bind(port=port, host=host)

    async def _write(self, command: Bind | Unbind) -> None:
        try:
            await self._submit(command)
        except StoreUnavailable:
            await asyncio.sleep(_RETRY_SECONDS)
            self.look_again((command.port,))
        except IntentError as error:
            # The port or host went in the meantime, or cannot any more; what made it so has us look again if need be.
            _log.debug("%s: %s", command.port, error)
        except Exception:  # a fault that met one port must not leave all others where they are for ever
            _log.exception("%s: cannot store where it is", command.port)
            await asyncio.sleep(_RETRY_SECONDS)
            self.look_again((command.port,))


def _may_move(change: Change) -> bool:
    """Tell whether a change may have a port belong elsewhere: another controller unbinds ports as well."""
    return change.kind is Kind.PORT or (change.kind is Kind.BINDING and change.new is None)
