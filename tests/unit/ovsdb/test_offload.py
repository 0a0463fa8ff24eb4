# SPDX-License-Identifier: Apache-2.0
"""Whose the setting of a machine is, and what an ovs-vswitchd does that was told something else before."""

from __future__ import annotations

import json
from dataclasses import replace
from uuid import uuid4

import pytest

from ovs_geneve.ovsdb.offload import (
    NOTE_KEY,
    OffloadNotOwned,
    OffloadSetting,
    note_in,
    plan_offload,
    running_setting,
    setting_in,
)
from ovs_geneve.ovsdb.rows import OpenVSwitch

OFF, ON = OffloadSetting(enabled=False), OffloadSetting(enabled=True)
SKIP_HW = OffloadSetting(enabled=True, policy="skip_hw")


class Machine:
    """A database whose mutations are carried out, and the ovs-vswitchd that reads it."""

    def __init__(self, **other_config: str) -> None:
        self.root = OpenVSwitch(
            uuid=uuid4(),
            bridges=frozenset(),
            manager_options=frozenset(),
            external_ids={},
            other_config=other_config,
            cur_cfg=0,
            next_cfg=0,
            ovs_version=None,
            db_version=None,
            datapath_types=frozenset(),
            iface_types=frozenset(),
            dpdk_initialized=False,
        )
        self.start()

    def start(self, process: str = "1") -> None:
        """Start an ovs-vswitchd, as `netdev_set_flow_api_enabled` has it."""
        self.process, self.does = process, OFF
        self._read()

    def set(self, **keys: str) -> None:
        """What a person does with ovs-vsctl."""
        self.root = replace(self.root, other_config={**self.root.other_config, **keys})
        self._read()

    def want(self, wanted: OffloadSetting | None, owner: str = "us", *, seen: bool = True) -> int:
        process = self.process if seen else None
        operations = plan_offload(wanted, self.root, owner, process)
        for operation in operations:
            for mutation in operation.mutations:
                held = dict(getattr(self.root, mutation.column))
                if mutation.mutator == "delete":
                    held = {key: value for key, value in held.items() if key not in mutation.value}
                else:
                    assert not held.keys() & mutation.value.keys(), "an insert keeps what is there"
                    held |= mutation.value
                self.root = replace(self.root, **{mutation.column: held})
        self._read()
        assert plan_offload(wanted, self.root, owner, process) == []
        return len(operations)

    @property
    def said(self) -> OffloadSetting:
        return running_setting(self.root, self.process)

    def _read(self) -> None:
        if not self.does.enabled:
            self.does = setting_in(self.root.other_config)


@pytest.mark.parametrize(
    "before", [{}, {"hw-offload": "false"}, {"hw-offload": "true", "tc-policy": "skip_sw"}]
)
@pytest.mark.parametrize("wanted", [OFF, ON, SKIP_HW])
def test_what_was_there_comes_back(before: dict[str, str], wanted: OffloadSetting) -> None:
    machine = Machine(**before, **{"flow-limit": "1000"})
    machine.want(wanted)
    assert setting_in(machine.root.other_config) == wanted
    machine.want(None)
    assert machine.root.other_config == {**before, "flow-limit": "1000"}
    machine.want(None, seen=False)
    assert machine.root.external_ids == {}


@pytest.mark.parametrize("wanted", [OFF, ON, SKIP_HW])
@pytest.mark.parametrize("before", [{}, {"hw-offload": "true", "tc-policy": "skip_sw"}])
def test_what_a_process_goes_on_with_is_known_until_another_one_runs(
    before: dict[str, str], wanted: OffloadSetting
) -> None:
    machine = Machine(**before)
    machine.want(wanted)
    machine.want(None)
    assert machine.said == machine.does
    machine.want(SKIP_HW)
    assert machine.said == machine.does
    machine.want(None)
    assert machine.root.other_config == before
    assert machine.said == machine.does
    machine.start("2")
    machine.want(None)
    assert machine.said == machine.does == setting_in(before)
    assert machine.root.external_ids == {}


def test_what_a_process_goes_on_with_keeps_no_other_fabric_away() -> None:
    machine = Machine()
    machine.want(ON)
    machine.want(None)
    machine.want(SKIP_HW, "others")
    assert setting_in(machine.root.other_config) == SKIP_HW
    assert machine.said == machine.does == ON
    with pytest.raises(OffloadNotOwned, match="'others'"):
        machine.want(ON)


@pytest.mark.parametrize("wanted", [OFF, ON, SKIP_HW])
@pytest.mark.parametrize("then", [OFF, ON, SKIP_HW])
def test_what_was_there_comes_back_after_a_change_of_mind(
    wanted: OffloadSetting, then: OffloadSetting
) -> None:
    before = {"hw-offload": "true", "tc-policy": "skip_sw"}
    machine = Machine(**before)
    machine.want(wanted)
    machine.want(then)
    assert setting_in(machine.root.other_config) == then
    machine.want(None)
    assert machine.root.other_config == before


def test_what_somebody_set_after_us_stays_his() -> None:
    machine = Machine()
    machine.want(ON)
    machine.set(**{"tc-policy": "skip_sw"})
    machine.want(None)
    assert machine.root.other_config == {"tc-policy": "skip_sw"}


def test_a_host_that_is_left_alone_is_not_written_to() -> None:
    machine = Machine(**{"hw-offload": "true"})
    assert machine.want(None) == 0


def test_another_fabric_keeps_what_it_set() -> None:
    machine = Machine()
    machine.want(ON, "others")
    with pytest.raises(OffloadNotOwned, match="'others'"):
        machine.want(SKIP_HW)
    assert machine.want(None) == 0
    assert setting_in(machine.root.other_config) == ON


@pytest.mark.parametrize(
    ("first", "then"), [(None, ON), (OFF, ON), (OFF, SKIP_HW), (ON, OFF), (ON, SKIP_HW), (SKIP_HW, ON)]
)
def test_what_runs_is_told_from_what_is_set(first: OffloadSetting | None, then: OffloadSetting) -> None:
    machine = Machine()
    machine.want(first)
    machine.want(then)
    assert machine.said == machine.does
    assert (machine.said == then) == (first in (None, OFF))
    machine.start("2")
    machine.want(then)
    assert machine.said == machine.does == then
    machine.want(ON if then == OFF else OFF)
    assert machine.said == machine.does


def test_a_process_that_was_enabled_before_we_came_keeps_its_policy() -> None:
    machine = Machine(**{"hw-offload": "true", "tc-policy": "skip_hw"})
    machine.want(ON)
    assert machine.said == machine.does == SKIP_HW


def test_where_the_process_is_not_seen_nothing_is_remembered_of_it() -> None:
    machine = Machine()
    machine.want(ON, seen=False)
    note = note_in(machine.root)
    assert note is not None
    assert note.running is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '"x"', json.dumps({"owner": "us", "found": [], "put": {}}), "{}"]
)
def test_a_note_that_somebody_wrote_over_is_made_anew(text: str) -> None:
    machine = Machine()
    machine.root = replace(machine.root, external_ids={NOTE_KEY: text})
    machine.want(ON)
    assert setting_in(machine.root.other_config) == ON
