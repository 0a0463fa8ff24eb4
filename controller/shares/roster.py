# SPDX-License-Identifier: Apache-2.0
"""The controllers of a store and what they hold, as one of them sees it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controller.shares.table import ControllerRow, LeaseRow


class Roster:
    """Who serves which host, and how far that is."""

    def __init__(self, me: str) -> None:
        self._me = me
        self.controllers: Mapping[str, ControllerRow] = {}
        "By name, ourselves among them."
        self.leases: Mapping[str, LeaseRow] = {}
        "By host."

    def holder_of(self, host: str) -> str | None:
        """Return who serves a host; of one without a lease, the other controller that hears its agent."""
        row = self.leases.get(host)
        if row is not None:
            return row.lease.holder
        hearing = (one.name for one in self._others() if host in one.progress.agents)
        return min(hearing, default=None)

    def heard_by_others(self) -> frozenset[tuple[str, str]]:
        """Return which other controller hears the agent of which host: pairs of host and controller."""
        return frozenset((host, one.name) for one in self._others() for host in one.progress.agents)

    def is_behind(self, host: str, revision: int) -> bool:
        """Tell whether a host may lack a change of this revision, as far as its holder has told."""
        row = self.controllers.get(self.holder_of(host) or "")
        return row is None or row.progress.acknowledged < revision or host in row.progress.behind

    def told_of(self, host: str) -> str:
        """Return what is wrong on a host, as whoever hears its agent tells; "" for nothing."""
        row = self.controllers.get(self.holder_of(host) or "")
        return "" if row is None else row.progress.agents.get(host, "")

    def _others(self) -> Iterator[ControllerRow]:
        # What we hear ourselves we know better than our row, which nobody writes while we are alone.
        return (one for one in self.controllers.values() if one.name != self._me)
