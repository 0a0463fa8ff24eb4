# SPDX-License-Identifier: Apache-2.0
"""What users are told about an object: conditions, made on demand from what programmers and links know. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from controller.intent.identity import IDENTITY
from controller.intent.model import Direction, HostSpec, OptionPolicySpec, RolloutSpec, RolloutStage
from controller.intent.rules import ports_named
from controller.reconciler.programmer import TAKEN, Phase, Programmer
from controller.southbound.ports import HostReport, LinkState, OffloadState, Peers


class Truth(StrEnum):
    """The value of a condition, spelled as Kubernetes does."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One statement about an object."""

    type: str
    status: Truth
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostProgress:
    """How far the programming of a host's bridge is."""

    phase: str
    flows: int
    "That the bridge should hold."
    groups: int
    messages_sent: int
    behind_since: int | None
    "Revision of the oldest change it may lack."


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What changes cost: since the start, and the last one that hosts had to follow."""

    parts_compiled: int
    messages_sent: int
    "Flow and group messages to the bridges that are programmed now."
    last_revision: int
    last_parts: int
    "Parts that the last change had compiled anew."
    last_hosts: int
    "Hosts that it concerned."


RESTART = "systemctl reload ovs-vswitchd"
"""Starts ovs-vswitchd anew and keeps flows meanwhile, as `systemctl restart` does not (OVS
debian/openvswitch-switch.ovs-vswitchd.service, rhel/usr_lib_systemd_system_ovs-vswitchd.service.in: ExecReload)."""

_RESTORING = (
    "ovs-vswitchd waits until its flows are restored, takes no packet and calls no controller; where no restart is "
    "under way: ovs-vsctl remove Open_vSwitch . other_config flow-restore-wait"
)

ACCEPTED = Condition(type="Accepted", status=Truth.TRUE, reason="Stored")


def programmed(
    object_key: int,
    revision: int,
    hosts: Iterable[str],
    programmers: Mapping[str, Programmer],
    elsewhere: Callable[[str], Peers | None],
) -> Condition:
    """Say whether every bridge concerned has an object as of its revision."""
    pending: list[str] = []
    absent: list[str] = []
    for host in sorted(hosts):
        programmer = programmers.get(host)
        error = "" if programmer is None else programmer.refusal_of(object_key)
        if error == TAKEN and programmer is not None:
            return _not("Programmed", error, f"{host}: {taken_message(programmer)}")
        if error:
            return _not("Programmed", error, f"{host}: the switch refused it with {error}")
        if programmer is None and (peers := elsewhere(host)) is not None:
            if peers.is_behind(host, revision):
                (absent if peers.holder_of(host) is None else pending).append(host)
        elif programmer is None:
            absent.append(host)
        elif is_behind(programmer, revision):
            (absent if programmer.phase is Phase.ABSENT else pending).append(host)
    if absent:
        return _not("Programmed", "HostUnreachable", f"not connected: {', '.join(absent)}")
    if pending:
        return _not("Programmed", "Pending", f"not acknowledged yet: {', '.join(pending)}")
    return Condition(type="Programmed", status=Truth.TRUE, reason="Acknowledged")


def rolling_out(done: Condition, rollouts: Iterable[RolloutSpec]) -> Condition:
    """Say that a network is programmed only once no option is on its way into it or out of it."""
    if done.status is not Truth.TRUE:
        return done
    under_way = sorted(rollouts, key=lambda one: (one.stage is not RolloutStage.ROLLED_BACK, one.schema))
    if not under_way:
        return done
    reason = "RolledBack" if under_way[0].stage is RolloutStage.ROLLED_BACK else "RollingOut"
    said = (
        f"{one.schema} {'in' if one.incoming else 'out'}, {one.stage.value}: {one.reason}"
        for one in under_way
    )
    return _not("Programmed", reason, "; ".join(text.removesuffix(": ") for text in said))


def is_behind(programmer: Programmer, revision: int) -> bool:
    """Tell whether a bridge may lack a change of this revision."""
    return programmer.behind_since is not None and programmer.behind_since <= revision


def bound(host: str | None, refusal: str = "") -> Condition:
    """Say where a port is plugged; `refusal` is why it is not bound where its interface is."""
    if host is None and refusal:
        return _not("Bound", "HostCannot", refusal)
    if host is None:
        message = "no enrolled host has an interface with its iface-id"
        return _not("Bound", "NotPlugged", message)
    return Condition(type="Bound", status=Truth.TRUE, reason="Plugged", message=host)


def effective(shadow: str | None) -> Condition:
    """Say whether a policy decides anything; `shadow` is the one that decides all of its packets before it."""
    if shadow is not None:
        return _not("Effective", "Shadowed", f"{shadow} decides all of its packets")
    return Condition(type="Effective", status=Truth.TRUE, reason="Reached")


def reads_what_is_not_sent(policy: OptionPolicySpec, rollouts: Iterable[RolloutSpec]) -> Condition | None:
    """Say that a policy of senders reads an option that no packet carries there yet; None when all is well.

    At receivers such an option reads 0; where packets are sent it is not there, and no flow matches that.
    """
    if policy.direction is not Direction.EGRESS:
        return None
    read = {match.schema for match in policy.match} | ({IDENTITY} if policy.from_group is not None else set())
    awaited = sorted(read & {one.schema for one in rollouts if one.is_withheld})
    if not awaited:
        return None
    message = f"selects nothing before network {policy.network} sends {', '.join(awaited)}: see its rollout"
    return _not("Effective", "RollingOut", message)


def sends_to_nowhere(policy: OptionPolicySpec, host_of: Callable[[str], str | None]) -> Condition | None:
    """Say that a policy mirrors or steers packets to a port that was never plugged in; None when all is well."""
    nowhere = [port for port in ports_named(policy.actions) if host_of(port) is None]
    if not nowhere:
        return None
    message = f"no enrolled host has port {nowhere[0]}: what is sent there is lost"
    return _not("Effective", "NotPlugged", message)


def contested(other: str) -> Condition:
    """Say that a policy meets another one of its rank, so that a switch may take either for some packets."""
    message = f"{other} does something else with some of its packets at the same priority"
    return Condition(type="Effective", status=Truth.UNKNOWN, reason="Conflict", message=message)


def connected(report: HostReport) -> Condition:
    """Say whether a host's OVSDB answers."""
    if report.state is LinkState.CONNECTED:
        return Condition(type="Connected", status=Truth.TRUE, reason="Connected")
    problem = report.problem
    if problem is not None:
        return _not("Connected", problem.reason, problem.message)
    return _not("Connected", "HostUnreachable", "its OVSDB does not answer, or it has not called in")


