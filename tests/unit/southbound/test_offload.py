# SPDX-License-Identifier: Apache-2.0
"""Which ovs-vswitchd runs, and what is said of a host whose own does something else than is set."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.reconciler.status import Truth, offloading
from controller.southbound.offload import vswitchd_process
from controller.southbound.ports import OffloadState
from ovs_geneve.ovsdb.offload import OffloadSetting

OFF, ON = OffloadSetting(enabled=False), OffloadSetting(enabled=True)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Something that is called as ovs-vswitchd is."""
    program = tmp_path / "ovs-vswitchd"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"]) as process:
        (tmp_path / "ovs-vswitchd.pid").write_text(f"{process.pid}\n", encoding="ascii")
        yield process
        process.kill()


def test_a_process_is_known_again(tmp_path: Path, daemon: subprocess.Popen[bytes]) -> None:
    first = vswitchd_process(tmp_path)
    assert first is not None
    assert f".{daemon.pid}." in first
    assert vswitchd_process(tmp_path) == first


@pytest.mark.parametrize("pid", [None, "", "x", str(os.getpid()), "99999999"])
def test_there_is_none_where_none_runs(tmp_path: Path, pid: str | None) -> None:
    if pid is not None:
        (tmp_path / "ovs-vswitchd.pid").write_text(pid, encoding="ascii")
    assert vswitchd_process(tmp_path) is None
    assert vswitchd_process(None) is None


@pytest.mark.parametrize(
    ("state", "status", "reason"),
    [
        (OffloadState(ON, ON, ON), Truth.TRUE, "Running"),
        (OffloadState(OFF, OFF, ON), Truth.FALSE, "OffloadNeedsRestart"),
        (OffloadState(ON, ON, None), Truth.UNKNOWN, "NotSeen"),
        (OffloadState(ON, OFF, OFF), Truth.UNKNOWN, "Pending"),
        (OffloadState(ON, OFF, OFF, "others"), Truth.FALSE, "OffloadNotOwned"),
    ],
)
def test_the_condition(state: OffloadState, status: Truth, reason: str) -> None:
    (condition,) = offloading(state)
    assert (condition.type, condition.status, condition.reason) == ("Offload", status, reason)


def test_the_condition_says_what_to_run() -> None:
    (condition,) = offloading(OffloadState(OFF, OFF, ON))
    assert "hw-offload=false is set" in condition.message
    assert "runs with hw-offload=true tc-policy=none" in condition.message
    assert "`systemctl reload ovs-vswitchd`" in condition.message


def test_nothing_is_said_of_a_host_that_is_left_alone() -> None:
    assert offloading(None) == ()
    assert offloading(OffloadState(None, ON, ON)) == ()
    assert offloading(OffloadState(None, OFF, None)) == ()
    assert offloading(OffloadState(None, OFF, ON, "others")) == ()


def test_a_process_that_goes_on_with_what_was_declared_is_said() -> None:
    (condition,) = offloading(OffloadState(None, OFF, ON))
    assert (condition.status, condition.reason) == (Truth.TRUE, "LeftAlone")
    assert "hw-offload=false is the machine's own again" in condition.message
    assert "`systemctl reload ovs-vswitchd`" in condition.message
