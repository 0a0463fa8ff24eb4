# SPDX-License-Identifier: Apache-2.0
"""Which hosts are ours, and whom to ask about the others: other controllers, agents of hosts without Open vSwitch."""

from __future__ import annotations

from collections.abc import Callable

from controller.intent.intent import Intent
from controller.kernels.hosts import LinuxHosts
from controller.kernels.report import KernelProblem, problems_read
from controller.southbound.ports import Peers


class Elsewhere:
    """What is not done by our own programmers, and by whom it is."""

    def __init__(self, linux: LinuxHosts, intent: Callable[[], Intent]) -> None:
        self.linux = linux
        self._intent = intent
        self.peers: Peers | None = None
        "The controllers that hosts are shared with; None when all are ours."
        self.served: frozenset[str] | None = None
        "The hosts with bridges that are ours; None is all."

    def is_ours(self, host: str) -> bool:
        """Tell whether a host's bridge is ours to program."""
        return (self.served is None or host in self.served) and host not in self._intent().linux_hosts

    def whom_to_ask(self, host: str) -> Peers | None:
        """Return whom to ask how far a host is: None for one with a bridge of ours, or nobody's."""
        if host in self._intent().linux_hosts and self.hearer_of(host) is None:
            return self.linux
        if self.peers is None or self.is_ours(host) or self.peers.holder_of(host) is None:
            return None
        return self.peers

    def hearer_of(self, host: str) -> str | None:
        """Return the other controller that hears the agent of a Linux host; None when we do, or nobody."""
        if self.peers is None or self.linux.hears(host):
            return None
        return self.peers.holder_of(host)

    def lacks(self, host: str, revision: int) -> str:
        """Say why a Linux host may lack a revision; "" when all is well."""
        if self.peers is None or self.hearer_of(host) is None:
            return self.linux.lacks(host, revision)
        return "not acknowledged yet" if self.peers.is_behind(host, revision) else ""

    def problems(self, host: str) -> tuple[KernelProblem, ...]:
        """Return what the kernel of a Linux host refused, whoever hears of it."""
        if self.peers is None or self.hearer_of(host) is None:
            return self.linux.problems(host)
        return problems_read(self.peers.told_of(host))
