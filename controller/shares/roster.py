# SPDX-License-Identifier: Apache-2.0
"""The controllers of a store and what they hold, as one of them sees it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controller.shares.table import ControllerRow, LeaseRow


class Roster:
    """Who serves which host, and how far that is."""

    def __init__(self, me: str) -> None:
        self._me = me
        self.controllers: Mapping[str, ControllerRow] = {}
        "By name, ourselves among them."
        self.leases: Mapping[str, LeaseRow] = {}
        "By host."
        self._agents: Mapping[str, Mapping[str, str]] = {}
        "What other controllers tell of agents: what we hear ourselves we know better than our row."
        self._hearers: Mapping[str, str] = {}
        "Of hosts whose agents others hear; of two for a moment, the first by name."

    def take_in(self, controllers: Iterable[ControllerRow]) -> None:
        """Take in what controllers there are."""
        self.controllers = {one.name: one for one in controllers}
        agents = {name: one.progress.agents for name, one in self.controllers.items() if name != self._me}
        if agents != self._agents:  # beats change nothing of it
            self._agents = agents
            self._hearers = {host: name for name in sorted(agents, reverse=True) for host in agents[name]}

    def holder_of(self, host: str) -> str | None:
        """Return who serves a host; of one without a lease, the other controller that hears its agent."""
        row = self.leases.get(host)
        return self._hearers.get(host) if row is None else row.lease.holder

    def heard_by_others(self) -> frozenset[tuple[str, str]]:
        """Return which other controller hears the agent of which host: pairs of host and controller."""
        return frozenset((host, name) for name, hosts in self._agents.items() for host in hosts)

    def is_behind(self, host: str, revision: int) -> bool:
        """Tell whether a host may lack a change of this revision, as far as its holder has told."""
        row = self.controllers.get(self.holder_of(host) or "")
        return row is None or row.progress.acknowledged < revision or host in row.progress.behind

    def told_of(self, host: str) -> str:
        """Return what is wrong on a host, as whoever hears its agent tells; "" for nothing."""
        row = self.controllers.get(self.holder_of(host) or "")
        return "" if row is None else row.progress.agents.get(host, "")
