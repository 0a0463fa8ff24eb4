# SPDX-License-Identifier: Apache-2.0
"""What users are told about hosts without Open vSwitch, and about objects that these leave out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controller.intent.intent import Intent
from controller.intent.model import AnyObject, NetworkSpec, OptionPolicySpec, PolicySpec, PortSpec
from controller.kernels.hosts import LinuxHosts
from controller.linux.part import HOST_PART, Part, PartKind
from controller.reconciler.status import Condition, HostProgress, Truth


def of_host(hosts: LinuxHosts, host: str, revision: int) -> tuple[Condition, Condition, Condition]:
    """Say whether a host's agent is connected, whether its kernel takes everything, and whether it has it."""
    return _connected(hosts, host), _provisioned(hosts, host), _programmed(hosts, host, revision)


def progress(hosts: LinuxHosts, host: str) -> HostProgress:
    """Return how far a host's agent is; it has no flows."""
    phase = "absent" if not hosts.hears(host) else "idle" if hosts.behind_since(host) is None else "applying"
    return HostProgress(
        phase=phase, flows=0, groups=0, messages_sent=0, behind_since=hosts.behind_since(host)
    )


def of_object(hosts: LinuxHosts, held: AnyObject, concerned: Iterable[str]) -> Condition | None:
    """Say that a host leaves an object out or its kernel refuses something of its network; None when all is well."""
    concerned = tuple(concerned)
    refusals = hosts.refusals(held.id, concerned)
    if refusals:
        message = "; ".join(f"{host}: {reason}" for host, reason in refusals.items())
        return Condition(type="Programmed", status=Truth.FALSE, reason="NotSupported", message=message)
    parts = {str(part) for part in _parts_of(held)}
    for host in sorted(concerned):
        for one in hosts.problems(host):
            if one.part in parts or _is_of(hosts.compiler.intent, one.part, held):
                message = f"{host}: {one.object}: {one.message}"
                return Condition(type="Programmed", status=Truth.FALSE, reason=one.reason, message=message)
    return None


def _parts_of(held: AnyObject) -> Iterator[Part]:
    yield HOST_PART
    match held.spec:
        case NetworkSpec():
            yield Part(PartKind.NETWORK, held.name)
        case PortSpec() as spec:
            yield Part(PartKind.NETWORK, spec.network)
            yield Part(PartKind.PORT, held.name)
        case PolicySpec() | OptionPolicySpec() as spec:
            yield Part(PartKind.NETWORK, spec.network)


def _is_of(intent: Intent, part: str, held: AnyObject) -> bool:
    """Tell whether a part is a port of the network that an object is about."""
    kind, _, name = part.partition("/")
    port = intent.ports.get(name) if kind == PartKind.PORT else None
    match held.spec:
        case NetworkSpec():
            return port is not None and port.spec.network == held.name
        case PolicySpec() | OptionPolicySpec() as spec:
            return port is not None and port.spec.network == spec.network
        case _:
            return False


def _connected(hosts: LinuxHosts, host: str) -> Condition:
    if hosts.hears(host):
        return Condition(type="Connected", status=Truth.TRUE, reason="Connected")
    message = "its agent is not connected: run `ovs-geneve agent` on it"
    return Condition(type="Connected", status=Truth.FALSE, reason="HostUnreachable", message=message)


def _provisioned(hosts: LinuxHosts, host: str) -> Condition:
    problems = hosts.problems(host)
    if not problems:
        reported = hosts.capability(host) is not None
        status = Truth.TRUE if reported else Truth.UNKNOWN
        return Condition(type="Provisioned", status=status, reason="Provisioned" if reported else "Pending")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    message = f"{problems[0].object}: {problems[0].message}{more}"
    return Condition(type="Provisioned", status=Truth.FALSE, reason=problems[0].reason, message=message)


def _programmed(hosts: LinuxHosts, host: str, revision: int) -> Condition:
    lacking = hosts.lacks(host, revision)
    if lacking:
        reason = "Pending" if hosts.hears(host) else "HostUnreachable"
        return Condition(type="Programmed", status=Truth.FALSE, reason=reason, message=lacking)
    problems = hosts.problems(host)
    if problems:
        message = f"{len(problems)} objects refused, {problems[0].object} first"
        return Condition(type="Programmed", status=Truth.FALSE, reason=problems[0].reason, message=message)
    return Condition(type="Programmed", status=Truth.TRUE, reason="Acknowledged")
