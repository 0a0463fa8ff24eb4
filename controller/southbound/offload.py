# SPDX-License-Identifier: Apache-2.0
"""What a host hands to traffic control: what is declared, what its database says, what its ovs-vswitchd does."""

from __future__ import annotations

from pathlib import Path

from controller.intent.model import OffloadChoice
from controller.southbound.ports import OffloadState
from ovs_geneve.errors import NotSupported
from ovs_geneve.ovsdb.offload import (
    OffloadNotOwned,
    OffloadSetting,
    note_in,
    plan_offload,
    running_setting,
    setting_in,
)
from ovs_geneve.ovsdb.operations import Operation
from ovs_geneve.ovsdb.replica import Replica
from ovs_geneve.ovsdb.rows import OpenVSwitch, each

SETTINGS = {
    OffloadChoice.OFF: OffloadSetting(enabled=False),
    OffloadChoice.ON: OffloadSetting(enabled=True),
    OffloadChoice.SKIP_HW: OffloadSetting(enabled=True, policy="skip_hw"),
    OffloadChoice.SKIP_SW: OffloadSetting(enabled=True, policy="skip_sw"),
}

_START_TIME = 19
"Of what follows a command's name in /proc/PID/stat (proc(5): starttime is field 22)."


def offload_state(
    choice: OffloadChoice | None, replica: Replica, owner: str, process: str | None
) -> OffloadState | None:
    """Read how a host stands; None for a database that was never initialised."""
    root = _root(replica)
    if root is None:
        return None
    note = note_in(root)
    return OffloadState(
        wanted=None if choice is None else SETTINGS[choice],
        configured=setting_in(root.other_config),
        running=None if process is None else running_setting(root, process),
        kept_by="" if note is None or note.owner == owner or not note.put else note.owner,
    )


def offload_operations(
    choice: OffloadChoice | None, replica: Replica, owner: str, process: str | None
) -> list[Operation]:
    """Give the operations that make a host's database say what is declared; None leaves it as we found it."""
    root = _root(replica)
    if root is None:
        raise NotSupported("the row of Open_vSwitch", "a database filled by `ovs-vsctl init`")
    wanted = None if choice is None else SETTINGS[choice]
    try:
        return plan_offload(wanted, root, owner, process)
    except OffloadNotOwned:
        return []  # `offload_state` tells


def vswitchd_process(directory: Path | None) -> str | None:
    """Return what no other process is called that ever ran on this machine; None while none runs, or not here."""
    if directory is None:
        return None
    try:
        pid = int((directory / "ovs-vswitchd.pid").read_text(encoding="ascii"))
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    name, _, rest = stat.rpartition(")")
    if "ovs-vswitchd" not in name:
        return None  # a number that was given again
    return f"{boot[:8]}.{pid}.{rest.split()[_START_TIME]}"


def _root(replica: Replica) -> OpenVSwitch | None:
    return next(each(replica, OpenVSwitch), None)
