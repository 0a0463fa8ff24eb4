# SPDX-License-Identifier: Apache-2.0
"""ovs-geneve decode of a capture made here; ovs-geneve lab where there is none."""

import struct

import pytest
from click.testing import CliRunner

from controller.cli.main import main

SCHEMAS = """
kind: option-schema
name: context
class: 0xff00
type: 1
length: 4
fields: [{name: tier, offset: 0, bits: 8}, {name: zone, offset: 8, bits: 16}]
"""
GENEVE = bytes.fromhex("02 00 6558 000064 00ff00 01 01 02000700") + bytes(14)


def frame(payload, port=6081):
    udp = struct.pack("!HHHH", 50000, port, 8 + len(payload), 0) + payload
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, b"\xc0\0\2\1", b"\xc0\0\2\2")
    return bytes(12) + b"\x08\x00" + ip + udp


@pytest.fixture
def capture(tmp_path):
    """Two packets with an option, one that is no GENEVE, one cut short inside its options."""
    frames = [frame(GENEVE), frame(b"x", port=53), frame(GENEVE), frame(GENEVE[:12])]
    data = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
    for one in frames:
        data += struct.pack("<IIII", 1, 0, len(one), len(one)) + one
    path = tmp_path / "some.pcap"
    path.write_bytes(data)
    return str(path)


@pytest.fixture
def schemas(tmp_path):
    path = tmp_path / "schemas.yaml"
    path.write_text(SCHEMAS)
    return str(path)


def decode(*arguments):
    return CliRunner().invoke(main, ["decode", *arguments])


def test_options_by_name(capture, schemas):
    answer = decode(capture, "--schemas", schemas)
    lines = answer.output.splitlines()
    assert answer.exit_code == 0
    assert "vni 100" in lines[0]
    assert "context{tier=2 zone=7}" in lines[0]
    assert lines[1] == lines[0]
    assert lines[2].startswith("malformed: ")
    assert len(lines) == 3


def test_as_a_tree(capture, schemas):
    output = decode(capture, "--tree", "-n", "1", "--schemas", schemas).output
    assert "    tier = 2\n    zone = 7\n" in output
    assert output.count("option 0") == 1


def test_schemas_of_the_controller(capture, run, tmp_path):
    run("apply", "-f", "-", text=SCHEMAS)
    assert "context{tier=2 zone=7}" in run("decode", capture).output


def test_without_schemas_options_are_bytes(capture, tmp_path):
    other = tmp_path / "none.yaml"
    other.write_text("kind: network\nname: blue\n")
    assert "0xff00/0x01" in decode(capture, "--schemas", str(other), "-n", "1").output


def test_a_named_controller_that_does_not_answer(httpcore_leaks, capture):
    answer = decode(capture, "--server", "unix:/nowhere/rest.sock")
    assert (answer.exit_code, "no controller at" in answer.output) == (1, True)


def test_what_is_no_capture(tmp_path, schemas):
    path = tmp_path / "text"
    path.write_text("this is no capture at all")
    answer = decode(str(path), "--schemas", schemas)
    assert (answer.exit_code, answer.output.startswith("Error: ")) == (1, True)


@pytest.mark.parametrize("arguments", [[], ["/nowhere/file"], ["-", "--live", "lo"], ["-", "--port", "0"]])
def test_bad_arguments(arguments):
    assert decode(*arguments).exit_code == 2


def test_bad_schemas(capture, tmp_path):
    path = tmp_path / "schemas.yaml"
    path.write_text(SCHEMAS.replace("length: 4", "length: 5"))
    answer = decode(capture, "--schemas", str(path))
    assert answer.exit_code == 1
    assert "option-schema context" in answer.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["up", "--hosts", "0"],
        ["up", "--hosts", "many"],
        ["up", "--underlay", "token-ring"],
        ["run", "--hosts", "2"],
        ["exec"],
        ["exec", "web1"],
        ["plug", "web1"],
        ["plug", "web1", "hv1"],
        ["move", "web1"],
    ],
)
def test_bad_arguments_of_the_lab(arguments):
    assert CliRunner().invoke(main, ["lab", *arguments]).exit_code == 2


@pytest.mark.parametrize("arguments", [["list"], ["exec", "web1", "--", "true"], ["move", "web1", "hv1"]])
def test_no_lab(arguments):
    command = ["lab", arguments[0], "--name", "nolab", *arguments[1:]]
    answer = CliRunner().invoke(main, command)
    assert answer.exit_code == 1
    assert answer.output.startswith("Error: ")
    assert "Traceback" not in answer.output


def test_the_lab_needs_root(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    answer = CliRunner().invoke(main, ["lab", "up", "--name", "nolab"])
    assert answer.exit_code == 1
    assert "root" in answer.output