def served_elsewhere(holder: str | None, behind: bool) -> tuple[Condition, Condition, Condition]:
    """Say what is known of a host that another controller serves, or nobody: connected, provisioned, programmed."""
    message = "no controller serves it at the moment" if holder is None else f"by controller {holder}"
    reason = "NotServed" if holder is None else "ServedElsewhere"
    unknown = [
        Condition(type=name, status=Truth.UNKNOWN, reason=reason, message=message)
        for name in ("Connected", "Provisioned")
    ]
    if holder is None:
        done = _not("Programmed", reason, message)
    elif behind:
        done = _not("Programmed", "Pending", f"not acknowledged yet, {message}")
    else:
        done = Condition(type="Programmed", status=Truth.TRUE, reason="Acknowledged", message=message)
    return unknown[0], unknown[1], done


def provisioned(report: HostReport) -> Condition:
    """Say whether a host's bridge and vport are as declared."""
    if report.problem is not None and report.state is LinkState.CONNECTED:
        return _not("Provisioned", report.problem.reason, report.problem.message)
    if report.provisioned:
        return Condition(type="Provisioned", status=Truth.TRUE, reason="Provisioned")
    return Condition(type="Provisioned", status=Truth.UNKNOWN, reason="Pending")


def offloading(state: OffloadState | None) -> tuple[Condition, ...]:
    """Say whether a host's ovs-vswitchd does what is declared.

    Of a host whose own setting is left alone: whether it still does what was declared before.
    """
    if state is None:
        return ()
    if state.wanted is None:
        return _left_alone(state)
    if state.kept_by:
        message = f"another fabric, {state.kept_by}, keeps hw-offload and tc-policy of this machine"
        return (_not("Offload", "OffloadNotOwned", message),)
    wanted = state.wanted
    if state.configured != wanted:
        return (Condition(type="Offload", status=Truth.UNKNOWN, reason="Pending"),)
    if state.running is None:
        message = f"{wanted} is set; whether ovs-vswitchd was started since is seen on that host only"
        return (Condition(type="Offload", status=Truth.UNKNOWN, reason="NotSeen", message=message),)
    if state.running != wanted:
        message = f"{wanted} is set, ovs-vswitchd runs with {state.running}: run `{RESTART}` there"
        return (_not("Offload", "OffloadNeedsRestart", message),)
    return (Condition(type="Offload", status=Truth.TRUE, reason="Running", message=str(wanted)),)


