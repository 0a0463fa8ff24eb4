# SPDX-License-Identifier: Apache-2.0
"""Which steps undo a join, and nothing else. Pure.

The record goes last: a leave that failed half way can be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.joining import layout
from controller.joining.facts import HostKind, Joined, MachineFacts
from controller.joining.join import remove_manager
from controller.joining.steps import Await, Awaited, Dismiss, Plan, Refusal, Remove, Run, Step


def plan_leave(facts: MachineFacts, *, tell_controller: bool = True) -> Plan:
    """Return the steps that take away what a join made; none where nothing was joined."""
    joined = facts.joined
    if joined is None:
        return Plan(notes=("this machine is no host: there is nothing to take away",))
    refusals = tuple(_refusals(joined, facts))
    if refusals:
        return Plan(refusals=refusals)
    told = bool(joined.rest) and tell_controller
    steps = (
        *_agent(joined, facts),
        *(_dismiss(joined, facts) if told else ()),
        *(_open_vswitch(joined, facts)),
        *_files(facts),
    )
    return Plan(steps=steps, notes=tuple(_notes(joined, facts, told=told)))


def _refusals(joined: Joined, facts: MachineFacts) -> Iterator[Refusal]:
    if not facts.root:
        yield Refusal("leaving changes the machine", "run it as root")
    if joined.manager and facts.installed and facts.ovs is None:
        yield Refusal(
            "the OVSDB of Open vSwitch does not answer, and holds our manager",
            "systemctl start openvswitch-switch",
        )


def _agent(joined: Joined, facts: MachineFacts) -> Iterator[Step]:
    if facts.unit_enabled:
        stop = ("systemctl", "disable", "--now", layout.AGENT_SERVICE)
        yield Run("the agent ends", stop, f"journalctl -u {layout.AGENT_SERVICE}")
    if joined.kind is HostKind.LINUX:
        clean = (facts.command, "agent", "--host", joined.host, "--remove")
        yield Run(
            "what the agent made in the kernel goes", clean, "what it names is in the way; then leave again"
        )


def _dismiss(joined: Joined, facts: MachineFacts) -> Iterator[Step]:
    yield Dismiss("the controller forgets this host", joined.rest, joined.host)
    if facts.ovs is not None and facts.ovs.bridges and joined.kind is HostKind.OVS:
        yield Await(
            "and takes its own off Open vSwitch",
            Awaited.RELEASE,
            joined.manager,
            f"the controller is not connected: {_drop(facts.ovs.bridges)}, then leave again with --local",
        )


def _open_vswitch(joined: Joined, facts: MachineFacts) -> Iterator[Step]:
    ovs = facts.ovs
    if ovs is None:
        return
    if any(one.ours and one.target == joined.manager for one in ovs.managers):
        yield Run("Open vSwitch no longer calls the controller", remove_manager(joined.manager))
    if joined.set_system_id and ovs.system_id == joined.host:
        forget = ("ovs-vsctl", "--timeout=15", "remove", "Open_vSwitch", ".", "external_ids", "system-id")
        yield Run("the name that the join gave it goes", forget)


def _files(facts: MachineFacts) -> Iterator[Step]:
    ours = [path for path in (layout.BOOT_WAIT, layout.UNIT) if facts.text_of(path) is not None]
    for path in ours:
        yield Remove("written by the join", path)
    if ours and facts.systemd:
        yield Run("systemd reads its files anew", ("systemctl", "daemon-reload"))
    yield Remove("the record of the join", layout.RECORD)


def _notes(joined: Joined, facts: MachineFacts, *, told: bool) -> Iterator[str]:
    if told:
        return
    yield f"the controller was not told: DELETE /v1/hosts/{joined.host} there, if it is declared"
    if facts.ovs is not None and facts.ovs.bridges:
        yield f"what the controller made stays, with its flows: {_drop(facts.ovs.bridges)}"


def _drop(bridges: tuple[str, ...]) -> str:
    return "; ".join(f"ovs-vsctl del-br {bridge}" for bridge in bridges)
