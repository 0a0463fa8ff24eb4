# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve apply, get, delete, status, as typed."""

import json

import pytest
import yaml
from click.testing import CliRunner

from controller.cli import objects
from controller.cli.main import main
from tests.unit.api.backend import PENDING, STRANGER

TOPOLOGY = """
kind: host
name: hv1
ovsdb: tcp:192.0.2.11:6640
endpoints: [{address: 192.0.2.11}]
---
kind: option-schema
name: context
class: 0xff00
type: 1
length: 4
fields: [{name: tier, offset: 0, bits: 8}]
---
---
kind: network
name: blue
vni: 100
options: [context]
---
kind: port
name: web1
network: blue
mac: 02:00:00:00:00:01
addresses: [10.0.0.1]
options: {context: {tier: 2}}
"""


@pytest.fixture
def applied(run):
    assert run("apply", "-f", "-", text=TOPOLOGY).exit_code == 0
    return run


def test_apply_says_what_became_of_each(run):
    words = ["host/hv1", "option-schema/context", "network/blue", "port/web1"]
    first = run("apply", "-f", "-", text=TOPOLOGY)
    assert (first.exit_code, first.output.splitlines()) == (0, [f"{word} created" for word in words])
    again = run("apply", "-f", "-", text=TOPOLOGY)
    assert again.output.splitlines() == [f"{word} unchanged" for word in words]
    changed = run("apply", "-f", "-", text=TOPOLOGY.replace("tier: 2", "tier: 3"))
    assert changed.output.splitlines()[-1] == "port/web1 configured"


def test_apply_names_each_refusal_and_applies_the_rest(run, served):
    text = TOPOLOGY.replace("vni: 100", "vni: 0") + "---\nkind: network\nname: red\n"
    answer = run("apply", "-f", "-", text=text)
    assert answer.exit_code == 1
    created = ["host/hv1", "option-schema/context", "network/red"]
    assert answer.stdout.splitlines() == [f"{name} created" for name in created]
    network, port = answer.stderr.splitlines()
    assert network == "Error: <stdin>, document 3, network/blue: /vni: 0: want 1 to 12582911"
    assert port == "Error: <stdin>, document 4, port/web1: /network: there is no network blue"
    assert sorted(served.backend.intent.networks) == ["red"]


def test_a_file_of_any_size(run, served, monkeypatch):
    monkeypatch.setattr(objects, "_REQUEST_BYTES", 100)
    documents = [f"kind: network\nname: n{number:03}" for number in range(20)]
    answer = run("apply", "-f", "-", text="\n---\n".join([*documents, "kind: network\nname: Bad"]))
    assert answer.stdout.splitlines() == [f"network/n{number:03} created" for number in range(20)]
    assert "document 21, network/Bad: /name:" in answer.stderr
    assert len(served.backend.intent.networks) == 20


def test_nothing_of_a_file_is_applied_that_cannot_be_read(run, served):
    assert run("apply", "-f", "-", text="kind: network\nname: a\n---\nkind: [").exit_code == 1
    assert run("apply", "-f", "-", text="kind: network\nname: a\n---\nkind: flow\nname: x").exit_code == 2
    assert not served.backend.intent.networks


def test_apply_takes_plurals(run):
    assert run("apply", "-f", "-", text="kind: networks\nname: a").output == "network/a created\n"


def test_apply_tells_a_refusal_with_its_place(run, served):
    answer = run("apply", "-f", "-", text=TOPOLOGY.replace("vni: 100", "vni: 0"))
    assert answer.exit_code == 1
    for part in ("document 3", "network/blue", "/vni", "want 1 to 12582911"):
        assert part in answer.output
    assert not served.backend.intent.ports
    assert "context" in served.backend.intent.option_schemas


def test_apply_names_a_nested_field(run):
    text = "kind: host\nname: hv1\nendpoints: [{address: 7}]"
    answer = run("apply", "-f", "-", text=text)
    assert (answer.exit_code, "/endpoints/0/address" in answer.output) == (1, True)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("kind: [", "line"),
        ("name: blue", "document 1"),
        ("kind: network\nname: a\n---\nkind: network", "document 2"),
        ("just text", "document 1"),
        ("- kind: network", "document 1"),
        ("kind: flow\nname: x", "no kind"),
        ("kind: network\nname: a\nvni: 1\nvni: 2", "twice"),
        ("kind: network\nname: a\ncolour: red", "/colour"),
        ("kind: network\nname: ../hosts/x", "network/../hosts/x"),
    ],
)
def test_bad_files(run, served, text, part):
    answer = run("apply", "-f", "-", text=text)
    assert answer.exit_code in (1, 2)
    assert part in answer.output
    assert "Traceback" not in answer.output
    assert answer.exception is None or isinstance(answer.exception, SystemExit)
    assert not served.backend.intent.hosts


