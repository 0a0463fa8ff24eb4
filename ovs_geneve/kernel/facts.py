# SPDX-License-Identifier: Apache-2.0
"""What this kernel is and which modules it lacks. Asking loads modules that are there, and leaves nothing behind.

The kernel itself is asked, never modprobe: a confined agent may load no module, and need not.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from pyroute2.netlink.rtnl import RTM_NEWLINK

from ovs_geneve.kernel import codec_filters, codec_links, modules, wire
from ovs_geneve.kernel.netlink import Netlink
from ovs_geneve.kernel.objects import MARK, Filter, Flower, Fw, Match
from ovs_geneve.kernel.wire import Message

_PROBE = "og-probe"
"A device that is there for a moment: filters are asked about on it. Left behind, it is one of ours and goes."

_RTM_NEWACTION = 48
_NAME, _LINKINFO, _KIND, _TX_QUEUES = 3, 18, 1, 31
_UNKNOWN = (errno.EOPNOTSUPP, errno.ENOENT)


def kernel_release() -> str:
    """Return the running kernel's release."""
    return os.uname().release


def missing_modules(netlink: Netlink) -> tuple[str, ...]:
    """Return the modules of `modules.ALL` that this kernel neither has nor can load."""
    actions = tuple(dict.fromkeys(modules.ACTIONS.values()))
    probes = [_link_probe(kind) for kind in modules.LINK_KINDS] + [_action_probe(name) for name in actions]
    outcomes = netlink.request(probes)
    missing = {
        name
        for name, outcome in zip((*modules.LINK_KINDS, *actions), outcomes, strict=True)
        if outcome is not None and outcome.number in _UNKNOWN
    }
    kind = next((name for name in ("dummy", "bridge") if name not in missing), None)
    if kind is None:
        # Without a device nothing can be asked of filters, and nothing done with them either.
        return tuple(name for name in modules.ALL if name in {*missing, *modules.CLASSIFIERS, modules.QDISC})
    missing.update(_missing_on_a_device(netlink, kind))
    return tuple(name for name in modules.ALL if name in missing)


def _missing_on_a_device(netlink: Netlink, kind: str) -> Iterator[str]:
    netlink.request([_probe_device(kind)])
    index = _index_of(netlink, _PROBE)
    if index is None:
        return
    try:
        # Named at once: whoever looks after us knows it as ours.
        _, qdisc = netlink.request(
            [codec_links.set_alias(index, f"{MARK} probe"), codec_filters.add_qdisc(index)]
        )
        if qdisc is not None and qdisc.number == errno.ENOENT:
            yield modules.QDISC
            return
        matches: tuple[tuple[str, Match], ...] = (("cls_flower", Flower()), ("cls_fw", Fw(mark=1)))
        for number, (name, match) in enumerate(matches, 1):
            one = Filter(device=_PROBE, preference=number, match=match, actions=())
            (outcome,) = netlink.request([codec_filters.put_filter(one, {_PROBE: index})])
            # "TC classifier not found" (net/sched/cls_api.c: tcf_proto_lookup_ops)
            if outcome is not None and outcome.number == errno.ENOENT:
                yield name
    finally:
        netlink.request([codec_links.remove_link(index)])


def _index_of(netlink: Netlink, name: str) -> int | None:
    links = map(codec_links.decode_interface, netlink.dump(codec_links.all_links()))
    return next((one.index for one in links if one.name == name), None)


def _probe_device(kind: str) -> Message:
    info = wire.nested(_LINKINFO, wire.text(_KIND, kind))
    return Message(
        RTM_NEWLINK,
        bytes(16) + wire.text(_NAME, _PROBE) + codec_links.making() + info,
        wire.CREATE | wire.EXCLUSIVE,
    )


def _link_probe(kind: str) -> Message:
    # No device has 0 queues: the request ends after its kind was looked up (net/core/rtnetlink.c: rtnl_create_link).
    info = wire.nested(_LINKINFO, wire.text(_KIND, kind))
    body = bytes(16) + wire.u32(_TX_QUEUES, 0) + info
    return Message(RTM_NEWLINK, body, wire.CREATE | wire.EXCLUSIVE)


def _action_probe(module: str) -> Message:
    # Without options every action is refused, after its module was loaded (net/sched/act_api.c: tcf_action_init_1).
    action = wire.nested(1, wire.text(_KIND, module.removeprefix("act_")))
    return Message(_RTM_NEWACTION, bytes(4) + wire.nested(1, action), wire.CREATE | wire.EXCLUSIVE)
