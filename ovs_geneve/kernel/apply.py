# SPDX-License-Identifier: Apache-2.0
"""Carry steps out over netlink. A step that fails is named and does not stop those that do not need it.

Runs in the network namespace of the calling thread: sysctls are files, and the socket's namespace is that of the
thread that made it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from msgspec.structs import replace

from ovs_geneve.errors import EncodeError
from ovs_geneve.kernel import codec_filters, codec_links, codec_neighbours, modules
from ovs_geneve.kernel.errors import InTheWay, KernelRefused, ModuleMissing
from ovs_geneve.kernel.netlink import Netlink, Refusal
from ovs_geneve.kernel.objects import (
    Attachment,
    BridgeLink,
    Fdb,
    Filter,
    GeneveLink,
    KernelState,
    Link,
    Neighbour,
    Route,
    Setting,
)
from ovs_geneve.kernel.observation import Observation, Preference, is_ours
from ovs_geneve.kernel.observe import observe
from ovs_geneve.kernel.plan import plan
from ovs_geneve.kernel.steps import Qdisc, Step, StepObject, Verb, subject
from ovs_geneve.kernel.wire import Message

_SYSCTL = Path("/proc/sys")
_GONE = frozenset({errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL})
"How the kernel says that what is to end is not there; EINVAL says it of a filter's chain and qdisc."


def converge(netlink: Netlink, desired: KernelState) -> tuple[KernelRefused, ...]:
    """Observe, plan and apply once, and return what was refused. Raises OSError when the kernel cannot be read."""
    observed = observe(netlink, settings=[one.path for one in desired.settings])
    return apply(netlink, plan(desired, observed), observed)


def apply(netlink: Netlink, steps: Sequence[Step], observed: Observation) -> tuple[KernelRefused, ...]:
    """Carry steps out in their order and return what was refused; a device that went meanwhile is no refusal."""
    refused: list[KernelRefused] = []
    indexes = {one.name: one.index for one in observed.interfaces}
    for is_link, group in groupby(steps, key=_changes_links):
        carry_out = _links if is_link else _many
        refused += carry_out(netlink, list(group), indexes, observed)
    return tuple(refused)


def _changes_links(step: Step) -> bool:
    return isinstance(step.object, Link) and step.verb is not Verb.RAISE


def _links(
    netlink: Netlink, steps: Sequence[Step], indexes: dict[str, int], observed: Observation
) -> list[KernelRefused]:
    """Remove links, make links, then give all of them what needs the index of a link that was just made."""
    refused: list[KernelRefused] = []
    going = [step for step in steps if step.verb is Verb.REMOVE and _name(step) in indexes]
    removals = [codec_links.remove_link(indexes.pop(_name(step))) for step in going]
    for step, outcome in zip(going, netlink.request(removals), strict=True):
        refused += _refusals(step, [outcome])
    puts = [step for step in steps if step.verb is Verb.PUT]
    refused += _make(netlink, [step for step in puts if step.new], observed)
    if any(step.new for step in puts):
        indexes |= _indexes(netlink)
    for step in puts:
        link = step.object
        assert isinstance(link, Link)
        if link.name in indexes and not any(one.subject == subject(link) for one in refused):
            refused += _refusals(step, netlink.request(_finishing(step, link, indexes, observed)))
    return refused


def _name(step: Step) -> str:
    assert isinstance(step.object, Link)
    return step.object.name


def _make(netlink: Netlink, steps: Sequence[Step], observed: Observation) -> list[KernelRefused]:
    refused: list[KernelRefused] = []
    making: list[tuple[Step, Link]] = []
    for step in steps:
        link = step.object
        assert isinstance(link, Link)
        there = observed.by_name.get(link.name)
        if there is not None and not is_ours(there):
            holder = f"a device of another owner ({there.kind or 'no kind'})"
            refused.append(InTheWay(subject(link), "make", "EEXIST", "the name is taken", holder))
        else:
            making.append((step, link))
    outcomes = netlink.request([codec_links.add_link(link) for _, link in making])
    for (step, link), outcome in zip(making, outcomes, strict=True):
        if outcome:
            refused.append(_refused_link(step, link, outcome, observed))
    return refused


def _finishing(step: Step, link: Link, indexes: Mapping[str, int], observed: Observation) -> list[Message]:
    index = indexes[link.name]
    messages = [codec_links.set_alias(index, link.alias)]
    if not step.new and isinstance(link.kind, BridgeLink):
        messages.append(codec_links.stop_spanning_tree(index))
    if not step.new:
        there = observed.by_name.get(link.name)
        # A MAC that is set takes the permanent neighbours along, be it as it was (net/core/neighbour.c).
        same = there is not None and there.mac == link.mac
        messages.append(codec_links.change_link(replace(link, mac=None) if same else link, index))
    return messages + _enslaving(index, link, indexes)


def _indexes(netlink: Netlink) -> dict[str, int]:
    answers = netlink.dump(codec_links.all_links())
    return {one.name: one.index for one in map(codec_links.decode_interface, answers)}


def _enslaving(index: int, one: Link | Attachment, indexes: Mapping[str, int]) -> list[Message]:
    master = indexes.get(one.master or "", 0)
    messages = [codec_links.set_master(index, master)]
    if master and one.port:
        messages.append(codec_links.set_port(index, one.port))
    if one.mtu is not None and isinstance(one, Attachment):
        messages.insert(0, codec_links.set_mtu(index, one.mtu))
    return messages


def _many(
    netlink: Netlink, steps: Sequence[Step], indexes: dict[str, int], observed: Observation
) -> list[KernelRefused]:
    """Carry out steps that need no answer before the next, in few system calls."""
    refused: list[KernelRefused] = []
    pending: list[tuple[Step, Message]] = []
    for step in steps:
        if isinstance(step.object, Setting):
            refused += _flush(netlink, pending)
            refused += _write(step)
            continue
        try:
            pending += [(step, message) for message in _messages(step, indexes)]
        except KeyError:
            continue  # a device that is not there, or not any more: the next look tells
        except EncodeError as error:
            refused.append(KernelRefused(subject(step.object), step.verb.value, "EINVAL", str(error)))
    return refused + _flush(netlink, pending)


def _flush(netlink: Netlink, pending: list[tuple[Step, Message]]) -> list[KernelRefused]:
    outcomes = netlink.request([message for _, message in pending])
    refused: list[KernelRefused] = []
    for (step, _), outcome in zip(pending, outcomes, strict=True):
        refused += _refusals(step, [outcome])
    pending.clear()
    return refused


def _messages(step: Step, indexes: Mapping[str, int]) -> list[Message]:
    """Encode a step. Raises KeyError with a device that is not there."""
    removing = step.verb is Verb.REMOVE
    match step.object:
        case Link(name=name):
            return [codec_links.set_up(indexes[name])]
        case Attachment() as one if removing:
            return [codec_links.set_master(indexes[one.name], 0)]
        case Attachment() as one:
            indexes[one.master]  # KeyError: without its master it is not attached
            return _enslaving(indexes[one.name], one, indexes)
        case Qdisc(device=device):
            return [(codec_filters.remove_qdisc if removing else codec_filters.add_qdisc)(indexes[device])]
        case Filter() as one:
            codec = codec_filters.remove_filter if removing else codec_filters.put_filter
            return [codec(one, indexes)]
        case Preference() as one:
            return [
                codec_filters.remove_preference(
                    indexes[one.device], egress=one.egress, chain=one.chain, preference=one.preference
                )
            ]
    return _entry_messages(step.object, removing=removing, indexes=indexes)


def _entry_messages(one: StepObject, *, removing: bool, indexes: Mapping[str, int]) -> list[Message]:
    match one:
        case Fdb():
            codec = codec_neighbours.remove_fdb if removing else codec_neighbours.put_fdb
            return [codec(one, indexes)]
        case Neighbour():
            put_or_remove = codec_neighbours.remove_neighbour if removing else codec_neighbours.put_neighbour
            return [put_or_remove(one, indexes)]
        case Route():
            return [(codec_neighbours.remove_route if removing else codec_neighbours.put_route)(one, indexes)]
    raise AssertionError(one)


def _write(step: Step) -> list[KernelRefused]:
    setting = step.object
    assert isinstance(setting, Setting)
    try:
        (_SYSCTL / setting.path).write_text(setting.value, encoding="ascii")
    except FileNotFoundError:
        return []  # its device is not there, or not any more
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "EIO")
        return [KernelRefused(subject(setting), f"write {setting.value}", name, error.strerror or str(error))]
    return []


def _refusals(step: Step, outcomes: Iterable[Refusal | None]) -> list[KernelRefused]:
    refused: list[KernelRefused] = []
    for outcome in outcomes:
        if outcome is None or _harmless(step, outcome):
            continue
        module = missing_module(step.object, outcome)
        if taken := _taken_port(step, outcome):
            refused.append(taken)
        elif module:
            refused.append(ModuleMissing(subject(step.object), step.verb.value, outcome.name, module))
        else:
            refused.append(KernelRefused(subject(step.object), step.verb.value, outcome.name, str(outcome)))
    return refused


def _taken_port(step: Step, outcome: Refusal) -> InTheWay | None:
    """A geneve device binds its UDP port when it goes up (geneve.c: geneve_open)."""
    one = step.object
    if not isinstance(one, Link) or not isinstance(one.kind, GeneveLink):
        return None
    if step.verb is not Verb.RAISE or outcome.number != errno.EADDRINUSE:
        return None
    port = one.kind.dst_port
    reason = f"UDP port {port} is taken"
    return InTheWay(subject(one), "raise", outcome.name, reason, f"a socket (ss -ulnp sport = {port})")


def _harmless(step: Step, outcome: Refusal) -> bool:
    if outcome.number == errno.ENODEV:
        return True  # the device went meanwhile
    if step.verb is Verb.REMOVE:
        is_filter = isinstance(step.object, Filter | Preference | Qdisc)
        return outcome.number in _GONE or (is_filter and outcome.number == errno.EINVAL)
    return isinstance(step.object, Qdisc) and outcome.number == errno.EEXIST


def missing_module(one: StepObject, outcome: Refusal) -> str | None:
    """Name the module whose absence the kernel's answer shows, None when it is something else."""
    if isinstance(one, Link) and outcome.number == errno.EOPNOTSUPP and "Unknown device" in outcome.detail:
        return codec_links.kind_name(one.kind)
    if isinstance(one, Qdisc) and outcome.number == errno.ENOENT:
        return modules.QDISC
    if isinstance(one, Filter) and outcome.number == errno.ENOENT:
        if "classifier" in outcome.detail:
            return modules.classifier_of(one)
        if "action" in outcome.detail:
            return ", ".join(modules.actions_of(one))
    return None


def _refused_link(step: Step, link: Link, outcome: Refusal, observed: Observation) -> KernelRefused:
    holder = _holder(link.kind, observed) if isinstance(link.kind, GeneveLink) else None
    if holder:
        return InTheWay(subject(link), "make", outcome.name, str(outcome), f"geneve device {holder}")
    module = missing_module(link, outcome)
    if module:
        return ModuleMissing(subject(link), "make", outcome.name, module)
    return KernelRefused(subject(link), "make", outcome.name, str(outcome))


def _holder(kind: GeneveLink, observed: Observation) -> str | None:
    """Return another's geneve device that excludes this one (geneve.c: geneve_configure)."""
    for name, other in observed.geneve:
        same_port = other.dst_port == kind.dst_port
        exclusive = kind.vni is None or other.vni is None
        if same_port and (exclusive or (other.vni, other.remote) == (kind.vni, kind.remote)):
            return name
    return None
