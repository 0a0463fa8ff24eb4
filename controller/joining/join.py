# SPDX-License-Identifier: Apache-2.0
"""Which steps make a machine a host. Pure: from what is seen to steps, or to reasons why not.

A join that is repeated finds everything as it should be and has no step.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from controller.intent.model import HostKind, TunnelStyle
from controller.intent.needs import MODULES
from controller.joining import layout
from controller.joining.facts import Joined, MachineFacts, OvsFacts, Wish
from controller.joining.steps import Await, AwaitAgent, Awaited, Enrol, Plan, Refusal, Run, Step, Write
from controller.southbound.facts import OLDEST_OVS
from ovs_geneve.ovsdb.provision import OWNER_KEY

COUNTS_NO_CORES = (3, 1, 0)
"The Open vSwitch that must not start within 10 s of boot (lib/ovs-thread.c, count_cpu_cores; mended in 3.1.1)."

_VSCTL = ("ovs-vsctl", "--timeout=15")
_UNSEEN = "/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/"
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")


def plan_join(wish: Wish, facts: MachineFacts, packaged_unit: str) -> Plan:
    """Return the steps of a join, or what stands against it."""
    refusals = (
        *_always(wish, facts),
        *(_ovs(wish, facts) if wish.kind is HostKind.OVS else _linux(wish, facts)),
    )
    if refusals:
        return Plan(refusals=refusals)
    record = tuple(
        _file("the record of this join", layout.RECORD, layout.render_record(_record(wish, facts)), facts)
    )
    steps = (
        *(_calls_in(wish, facts, facts.ovs) if wish.kind is HostKind.OVS and facts.ovs else ()),
        *record,
        *_enrol(wish, facts),
        *(_agent(wish, facts, packaged_unit, changed=bool(record)) if wish.kind is HostKind.LINUX else ()),
    )
    return Plan(steps=steps, notes=tuple(_notes(wish, facts)))


def _always(wish: Wish, facts: MachineFacts) -> Iterator[Refusal]:
    if not facts.root:
        yield Refusal("joining changes the machine", "run it as root")
    if not _NAME.fullmatch(wish.host):
        yield Refusal(
            f"{wish.host!r} is no name for a host", "--name NAME: 1 to 63 of a-z, 0-9, '.', '-' and '_'"
        )
    joined = facts.joined
    if joined is not None and (joined.host, joined.kind) != (wish.host, wish.kind):
        yield Refusal(
            f"this machine is host {joined.host} already, of kind {joined.kind.value}",
            "ovs-geneve host leave",
        )
    if joined is not None and joined.rest and wish.controller.rest and joined.rest != wish.controller.rest:
        yield Refusal(f"this machine is a host of {joined.rest} already", "ovs-geneve host leave")
    if wish.endpoint is None and not _is_endpoint(facts.source):
        seen = f"from {facts.source}" if facts.source else "by no route"
        yield Refusal(
            f"the controller is reached {seen}: no tunnel endpoint follows from that", "--endpoint ADDRESS"
        )
    if wish.endpoint is not None and not _is_endpoint(wish.endpoint):
        yield Refusal(
            f"--endpoint {wish.endpoint} is no address that other hosts reach", "--endpoint ADDRESS"
        )
    if facts.port_holder:
        yield Refusal(
            f"UDP port {wish.tunnel_port} is held by {facts.port_holder}",
            "end it, or give it another port: two cannot share it",
        )
    declared = facts.declared
    if declared is not None and declared.get("kind", "ovs") != wish.kind.value:
        yield Refusal(
            f"the controller has a host {wish.host} of kind {declared.get('kind', 'ovs')}",
            f"--kind {declared.get('kind', 'ovs')}, or another --name",
        )
    if wish.kind is HostKind.LINUX and wish.controller.rest is None:
        yield Refusal("the agent speaks REST", "--controller http://ADDRESS:6680")
    if wish.kind is HostKind.LINUX and wish.ca.startswith(_UNSEEN):
        yield Refusal(
            f"--ca {wish.ca}: the agent's unit does not see what is there (ProtectHome, PrivateTmp)",
            "copy it below /etc/ovs-geneve",
        )


def _is_endpoint(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return not (
        address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local
    )


def _ovs(wish: Wish, facts: MachineFacts) -> Iterator[Refusal]:
    ovs = facts.ovs
    if not facts.installed:
        yield Refusal(
            "Open vSwitch is not installed",
            "apt-get install openvswitch-switch, or --kind linux to do without",
        )
    elif ovs is None:
        yield Refusal("the OVSDB of Open vSwitch does not answer", _start_ovs(facts))
    elif not ovs.runs:
        yield Refusal("ovs-vswitchd does not run", _start_ovs(facts))
    elif _version(ovs.version) < OLDEST_OVS:
        yield Refusal(
            f"Open vSwitch {ovs.version or 'of unknown version'} is too old",
            f"want {'.'.join(map(str, OLDEST_OVS))} or later",
        )
    if ovs is not None and wish.controller.manager.startswith("ssl:") and not ovs.has_tls:
        yield Refusal(
            f"Open vSwitch has no key and certificate for {wish.controller.manager}",
            "ovs-vsctl set-ssl PRIVATE-KEY CERTIFICATE CA-CERTIFICATE",
        )


def _start_ovs(facts: MachineFacts) -> str:
    wait = "" if facts.uptime > 11 else f"in {11 - facts.uptime:.0f} s, not earlier: "
    return f"{wait}systemctl enable --now openvswitch-switch"


def _linux(wish: Wish, facts: MachineFacts) -> Iterator[Refusal]:
    missing = [module for module in MODULES[TunnelStyle(wish.tunnels)] if module in facts.missing_modules]
    if missing:
        needed = "linux-modules-extra-" if "generic" in facts.kernel else "linux-image-"
        enough = not set(MODULES[TunnelStyle.FIXED]).intersection(missing)
        fixed = " (or --tunnels fixed, which does without, and without options)" if enough else ""
        yield Refusal(
            f"kernel {facts.kernel} lacks {', '.join(missing)}",
            f"apt-get install {needed}{facts.kernel}{fixed}",
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def _record(wish: Wish, facts: MachineFacts) -> Joined:
    before, ovs = facts.joined, facts.ovs
    is_ovs = wish.kind is HostKind.OVS and ovs is not None
    return Joined(
        host=wish.host,
        kind=wish.kind,
        rest=wish.controller.rest or (before.rest if before else ""),
        manager=wish.controller.manager if is_ovs and not _is_dialled(facts) else "",
        set_system_id=bool(is_ovs and ovs and not ovs.system_id) or bool(before and before.set_system_id),
        ca=wish.ca or (before.ca if before else ""),
    )


def _is_dialled(facts: MachineFacts) -> bool:
    """Tell whether the controller is told to dial this host, so that it need not call in."""
    return bool(facts.declared and facts.declared.get("ovsdb"))


def _calls_in(wish: Wish, facts: MachineFacts, ovs: OvsFacts) -> Iterator[Step]:
    if not ovs.system_id:
        yield Run(
            "a name by which the controller knows this Open vSwitch",
            (*_VSCTL, "set", "Open_vSwitch", ".", f"external_ids:system-id={wish.host}"),
        )
    if not _is_dialled(facts):
        yield from _manager(wish, ovs)
    if facts.systemd and _version(ovs.version) == COUNTS_NO_CORES:
        text = layout.BOOT_WAIT_TEXT
        why = f"Open vSwitch {ovs.version} must not start within 10 s of boot"
        if written := tuple(_file(why, layout.BOOT_WAIT, text, facts)):
            yield from written
            yield _daemon_reload()


def _manager(wish: Wish, ovs: OvsFacts) -> Iterator[Step]:
    target = wish.controller.manager
    stale = [one.target for one in ovs.managers if one.ours and one.target != target]
    for old in stale:
        yield Run("the controller's former address goes", remove_manager(old))
    if target not in {one.target for one in ovs.managers}:
        make = (
            f"--id=@manager create Manager target={json.dumps(target)} external_ids:{OWNER_KEY}={wish.owner}"
        )
        add = "add Open_vSwitch . manager_options @manager"
        yield Run(
            "Open vSwitch calls the controller; managers of others stay",
            (*_VSCTL, "--", *make.split(), "--", *add.split()),
        )
    if not any(one.target == target and one.connected for one in ovs.managers):
        yield Await(
            "the controller takes the call",
            Awaited.MANAGER,
            target,
            "does the controller listen there (--ovsdb ptcp:6640:ADDRESS), and is a packet filter between?",
        )


def remove_manager(target: str) -> tuple[str, ...]:
    """Return the command that takes one manager away and leaves others."""
    row = f"@row get Manager {target} -- remove Open_vSwitch . manager_options @row"
    return (*_VSCTL, "--", *f"--id={row}".split())


def _enrol(wish: Wish, facts: MachineFacts) -> Iterator[Step]:
    rest = wish.controller.rest
    if rest is None:
        return
    document = _document(wish, facts)
    if facts.declared is None or any(facts.declared.get(key) != value for key, value in document.items()):
        yield Enrol("the controller knows this host", rest, wish.host, {**(facts.declared or {}), **document})


def _document(wish: Wish, facts: MachineFacts) -> dict[str, Any]:
    """Return what this machine has to say about itself; what else is declared of it stays."""
    document: dict[str, Any] = {"kind": wish.kind.value}
    if wish.endpoint is not None or facts.declared is None:
        document["endpoints"] = [{"address": wish.endpoint or facts.source}]
    if wish.kind is HostKind.LINUX:
        document["tunnels"] = wish.tunnels
    elif facts.ovs is not None and facts.ovs.system_id and not _is_dialled(facts):
        document["system_id"] = facts.ovs.system_id
    return document


def _file(why: str, path: str, text: str, facts: MachineFacts) -> Iterator[Write]:
    if facts.text_of(path) != text:
        yield Write(why, path, text)


def _daemon_reload() -> Run:
    return Run("systemd reads its files anew", ("systemctl", "daemon-reload"))


def _agent(wish: Wish, facts: MachineFacts, packaged_unit: str, *, changed: bool) -> Iterator[Step]:
    """Have systemd run it, and see that it does; `changed` when its environment did."""
    if not facts.systemd:
        return
    if facts.unit is None or facts.unit == layout.UNIT:
        text = layout.unit_for(facts.command, packaged_unit)
        if written := tuple(_file("the agent's unit", layout.UNIT, text, facts)):
            changed = True
            yield from written
            yield _daemon_reload()
    advice = f"journalctl -u {layout.AGENT_SERVICE}"
    if not facts.unit_enabled:
        start = ("systemctl", "enable", "--now", layout.AGENT_SERVICE)
        yield Run("the agent runs, now and after a reboot", start, advice)
    elif changed:
        yield Run("the agent runs with what is new", ("systemctl", "restart", layout.AGENT_SERVICE), advice)
    if changed or not facts.unit_enabled:
        yield AwaitAgent("the controller hears it", wish.controller.rest or "", wish.host, advice)


def _notes(wish: Wish, facts: MachineFacts) -> Iterator[str]:
    if wish.controller.rest is None:
        body = json.dumps(_document(wish, facts))
        yield f"this host waits to be enrolled; on the controller: PUT /v1/hosts/{wish.host} {body}"
    if wish.kind is HostKind.LINUX and not facts.systemd:
        trust = f" --ca {wish.ca}" if wish.ca else ""
        yield (
            f"no systemd here; see to it that this always runs: "
            f"{facts.command} agent --host {wish.host} --controller {wish.controller.rest}{trust}"
        )
