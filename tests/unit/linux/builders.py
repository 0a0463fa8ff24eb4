# SPDX-License-Identifier: Apache-2.0
"""Short ways to say what tests of Linux hosts need."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.intent.commands import Command, evaluate
from controller.intent.intent import Intent, merged
from controller.intent.model import Change, HostKind, HostSpec, Kind, Object
from controller.linux.compile import HostChanges, LinuxCompiler
from controller.linux.part import LinuxPart, Part
from ovs_geneve.kernel.objects import joined
from tests.builders import host


def linux(*endpoints: str, **rest) -> HostSpec:
    return host(*endpoints, kind=HostKind.LINUX, **rest)


@dataclass
class LinuxFabric:
    """An intent, the compiler that follows it, and what hosts hold who have only ever seen changes."""

    intent: Intent = field(default_factory=Intent)
    compiler: LinuxCompiler = field(default_factory=LinuxCompiler)
    interfaces: dict[str, dict[str, str]] = field(default_factory=dict)
    held: dict[str, dict[Part, LinuxPart]] = field(default_factory=dict)

    def do(self, *commands: Command) -> HostChanges:
        """Carry commands out as one batch; return what hosts must change."""
        changes = []
        for command in commands:
            decision = evaluate(self.intent, command)
            if decision.changes:
                self.intent = self.intent.with_changes(decision.changes, self.intent.revision + 1)
                changes += decision.changes
        return self._take(self.compiler.update(self.intent, merged(changes)))

    def plug(self, host_name: str, **names: str) -> HostChanges:
        """Say which interfaces a host has, besides those it had, by interface ID; an empty name unplugs."""
        known = {**self.interfaces.get(host_name, {}), **names}
        self.interfaces[host_name] = {key: name for key, name in known.items() if name}
        return self._take(self.compiler.update_interfaces(host_name, self.interfaces[host_name]))

    def all_of(self, host_name: str) -> LinuxPart:
        """Return all that a host holds as if it were one part."""
        parts = self.held[host_name]
        problems = sorted(problem for part in parts.values() for problem in part.problems)
        return LinuxPart(state=joined(part.state for part in parts.values()), problems=tuple(problems))

    def _take(self, changes: HostChanges) -> HostChanges:
        for host_name, parts in changes.items():
            for name, part in parts.items():
                if part is None:
                    del self.held[host_name][name]
                else:
                    self.held.setdefault(host_name, {})[name] = part
        return changes

    def swap(self, held: Object[HostSpec]) -> HostChanges:
        """Put another host in the place of one, past admission."""
        old = self.intent.hosts[held.name]
        change = Change(kind=Kind.HOST, name=held.name, old=old, new=held)
        self.intent = self.intent.with_changes([change], self.intent.revision + 1)
        return self._take(self.compiler.update(self.intent, [change]))
