# SPDX-License-Identifier: Apache-2.0
"""What whoever shares hosts tells the others of them, and asks about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from controller.intent.intent import Intent
from controller.kernels.hosts import LinuxHosts
from controller.reconciler.programmer import Programmer
from controller.shares.keeper import Keeper
from controller.shares.table import Progress


def with_bridges(intent: Intent) -> dict[str, int]:
    """Return the hosts that leases share out, with their revisions; others are served by whoever hears their agent."""
    linux = intent.linux_hosts
    return {name: host.revision for name, host in intent.hosts.items() if name not in linux}


def progress(
    revision: int, served: frozenset[str], programmers: Mapping[str, Programmer], linux: LinuxHosts
) -> Progress:
    """Say how far the hosts are that we serve, those with bridges and those whose agents we hear."""
    bridges = ((host, programmers.get(host)) for host in served)
    behind = {host for host, one in bridges if one is None or one.behind_since is not None}
    agents = linux.heard()
    behind.update(host for host in agents if linux.behind_since(host) is not None)
    return Progress(acknowledged=revision, behind=frozenset(behind), agents=agents)


def served_elsewhere(keeper: Keeper, linux: LinuxHosts) -> Callable[[str], bool]:
    """Return what tells whether another controller serves a host, and would say what is plugged there."""
    return lambda host: host not in keeper.served and not linux.hears(host) and keeper.may_be_held(host)


class Handover:
    """Lets go of agents that went to another controller: a broken connection may look like a quiet one."""

    def __init__(self, heard_by_others: Callable[[], frozenset[tuple[str, str]]], linux: LinuxHosts) -> None:
        self._heard_by_others = heard_by_others
        self._linux = linux
        self._before = frozenset[tuple[str, str]]()

    def look(self) -> None:
        """Look at what other controllers tell: whoever says last that it hears an agent is right."""
        now = self._heard_by_others()
        for host in sorted({host for host, _ in now - self._before}):
            self._linux.let_go(host)
        self._before = now
