# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve dissector: where it takes what is declared from. tests/functional runs what it writes."""

import pytest
from click.testing import CliRunner

from controller.cli.main import main

OBJECTS = """
kind: option-schema
name: large
class: 0xff00
type: 2
length: 8
fields: [{name: address, type: ipv4, offset: 0, bits: 32}]
---
kind: option-schema
name: context
class: 0xff00
type: 1
length: 4
fields: [{name: tier, offset: 0, bits: 8}]
---
kind: network
name: blue
vni: 100
options: [context, large]
---
kind: network
name: red
vni: 101
options: [context]
"""

BLUE = (
    "(ip and udp dst port 6081 and udp[8] = 5 and udp[12:4] & 0xffffff00 = 0x00006400 "
    "and udp[28:4] & 0xffffff1f = 0xff000101 and udp[32:4] & 0xff000000 = 0x02000000) or "
    "(ip6 and udp dst port 6081 and ip6[48] = 5 and ip6[52:4] & 0xffffff00 = 0x00006400 "
    "and ip6[68:4] & 0xffffff1f = 0xff000101 and ip6[72:4] & 0xff000000 = 0x02000000)\n"
)


@pytest.fixture
def objects(tmp_path):
    path = tmp_path / "objects.yaml"
    path.write_text(OBJECTS)
    return str(path)


def dissector(*arguments):
    return CliRunner().invoke(main, ["dissector", *arguments])


def test_a_plugin_from_a_file(objects):
    answer = dissector("--schemas", objects)
    assert answer.exit_code == 0
    assert '"ovsgeneve.context.tier"' in answer.output
    assert '"ovsgeneve.profile.ovn.ports.egress"' in answer.output
    assert answer.output.rstrip().endswith("register_postdissector(protocol)")


def test_an_option_of_a_profile_has_its_fields(tmp_path):
    path = tmp_path / "objects.yaml"
    path.write_text("{kind: option-schema, name: theirs, class: 0x0102, type: 0x80, length: 4, profile: ovn}")
    assert '"ovsgeneve.theirs.egress"' in dissector("--schemas", str(path)).output


def test_a_plugin_from_the_controller(run):
    run("apply", "-f", "-", text=OBJECTS)
    assert '"ovsgeneve.large.address"' in run("dissector").output


def test_an_option_is_where_its_slot_puts_it(objects, run):
    arguments = ("--format", "tcpdump", "--network", "blue", "--option", "context.tier=2")
    assert dissector(*arguments, "--schemas", objects).output == BLUE
    run("apply", "-f", "-", text=OBJECTS)
    assert run("dissector", *arguments).output == BLUE
    red = dissector(*arguments[:3], "red", *arguments[4:], "--schemas", objects).output
    assert "udp[8] = 2" in red
    assert "udp[16:4] & 0xffffff1f = 0xff000101" in red


def test_an_option_that_only_others_send_takes_no_room(tmp_path):
    path = tmp_path / "objects.yaml"
    path.write_text(OBJECTS.replace("length: 8\n", "length: 8\ndirection: receive\n"))
    arguments = ("--format", "tcpdump", "--network", "blue", "--schemas", str(path), "--option")
    assert "udp[16:4] & 0xffffff1f = 0xff000101" in dissector(*arguments, "context.tier=2").output
    assert "large: is not" in dissector(*arguments, "large.address=10.0.0.1").output


def test_a_filter_without_a_network(objects):
    arguments = ("--format", "tcpdump", "--port", "6082")
    assert dissector(*arguments).output == "udp dst port 6082\n"


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["--network", "blue"], 2, "go with --format tcpdump"),
        (["--format", "tcpdump", "--option", "context.tier=2"], 2, "wants --network"),
        (["--format", "tcpdump", "--network", "green"], 1, "there is no network green"),
        (
            ["--format", "tcpdump", "--network", "red", "--option", "large.address=1.2.3.4"],
            1,
            "large: is not",
        ),
        (["--format", "tcpdump", "--network", "red", "--option", "context.tier=x"], 1, "want a number"),
        (["--format", "pcapng"], 2, "pcapng"),
    ],
)
def test_what_is_refused(objects, arguments, code, reason):
    answer = dissector(*arguments, "--schemas", objects)
    assert (answer.exit_code, reason in answer.output) == (code, True)


def test_without_a_controller_the_profiles_are_left(httpcore_leaks, monkeypatch):
    monkeypatch.setattr("controller.cli.declared.DEFAULT_SERVER", "unix:/nowhere/rest.sock")
    answer = dissector()
    assert answer.exit_code == 0
    assert "no controller answers" in answer.output
    assert "ovsgeneve.profile.ovn.ports" in answer.output
    refused = dissector("--format", "tcpdump", "--network", "blue")
    assert (refused.exit_code, "no controller at" in refused.output) == (1, True)
