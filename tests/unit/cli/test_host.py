# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
from click.testing import CliRunner

from controller.cli import host as command
from controller.cli.main import main
from controller.errors import SetupError
from controller.joining.facts import HostKind, Joined, MachineFacts, OvsFacts

FACTS = MachineFacts(
    ovs=OvsFacts(version="3.4.1", system_id="0b2d"), source="192.0.2.11", systemd=False, kernel="6.1.0"
)


@pytest.fixture
def seen(monkeypatch):
    """What is seen of the machine, instead of this one; a test changes it."""
    facts = {"facts": FACTS, "taken": []}
    monkeypatch.setattr(command, "observe", lambda machine, **asked: facts["facts"])
    monkeypatch.setattr(command, "read_record", lambda machine: facts["facts"].joined)

    def take(plan, machine, api, say):
        for step in plan.steps:
            say(step)
            facts["taken"].append(step)

    monkeypatch.setattr(command, "carry_out", take)
    return facts


def run(*arguments):
    return CliRunner().invoke(main, ["host", *arguments])


def test_dry_run_prints_the_steps_and_takes_none(seen):
    done = run("join", "--controller", "tcp:192.0.2.1", "--name", "hv1", "--dry-run")
    assert done.exit_code == 0
    assert (
        "# Open vSwitch calls the controller; managers of others stay\novs-vsctl --timeout=15 -- "
        in done.stdout
    )
    assert "note: this host waits to be enrolled; on the controller: PUT /v1/hosts/hv1" in done.stderr
    assert seen["taken"] == []


def test_steps_are_named_as_they_are_taken(seen):
    done = run("join", "--controller", "tcp:192.0.2.1", "--name", "hv1")
    assert done.stdout.splitlines() == [
        "Open vSwitch calls the controller; managers of others stay",
        "the controller takes the call",
        "the record of this join",
        "hv1 is joined",
    ]
    assert len(seen["taken"]) == 3


def test_every_refusal_is_shown_with_what_helps(seen):
    seen["facts"] = replace(FACTS, root=False, ovs=None, installed=False)
    done = run("join", "--controller", "tcp:192.0.2.1", "--name", "hv1")
    assert done.exit_code == 1
    assert "joining changes the machine (run it as root)" in done.stderr
    assert "Open vSwitch is not installed (apt-get install openvswitch-switch" in done.stderr
    assert seen["taken"] == []


def test_a_step_that_fails_ends_it_with_its_advice(seen, monkeypatch):
    def fail(*_):
        raise SetupError("the controller takes the call: not within 15 s", "does it listen?")

    monkeypatch.setattr(command, "carry_out", fail)
    done = run("join", "--controller", "tcp:192.0.2.1", "--name", "hv1")
    assert done.exit_code == 1
    assert "Error: the controller takes the call: not within 15 s (does it listen?)" in done.stderr


def test_an_address_that_is_none_is_explained(seen):
    done = run("join", "--controller", "192.0.2.1")
    assert "want http://ADDRESS:6680" in done.stderr


def test_a_controller_that_does_not_answer_is_named(seen):
    done = run("join", "--controller", "http://127.0.0.1:9", "--name", "hv1")
    assert done.exit_code == 1
    assert "no controller at http://127.0.0.1:9" in done.stderr


def test_who_never_joined_has_nothing_to_leave(seen):
    done = run("leave")
    assert done.exit_code == 0
    assert done.stdout == "nothing to do\n"


def test_leaving_without_the_controller(seen):
    seen["facts"] = replace(
        FACTS, joined=Joined(host="hv1", kind=HostKind.OVS, rest="http://192.0.2.1:6680", manager="")
    )
    done = run("leave", "--local")
    assert done.stdout.splitlines()[-1] == "this machine has left"
    assert "note: the controller was not told: DELETE /v1/hosts/hv1" in done.stderr
