# SPDX-License-Identifier: Apache-2.0
"""Writes into the intent what hosts can do, as their bridges and databases tell (RFC 8926 4.5.1).

It is told names only ("look at this host again"); a record that says the same already costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from controller.errors import IntentError, StoreUnavailable
from controller.intent.commands import Command, Record
from controller.intent.intent import Intent
from controller.intent.model import CapabilitySpec
from controller.reconciler.programmer import Programmer
from controller.southbound.ports import HostReport

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.5


class Recorder:
    """Follows hosts with records of what they can do."""

    def __init__(
        self,
        intent: Callable[[], Intent],
        programmers: Mapping[str, Programmer],
        report: Callable[[str], HostReport],
        submit: Callable[[Command], Awaitable[object]],
    ) -> None:
        self._intent = intent
        self._programmers = programmers
        self._report = report
        self._submit = submit
        self.linux: Callable[[str], CapabilitySpec | None] = _nothing
        "Tells what a host without Open vSwitch can do."
        self._hosts: set[str] = set()
        self._wake = asyncio.Event()

    def look_again(self, host: str) -> None:
        """Have a host looked at: its bridge was read, or its database told something."""
        self._hosts.add(host)
        self._wake.set()

    async def run(self) -> None:
        """Look at hosts for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            hosts, self._hosts = self._hosts, set()
            commands = [command for host in sorted(hosts) if (command := self._decide(host)) is not None]
            await asyncio.gather(*(self._write(command) for command in commands))

    def _decide(self, host: str) -> Record | None:
        intent = self._intent()
        found = self.linux(host) or capability_of(self._programmers.get(host), self._report(host))
        held = intent.capabilities.get(host)
        if found is None or host not in intent.hosts or (held is not None and held.spec == found):
            return None
        return Record(name=host, spec=found)

    async def _write(self, command: Record) -> None:
        try:
            await self._submit(command)
        except StoreUnavailable:
            await asyncio.sleep(_RETRY_SECONDS)
            self.look_again(command.name)
        except IntentError as error:
            _log.debug("host %s: %s", command.name, error)  # it went in the meantime
        except Exception:  # a fault that met one host must not leave all others unknown
            _log.exception("host %s: cannot store what it can do", command.name)
            await asyncio.sleep(_RETRY_SECONDS)
            self.look_again(command.name)


def _nothing(host: str) -> None:
    """Stand in where there are no such hosts."""


def capability_of(programmer: Programmer | None, report: HostReport) -> CapabilitySpec | None:
    """Return what a host can do; None until its bridge was read and its database is as declared."""
    table = None if programmer is None else programmer.table
    if programmer is None or table is None or not report.provisioned:
        return None
    return CapabilitySpec(
        ovs_version=report.ovs_version,
        datapath=report.datapath,
        kernel=report.kernel,
        max_option_bytes=table.max_space,
        max_options=table.max_fields,
        # Open vSwitch takes critical options that are mapped, and drops packets with others (lib/tun-metadata.c).
        critical=True,
        foreign=tuple(sorted(programmer.foreign)),
    )
