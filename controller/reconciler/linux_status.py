# SPDX-License-Identifier: Apache-2.0
"""What users are told about hosts without Open vSwitch, and about objects that these leave out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from controller.intent.intent import Intent
from controller.intent.model import AnyObject, NetworkSpec, OptionPolicySpec, PolicySpec, PortSpec
from controller.kernels.hosts import LinuxHosts
from controller.kernels.report import KernelProblem
from controller.linux.part import HOST_PART, Part, PartKind
from controller.reconciler.elsewhere import Elsewhere
from controller.reconciler.status import Condition, HostProgress, Truth, served_elsewhere


def of_host(sight: Elsewhere, host: str, revision: int) -> tuple[Condition, Condition, Condition]:
    """Say whether a host's agent is connected, whether its kernel takes everything, and whether it has it."""
    holder, problems = sight.hearer_of(host), sight.problems(host)
    if holder is None:
        return (
            _connected(sight.linux, host),
            _provisioned(sight.linux, host),
            _programmed(sight, host, revision),
        )
    lacking = sight.lacks(host, revision)
    connected, provisioned, programmed = served_elsewhere(holder, bool(lacking))
    if problems:
        provisioned = _refused(problems)
        programmed = programmed if lacking else _some_refused(problems)
    return connected, provisioned, programmed


def progress(sight: Elsewhere, host: str) -> HostProgress:
    """Return how far a host's agent is; it has no flows."""
    hosts = sight.linux
    behind_since = hosts.behind_since(host)
    if sight.hearer_of(host) is not None:
        behind_since = 0 if sight.lacks(host, hosts.compiler.intent.revision) else None
    phase = "absent" if not hosts.hears(host) else "idle" if behind_since is None else "applying"
    return HostProgress(phase=phase, flows=0, groups=0, messages_sent=0, behind_since=behind_since)


def of_object(sight: Elsewhere, held: AnyObject, concerned: Iterable[str]) -> Condition | None:
    """Say that a host leaves an object out or its kernel refuses something of its network; None when all is well."""
    concerned = tuple(concerned)
    refusals = sight.linux.refusals(held.id, concerned)
    if refusals:
        message = "; ".join(f"{host}: {reason}" for host, reason in refusals.items())
        return Condition(type="Programmed", status=Truth.FALSE, reason="NotSupported", message=message)
    intent = sight.linux.compiler.intent
    parts = {str(part) for part in _parts_of(held)}
    for host in sorted(host for host in concerned if host in intent.linux_hosts):
        for one in sight.problems(host):
            if one.part in parts or _is_of(intent, one.part, held):
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
    if problems:
        return _refused(problems)
    reported = hosts.capability(host) is not None
    status = Truth.TRUE if reported else Truth.UNKNOWN
    return Condition(type="Provisioned", status=status, reason="Provisioned" if reported else "Pending")


def _refused(problems: Sequence[KernelProblem]) -> Condition:
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    message = f"{problems[0].object}: {problems[0].message}{more}"
    return Condition(type="Provisioned", status=Truth.FALSE, reason=problems[0].reason, message=message)


def _programmed(sight: Elsewhere, host: str, revision: int) -> Condition:
    hosts = sight.linux
    if not hosts.hears(host):
        # As of a bridge: what it acknowledged it may hold no more, and nobody would hear of that.
        message = "its agent is not connected"
        return Condition(type="Programmed", status=Truth.FALSE, reason="HostUnreachable", message=message)
    lacking = hosts.lacks(host, revision)
    if lacking:
        return Condition(type="Programmed", status=Truth.FALSE, reason="Pending", message=lacking)
    problems = hosts.problems(host)
    if problems:
        return _some_refused(problems)
    return Condition(type="Programmed", status=Truth.TRUE, reason="Acknowledged")


def _some_refused(problems: Sequence[KernelProblem]) -> Condition:
    message = f"{len(problems)} objects refused, {problems[0].object} first"
    return Condition(type="Programmed", status=Truth.FALSE, reason=problems[0].reason, message=message)
