# SPDX-License-Identifier: Apache-2.0
"""What this kernel is and which modules it lacks. Asking loads modules that are there, and changes nothing else."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

from pyroute2.netlink.rtnl import RTM_NEWLINK

from ovs_geneve.kernel import wire
from ovs_geneve.kernel.netlink import Netlink
from ovs_geneve.kernel.wire import Message

LINK_KINDS = ("geneve", "bridge", "dummy", "vrf")
ACTIONS = ("act_tunnel_key", "act_mirred", "act_skbedit", "act_gact")
CLASSIFIERS = ("cls_flower", "cls_fw", "sch_ingress")
NEEDED = (*LINK_KINDS, *CLASSIFIERS, *ACTIONS)

_RTM_NEWACTION = 48
_LINKINFO, _KIND, _TX_QUEUES = 18, 1, 31


def kernel_release() -> str:
    """Return the running kernel's release."""
    return os.uname().release


def missing_modules(netlink: Netlink) -> tuple[str, ...]:
    """Return the modules of NEEDED that this kernel neither has nor can load."""
    probes = [_link_probe(kind) for kind in LINK_KINDS] + [_action_probe(name) for name in ACTIONS]
    outcomes = netlink.request(probes)
    unknown = (errno.EOPNOTSUPP, errno.ENOENT)
    missing = {
        name
        for name, outcome in zip((*LINK_KINDS, *ACTIONS), outcomes, strict=True)
        if outcome is not None and outcome.number in unknown
    }
    missing |= {name for name in CLASSIFIERS if not _loadable(name)}
    return tuple(name for name in NEEDED if name in missing)


def _link_probe(kind: str) -> Message:
    # No device has 0 queues: the request ends after its kind was looked up (net/core/rtnetlink.c: rtnl_create_link).
    info = wire.nested(_LINKINFO, wire.text(_KIND, kind))
    body = bytes(16) + wire.u32(_TX_QUEUES, 0) + info
    return Message(RTM_NEWLINK, body, wire.CREATE | wire.EXCLUSIVE)


def _action_probe(module: str) -> Message:
    # Without options every action is refused, after its module was loaded (net/sched/act_api.c: tcf_action_init_1).
    action = wire.nested(1, wire.text(_KIND, module.removeprefix("act_")))
    return Message(_RTM_NEWACTION, bytes(4) + wire.nested(1, action), wire.CREATE | wire.EXCLUSIVE)


def _loadable(module: str) -> bool:
    if Path("/sys/module", module).exists():
        return True
    try:
        asked = subprocess.run(["modprobe", "--quiet", module], check=False, capture_output=True)
    except FileNotFoundError:
        return False
    return asked.returncode == 0
