# SPDX-License-Identifier: Apache-2.0
"""A real Open vSwitch in a folder of its own joins a real controller, and leaves as it was."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.cli.host import Rest
from controller.errors import SetupError
from controller.intent.model import HostKind
from controller.joining import layout
from controller.joining.carry_out import carry_out
from controller.joining.facts import ControllerAddress, MachineFacts, Wish
from controller.joining.join import plan_join
from controller.joining.leave import plan_leave
from controller.joining.observe import Machine, observe, read_record
from controller.joining.steps import AwaitAgent, Plan, Run, render
from tests.functional.controllers import Controller, until
from tests.functional.ovsdb.conftest import Daemons, free_port

THEIRS = "ptcp:0:127.0.0.1"


@pytest.fixture
def open_vswitch(tmp_path: Path) -> Iterator[Daemons]:
    """One as ovs-ctl starts it, with a manager of somebody else."""
    folder = tmp_path / "ovs"
    folder.mkdir()
    daemons = Daemons(folder)
    daemons.create_database()
    daemons.start_ovsdb("--remote=db:Open_vSwitch,Open_vSwitch,manager_options")
    about = ("set", "Open_vSwitch", ".", "ovs_version=3.1.0", f"external_ids:rundir={folder}")
    daemons.vsctl("--no-wait", "init", "--", *about, "external_ids:system-id=0b2d-77")
    daemons.start_vswitchd()
    (folder / "ovs-vswitchd.pid").write_text(f"{daemons.processes['ovs-vswitchd'].pid}\n")
    daemons.vsctl("set-manager", THEIRS)
    yield daemons
    daemons.end_all()


class Site:
    """A machine below a folder, its Open vSwitch, and a controller elsewhere."""

    def __init__(self, folder: Path, daemons: Daemons) -> None:
        self.daemons = daemons
        self.port = free_port()
        listen = ("--ovsdb", f"ptcp:{self.port}:127.0.0.1", "--openflow", f"127.0.0.1:{free_port()}")
        (folder / "c").mkdir()
        self.controller = Controller(folder / "c", *listen)
        self.machine = Machine(ovsdb=daemons.remote, root=folder / "root")
        self.rest = f"unix:{folder}/c/rest.sock"
        self.wish = Wish(
            host="hv1",
            kind=HostKind.OVS,
            controller=ControllerAddress(rest=self.rest, manager=f"tcp:127.0.0.1:{self.port}"),
            endpoint="192.0.2.11",
        )

    def facts(self) -> MachineFacts:
        answer = self.controller.http.get("/v1/hosts/hv1")
        declared = answer.json()["spec"] if answer.is_success else None
        joined = read_record(self.machine)
        seen = observe(self.machine, declared=declared, joined=joined, with_kernel=False)
        # Who may what on this machine, and what else is on it, is no matter of these tests.
        return replace(seen, root=True, port_holder="")

    def join(self) -> Plan:
        return self._do(plan_join(self.wish, self.facts(), ""))

    def leave(self) -> Plan:
        return self._do(plan_leave(self.facts()))

    def managers(self) -> set[str]:
        return set(self.daemons.vsctl("get-manager").split())

    def _do(self, plan: Plan) -> Plan:
        assert plan.refusals == ()
        carry_out(plan, self.machine, Rest(), lambda step: None)
        return plan


@pytest.fixture
def site(tmp_path: Path, open_vswitch: Daemons) -> Iterator[Site]:
    made = Site(tmp_path, open_vswitch)
    made.controller.start()
    yield made
    made.controller.end()
    made.controller.http.close()


def programmed(site: Site) -> bool:
    conditions = site.controller.http.get("/v1/hosts/hv1").json()["status"]["conditions"]
    return any(one["type"] == "Programmed" and one["status"] == "True" for one in conditions)


def test_a_machine_joins_once_and_leaves_as_it_was(site: Site) -> None:
    site.join()
    assert site.managers() == {THEIRS, f"tcp:127.0.0.1:{site.port}"}
    until(lambda: programmed(site), "the host is programmed")
    assert site.daemons.vsctl("list-br") == "br-int"
    assert site.join().steps == ()

    site.leave()
    assert site.managers() == {THEIRS}
    assert site.daemons.vsctl("list-br") == ""
    assert site.controller.http.get("/v1/hosts/hv1").status_code == 404
    assert [path for path in site.machine.root.rglob("*") if path.is_file()] == []
    assert site.leave().steps == ()


def test_a_manager_that_was_there_stays_when_the_host_leaves(site: Site) -> None:
    target = f"tcp:127.0.0.1:{site.port}"
    site.daemons.vsctl("set-manager", THEIRS, target)
    site.join()
    until(lambda: programmed(site), "the host is programmed")
    site.leave()
    assert site.managers() == {THEIRS, target}


def test_a_bridge_with_ports_of_others_stays_when_the_host_leaves(site: Site) -> None:
    site.join()
    until(lambda: programmed(site), "the host is programmed")
    site.daemons.vsctl("add-port", "br-int", "tap0", "--", "set", "Interface", "tap0", "type=dummy")
    site.leave()
    assert site.daemons.vsctl("list-ports", "br-int") == "tap0"


def test_a_controller_that_does_not_take_the_call_is_named(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.joining.carry_out._PATIENCE", 0.5)
    nowhere = f"tcp:127.0.0.1:{free_port()}"
    site.wish = replace(site.wish, controller=ControllerAddress(rest=site.rest, manager=nowhere))
    with pytest.raises(SetupError, match=r"takes the call: not within .*--ovsdb ptcp"):
        site.join()
    assert read_record(site.machine) is None
    # What it did so far is put right by the next join.
    site.wish = replace(
        site.wish, controller=replace(site.wish.controller, manager=f"tcp:127.0.0.1:{site.port}")
    )
    monkeypatch.undo()
    site.join()
    assert site.managers() == {THEIRS, f"tcp:127.0.0.1:{site.port}"}


def test_a_command_that_fails_is_shown_with_what_it_said(site: Site) -> None:
    plan = Plan(steps=(Run("a manager", ("ovs-vsctl", "--timeout=5", "get", "Manager", "x"), "look there"),))
    with pytest.raises(SetupError, match=r"a manager: ovs-vsctl: no row .* \(look there\)"):
        carry_out(plan, site.machine, Rest(), lambda step: None)


def test_an_agent_that_the_controller_does_not_hear_is_named(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its unit may start again and again: that it was started says nothing."""
    monkeypatch.setattr("controller.joining.carry_out._PATIENCE", 0.5)
    declared = {"kind": "linux", "endpoints": [{"address": "192.0.2.21"}]}
    site.controller.http.put("/v1/hosts/lx1", json=declared).raise_for_status()
    step = AwaitAgent("the controller hears it", site.rest, "lx1", "journalctl -u it")
    with pytest.raises(SetupError, match=r"the controller hears it: not within .* \(journalctl -u it\)"):
        carry_out(Plan(steps=(step,)), site.machine, Rest(), lambda step: None)
    with site.controller.http.stream(
        "GET", "/v1/hosts/lx1/kernel", headers={"Accept": "text/event-stream"}
    ) as stream:
        stream.raise_for_status()
        carry_out(Plan(steps=(step,)), site.machine, Rest(), lambda step: None)


