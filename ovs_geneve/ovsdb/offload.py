# SPDX-License-Identifier: Apache-2.0
"""What a host's Open vSwitch hands to traffic control: `hw-offload` and `tc-policy` of its whole database. Pure.

The two belong to the machine, not to a bridge of ours. So what was there is written down beside them before we set
them, under `external_ids:ovs-geneve-offload`, and put back when nobody of ours wants them set any more; what somebody
changed after us stays theirs.

ovs-vswitchd looks at them once (OVS lib/netdev-offload.c, netdev_set_flow_api_enabled; lib/dpif-offload.c since 3.7):
the first time that it finds `hw-offload` true, and never again. Until then a process takes what it is told at run time;
from then on the database may say what it likes. `Running` is that memory of one process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ovs_geneve.ovsdb.operations import Mutate, Mutation, Operation, where_uuid
from ovs_geneve.ovsdb.rows import OpenVSwitch

NOTE_KEY = "ovs-geneve-offload"
"The key of external_ids under which we keep what we found and what we set."

_ENABLED, _POLICY = "hw-offload", "tc-policy"
POLICIES = ("none", "skip_hw", "skip_sw")


@dataclass(frozen=True, slots=True)
class OffloadSetting:
    """What ovs-vswitchd is to do, or does."""

    enabled: bool
    policy: str = "none"
    "Of POLICIES; means nothing while not enabled."

    def __str__(self) -> str:
        return f"{_ENABLED}=true {_POLICY}={self.policy}" if self.enabled else f"{_ENABLED}=false"

    @property
    def keys(self) -> dict[str, str]:
        """The keys of other_config that say so."""
        return {_ENABLED: "true", _POLICY: self.policy} if self.enabled else {_ENABLED: "false"}


@dataclass(frozen=True, slots=True)
class Running:
    """What one process of ovs-vswitchd does."""

    process: str
    setting: OffloadSetting


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadNote:
    """What we keep beside the setting."""

    owner: str
    found: Mapping[str, str | None]
    "The keys as they were; None for one that was not there."
    put: Mapping[str, str]
    "The keys as we set them last; none where the setting is the machine's own again."
    running: Running | None = None


class OffloadNotOwned(Exception):
    """Raised when another owner of ours keeps the setting of this machine."""

    def __init__(self, owner: str) -> None:
        super().__init__(f"{_ENABLED} of this machine is kept by owner {owner!r}")
        self.owner = owner


def setting_in(other_config: Mapping[str, str]) -> OffloadSetting:
    """Return what a database says."""
    # OVS lib/smap.c, smap_get_bool: "true" is true, in any case.
    enabled = other_config.get(_ENABLED, "false").lower() == "true"
    policy = other_config.get(_POLICY, "none")
    return OffloadSetting(enabled, policy if enabled and policy in POLICIES else "none")


def running_setting(root: OpenVSwitch, process: str) -> OffloadSetting:
    """Return what a process does: what it met first, or what it will meet, as long as it met none."""
    note = note_in(root)
    running = None if note is None else note.running
    if running is None or running.process != process or not running.setting.enabled:
        return setting_in(root.other_config)
    return running.setting


def plan_offload(
    wanted: OffloadSetting | None, root: OpenVSwitch, owner: str, process: str | None
) -> list[Operation]:
    """Give the operations that make the database say what is wanted; None puts back what we found.

    `process` is the ovs-vswitchd that runs now, None when that cannot be seen or nobody will ask any more: then nothing
    of ours is left behind. Raises OffloadNotOwned.
    """
    note = note_in(root)
    if note is not None and note.owner != owner:
        if wanted is None:
            return []
        if note.put:
            raise OffloadNotOwned(note.owner)
    if wanted is None:
        return [] if note is None else _let_go(root, note, process)
    put = wanted.keys
    before = {} if note is None else note.found
    found = {key: before.get(key, root.other_config.get(key)) for key in put}
    unwanted = {} if note is None else _restored(root, note)
    running = None if process is None else Running(process, running_setting(root, process))
    if running is not None and not running.setting.enabled:
        running = Running(running.process, wanted)
    return _changed(
        root, {**unwanted, **put}, OffloadNote(owner=owner, found=found, put=put, running=running)
    )


def note_in(root: OpenVSwitch) -> OffloadNote | None:
    """Read what we keep; None where there is nothing, or nothing that can be read."""
    text = root.external_ids.get(NOTE_KEY)
    try:
        return None if text is None else _decoded(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # somebody wrote over it: what was there before is lost with it


def _let_go(root: OpenVSwitch, note: OffloadNote, process: str | None) -> list[Operation]:
    """Put back what was found. What a process goes on with that was told something else stays written down."""
    restored = _restored(root, note)
    kept: OffloadNote | None = None
    if process is not None:
        there = {**root.other_config, **restored}
        does = running_setting(root, process)
        if does.enabled and does != setting_in({k: v for k, v in there.items() if v is not None}):
            kept = OffloadNote(owner=note.owner, found={}, put={}, running=Running(process, does))
    return _changed(root, restored, kept)


def _restored(root: OpenVSwitch, note: OffloadNote) -> dict[str, str | None]:
    return {
        key: before for key, before in note.found.items() if root.other_config.get(key) == note.put.get(key)
    }


def _changed(root: OpenVSwitch, keys: Mapping[str, str | None], note: OffloadNote | None) -> list[Operation]:
    told = None if note is None else _encoded(note)
    mutations = [
        *_set_keys("other_config", root.other_config, keys),
        *_set_keys("external_ids", root.external_ids, {NOTE_KEY: told}),
    ]
    return [Mutate("Open_vSwitch", where_uuid(root.uuid), tuple(mutations))] if mutations else []


def _set_keys(column: str, held: Mapping[str, str], wanted: Mapping[str, str | None]) -> Iterator[Mutation]:
    """An insert alone would keep the old value (RFC 7047 5.1, <mutation>)."""
    changed = {key: value for key, value in wanted.items() if held.get(key) != value}
    if gone := changed.keys() & held.keys():
        yield Mutation(column, "delete", gone)
    if new := {key: value for key, value in changed.items() if value is not None}:
        yield Mutation(column, "insert", new)


def _encoded(note: OffloadNote) -> str:
    document: dict[str, Any] = {"owner": note.owner, "found": dict(note.found), "put": dict(note.put)}
    if note.running is not None:
        setting = note.running.setting
        document["running"] = [note.running.process, setting.enabled, setting.policy]
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def _decoded(document: Any) -> OffloadNote:
    running = document.get("running")
    return OffloadNote(
        owner=str(document["owner"]),
        found={str(key): None if value is None else str(value) for key, value in document["found"].items()},
        put={str(key): str(value) for key, value in document["put"].items()},
        running=None if running is None else _decoded_running(*running),
    )


def _decoded_running(process: str, enabled: bool, policy: str) -> Running:
    return Running(str(process), OffloadSetting(bool(enabled), str(policy)))