def _left_alone(state: OffloadState) -> tuple[Condition, ...]:
    if state.kept_by or state.running in (None, state.configured):
        return ()
    # Nobody declares anything, so nothing is amiss.
    own = f"{state.configured} is the machine's own again"
    message = f"{own}, ovs-vswitchd runs with {state.running} until it is restarted: `{RESTART}`"
    return (Condition(type="Offload", status=Truth.TRUE, reason="LeftAlone", message=message),)


def of_host(
    spec: HostSpec, report: HostReport, programmer: Programmer | None, *, unrecorded: bool
) -> tuple[Condition, ...]:
    """Say how a host of ours with Open vSwitch stands; `unrecorded` is one whose abilities are not stored yet."""
    reached = bridge_programmed(programmer, restoring=report.restoring)
    said = connected(report), provisioned(report), recorded_too(reached) if unrecorded else reached
    advice = interoperable(spec)
    return (*said, *offloading(report.offload), *(() if advice is None else (advice,)))


def bridge_programmed(programmer: Programmer | None, *, restoring: bool) -> Condition:
    """Say whether a host's bridge holds all it should, and its ovs-vswitchd goes by it."""
    if restoring:
        return _not("Programmed", "FlowRestoreWait", _RESTORING)
    if programmer is None or programmer.phase is Phase.ABSENT:
        return _not("Programmed", "HostUnreachable", "no OpenFlow connection")
    if programmer.refusals.bridge:
        return _not("Programmed", programmer.refusals.bridge, "the switch refused its TLV map or a bundle")
    if programmer.taken:
        return _not("Programmed", TAKEN, taken_message(programmer))
    if programmer.refusals.objects:
        first = sorted(programmer.refusals.objects.values())[0]
        return _not("Programmed", first, f"{len(programmer.refusals.objects)} objects refused")
    if programmer.behind_since is not None:
        return _not("Programmed", "Pending", "not acknowledged yet")
    if programmer.refusals.meters:
        message = (
            f"the bridge takes no meters ({programmer.refusals.meters}): nothing limits what it sends up"
        )
        return _not("Programmed", "NotSupported", message)
    return Condition(type="Programmed", status=Truth.TRUE, reason="Acknowledged")


def interoperable(host: HostSpec) -> Condition | None:
    """Say that peers may refuse what a host sends; None when nothing speaks for that."""
    six = sorted(str(address) for address in host.endpoints if address.version == 6)
    if host.tunables.csum or not six:
        return None
    message = (
        f"tunnel.csum is false: from {', '.join(six)} it sends UDP checksums of 0, which a peer that is Linux without "
        "Open vSwitch drops unless its device has udp6zerocsumrx (RFC 6935 5): set tunnel.csum to true"
    )
    return _not("Interoperable", "ZeroChecksums", message)


def recorded_too(done: Condition) -> Condition:
    """Say that a host is programmed only once it is recorded what it can do: admission asks for that."""
    if done.status is not Truth.TRUE:
        return done
    return _not("Programmed", "Pending", "what it can do is not recorded yet")


def taken_message(programmer: Programmer) -> str:
    """Say which options a bridge has no place for, and why."""
    return "; ".join(map(str, programmer.taken))


def _not(type_: str, reason: str, message: str) -> Condition:
    return Condition(type=type_, status=Truth.FALSE, reason=reason, message=message)
