# SPDX-License-Identifier: Apache-2.0
"""All hosts' links end together, whatever happens to one of them meanwhile."""

from __future__ import annotations

from pathlib import Path

from controller.settings import Settings
from controller.southbound.ovsdb import OvsdbHosts


class FakeLink:
    """A link that lets go of another host while it is closed."""

    def __init__(self, hosts: OvsdbHosts, other: str) -> None:
        self._hosts, self._other = hosts, other
        self.closed = 0

    async def deprovision(self) -> None:
        """Take nothing off: there is no host."""

    async def close(self) -> None:
        self.closed += 1
        self._hosts.release(self._other)


async def test_host_that_is_released_while_all_are_closed(tmp_path: Path) -> None:
    hosts = OvsdbHosts(Settings(state_directory=tmp_path), bridges=None)
    links = {name: FakeLink(hosts, other) for name, other in (("a", "b"), ("b", "c"), ("c", "a"))}
    hosts._links.update(links)
    await hosts.close()
    assert [link.closed for link in links.values()] == [1, 1, 1]
