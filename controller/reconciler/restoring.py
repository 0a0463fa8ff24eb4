# SPDX-License-Identifier: Apache-2.0
"""Which hosts' ovs-vswitchd waits for its flows after a restart, and which of them has its flows back.

    the database says flow-restore-wait ─► a new connection to the bridge ─► all acknowledged on it ─► the key goes

Whoever sets the key does so before the new process is there: a connection of that time is the old one's, and to take
the key away because of it would have the new process begin without a flow. That holds for a while only: a key that
outlasts it was set in vain, or seen late, and ends all new traffic of the host at its next restart.
"""

from __future__ import annotations

from collections.abc import Callable

from controller.southbound.ports import SwitchChannel

_IN_VAIN = 30.0
"Seconds after which any connection will do."


class Restoring:
    """The hosts that wait; `look_again` is called with one that may go on only because time has passed."""

    def __init__(
        self,
        call_later: Callable[[float, Callable[[], None]], object],
        look_again: Callable[[str], None],
    ) -> None:
        self._call_later = call_later
        self._look_again = look_again
        self._before: dict[str, SwitchChannel | None] = {}
        "The way to each one's bridge when it was seen to wait; None when there was none."

    def follow(self, host: str, waits: bool, channel: SwitchChannel | None) -> bool:
        """Take note of what a host's database says; tell whether it is no longer waiting."""
        if not waits:
            return self._before.pop(host, self) is not self
        if host not in self._before:
            self._before[host] = channel
            if channel is not None:
                self._call_later(_IN_VAIN, lambda: self._trust(host, channel))
        return False

    def has_flows(self, host: str, equal_on: SwitchChannel | None) -> bool:
        """Tell whether a host that waits has its flows: `equal_on` is where its bridge was last made equal."""
        if host not in self._before or equal_on is None:
            return False
        return equal_on is not self._before[host]

    def forget(self, host: str) -> None:
        """Forget a host that is ours no more."""
        self._before.pop(host, None)

    def _trust(self, host: str, channel: SwitchChannel) -> None:
        if self._before.get(host) is channel:
            self._before[host] = None
            self._look_again(host)