@pytest.mark.parametrize("holds", [True, False])
def test_who_has_the_port_of_the_overlay_is_seen(holds: bool) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        if not holds:
            holder.close()
        seen = observe(Machine(), tunnel_port=port, with_kernel=False)
    assert seen.port_holder == (f"a process: ss -ulnp sport = {port}" if holds else "")


def test_commands_of_a_plan_are_what_ovs_vsctl_understands(site: Site) -> None:
    """A dry run prints them for an operator to paste."""
    plan = plan_join(site.wish, site.facts(), "")
    (text,) = (render(step) for step in plan.steps if isinstance(step, Run) and "create" in step.command)
    script = text.replace("ovs-vsctl", f"ovs-vsctl --db={site.daemons.remote}", 1)
    site.daemons.tool("sh", "-c", script)
    assert site.managers() == {THEIRS, f"tcp:127.0.0.1:{site.port}"}


def test_open_vswitch_that_is_not_running_is_seen(site: Site) -> None:
    site.daemons.end("ovs-vswitchd")
    (refusal,) = plan_join(site.wish, site.facts(), "").refusals
    assert refusal.reason == "ovs-vswitchd does not run"
    site.daemons.end("ovsdb-server")
    (refusal,) = plan_join(site.wish, site.facts(), "").refusals
    assert "OVSDB of Open vSwitch does not answer" in refusal.reason
    assert layout.RECORD not in (site.facts().files or {})
