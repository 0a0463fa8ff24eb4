# SPDX-License-Identifier: Apache-2.0
"""What rollouts want to know about hosts, from the reconciler and from other controllers. Reads only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from controller.intent.intent import Intent
from controller.reconciler.programmer import TAKEN, Phase, Programmer
from controller.reconciler.reconciler import Reconciler
from controller.reconciler.status import is_behind
from controller.southbound.ports import Peers
from ovs_geneve.openflow.tlv_table import TlvMap


class SharedHosts(Peers, Protocol):
    """The controllers that hosts are shared with, ourselves among them."""

    name: str


class RolloutHosts:
    """Implements `controller.rollout.runner.Hosts`."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler
        self.shared: SharedHosts | None = None
        "None when all hosts are ours."

    @property
    def intent(self) -> Intent:
        """The intent that bridges are told of."""
        return self._reconciler.compiler.intent

    def hosts_of(self, network: str) -> frozenset[str]:
        """Return the hosts that have ports of a network."""
        return frozenset(self._reconciler.compiler.hosts_with(network))

    def lacks(self, host: str, revision: int, object_key: int, option: TlvMap | None) -> str:
        """Say why a host may lack a revision, or cannot take an object or an option; "" when all is well."""
        programmer = self._reconciler.programmers.get(host)
        if programmer is not None:
            return _lacks(programmer, revision, object_key, option)
        if host in self.intent.linux_hosts:
            return self._reconciler.elsewhere.lacks(host, revision)
        if self.shared is None or self.shared.holder_of(host) is None:
            return "no controller serves it"
        if option is not None and self._is_taken(host, option):
            return f"{TAKEN}, tun_metadata{option.index}"
        return "not acknowledged yet" if self.shared.is_behind(host, revision) else ""

    def is_ours(self, hosts: Iterable[str]) -> bool:
        """Tell whether we act for these hosts together: we serve the first of them that anybody serves.

        Hosts without Open vSwitch do not count: whoever hears an agent may be that agent, which acts for nobody.
        """
        if self.shared is None:
            return True
        bridged = sorted(host for host in hosts if host not in self.intent.linux_hosts)
        holders = (self.shared.holder_of(host) for host in bridged)
        first = next((holder for holder in holders if holder is not None), self.shared.name)
        return first == self.shared.name

    def _is_taken(self, host: str, option: TlvMap) -> bool:
        held = self.intent.capabilities.get(host)
        return held is not None and any(
            one.index == option.index
            or (one.option_class, one.option_type) == (option.option_class, option.option_type)
            for one in held.spec.foreign
        )


def _lacks(programmer: Programmer, revision: int, object_key: int, option: TlvMap | None) -> str:
    for taken in programmer.taken:
        if taken.ours == option:
            return f"{TAKEN}, {taken}"
    error = programmer.refusal_of(object_key)
    if error:
        return f"the switch refused it with {error}"
    if not is_behind(programmer, revision):
        return ""
    return "not connected" if programmer.phase is Phase.ABSENT else "not acknowledged yet"