def test_numbers_and_dates_stay_what_was_typed(run, served):
    text = "kind: network\nname: blue\n---\nkind: port\nname: p\nnetwork: blue\nmac: 10:20:30:40:50:59\n"
    assert run("apply", "-f", "-", text=text).exit_code == 0
    assert served.backend.intent.ports["p"].spec.mac == 0x102030405059


def test_apply_waits_and_says_what_is_not_programmed(run, served):
    assert run("apply", "--wait", "-f", "-", text="kind: network\nname: a").exit_code == 0
    assert len(served.backend.waited_for) == 1
    served.backend.programmed = PENDING
    answer = run("apply", "--wait", "-f", "-", text="kind: network\nname: b")
    assert answer.exit_code == 1
    assert "Pending" in answer.output


def test_get_as_a_table(applied):
    answer = applied("get", "ports")
    assert answer.exit_code == 0
    head, row = answer.output.splitlines()
    assert head.split("\t") == ["NAME", "SPEC", "STATUS", "REVISION"]
    assert row.startswith("web1\tnetwork=blue, mac=02:00:00:00:00:01")
    assert applied("get", "port", "web1").output == answer.output


def test_get_as_json_and_yaml(applied):
    one = json.loads(applied("get", "port", "web1", "-o", "json").output)
    assert one["spec"]["options"] == {"context": {"tier": 2}}
    assert json.loads(applied("get", "port", "-o", "json").output) == [one]
    assert list(yaml.safe_load_all(applied("get", "port", "-o", "yaml").output)) == [one]


def test_get_follows_pages(run):
    names = [f"n{number:03}" for number in range(120)]
    text = "\n---\n".join(f"kind: network\nname: {name}" for name in names)
    assert run("apply", "-f", "-", text=text).exit_code == 0
    assert [one["name"] for one in json.loads(run("get", "network", "-o", "json").output)] == names


def test_get_of_nothing(run):
    assert run("get", "network", "-o", "json").output == "[]\n"
    answer = run("get", "network", "blue")
    assert (answer.exit_code, "network/blue" in answer.output) == (1, True)
    answer = run("get", "flow")
    assert (answer.exit_code, "option-schema" in answer.output) == (2, True)
    assert run("get", "tunnels").output == "SOURCE\tDESTINATION\tNETWORKS\tPROGRAMMED\n"


def test_delete(applied, served):
    answer = applied("delete", "network", "blue")
    assert (answer.exit_code, "port/web1" in answer.output) == (1, True)
    assert applied("delete", "port", "web1").output == "port/web1 deleted\n"
    assert applied("delete", "--wait", "network", "blue").exit_code == 0
    assert not served.backend.intent.networks
    assert applied("delete", "network", "blue").exit_code == 1


def test_status(applied, served):
    served.backend.strangers = (STRANGER,)
    answer = applied("status")
    assert answer.exit_code == 0
    assert answer.output.startswith("ovs-geneve 1.2.3, revision 4: 1 host, 1 network, 1 port")
    assert "hv1\t3.1.0\tnot told\t12\tAccepted, Programmed" in answer.output
    assert "last change: revision 7, 3 parts compiled, 2 hosts; 40 messages sent" in answer.output
    assert "waiting to be enrolled: hv9 from tcp:192.0.2.9:40000" in answer.output


@pytest.mark.parametrize("command", [["status"], ["get", "port"], ["delete", "port", "x"]])
@pytest.mark.parametrize("server", ["unix:/nowhere/rest.sock", "127.0.0.1:1"])
def test_no_controller(httpcore_leaks, command, server):
    answer = CliRunner().invoke(main, [*command, "--server", server])
    assert answer.exit_code == 1
    assert f"no controller at {server}" in answer.output


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["apply"],
        ["get"],
        ["delete"],
        ["status"],
        ["decode"],
        ["controller"],
        ["lab"],
        *(["lab", name] for name in ("up", "down", "exec", "list", "plug", "move", "run", "demo")),
    ],
)
def test_every_command_explains_itself(command):
    answer = CliRunner().invoke(main, [*command, "--help"])
    assert answer.exit_code == 0
    assert answer.output.startswith("Usage: ")


def test_unknown_commands_and_the_version():
    assert CliRunner().invoke(main, ["frobnicate"]).exit_code == 2
    assert "version" in CliRunner().invoke(main, ["--version"]).output


def test_profiles_in_a_table(run):
    lines = run("get", "option-profiles").output.splitlines()
    assert "ovn\tports\t0x0102\t0x80\t4\tingress:15, egress:16" in lines
    assert "int\ttelemetry\t0x0103\tany\tany\tdata" in lines
    assert run("get", "option-profile", "cilium").output.count("0x014b") == 2
