# SPDX-License-Identifier: Apache-2.0
"""The guest runner, as far as it goes without a guest; one that boots is in tests/vm."""

from __future__ import annotations

import io
import lzma
import socket
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vm.__main__ import Outcome, report
from tests.vm.datapath import terse
from tests.vm.debian import Unavailable
from tests.vm.facts import Book, Fact
from tests.vm.guest.initramfs import entry
from tests.vm.guest.packages import elf_of
from tests.vm.guest.scripts import command_script
from tests.vm.guest.streams import MARK, TIMED_OUT, Output, follow


@given(st.lists(st.binary(max_size=20)), st.binary(max_size=8))
def test_an_output_ends_at_its_mark_however_it_is_cut(pieces: list[bytes], rest: bytes) -> None:
    said = b"".join(pieces).replace(MARK, b"")
    output, got = Output(), b""
    whole = said + MARK + rest
    for at in range(0, len(whole), 3):
        assert not output.ended or not got.startswith(whole[: at + 1])
        got += output.feed(whole[at : at + 3]) if not output.ended else b""
    assert output.ended
    assert got == said


def outcome(*said: bytes, timeout: float = 5.0, ends: bool = False) -> tuple[int, list[bytes]]:
    pairs = [socket.socketpair() for _ in said]
    sinks = [io.BytesIO(), io.BytesIO()]
    qemu = subprocess.Popen(["true"] if ends else ["sleep", "30"])
    try:
        for (_, theirs), data in zip(pairs, said, strict=True):
            theirs.sendall(data)
            if ends:
                theirs.close()
        return follow([ours for ours, _ in pairs], sinks, qemu, timeout), [each.getvalue() for each in sinks]
    finally:
        qemu.kill()
        qemu.wait()
        for pair in pairs:
            for each in pair:
                each.close()


def test_output_and_exit_code_come_back() -> None:
    assert outcome(b"out" + MARK, b"err" + MARK, b"3\n") == (3, [b"out", b"err"])


def test_a_command_that_does_not_end_is_given_up() -> None:
    assert outcome(b"out", b"", b"", timeout=0.1) == (TIMED_OUT, [b"out", b""])


def test_a_guest_that_dies_is_no_success() -> None:
    with pytest.raises(Unavailable, match="ended before"):
        outcome(b"out", b"", b"", ends=True)


def test_an_elf_kernel_is_taken_out_of_its_wrapping() -> None:
    elf = b"\x7fELF" + bytes(1000)
    image = b"setup" + b"\xfd7zXZ\x00 no archive" + lzma.compress(elf) + b"tail"
    assert elf_of(image) == elf
    assert elf_of(b"another format") == b"another format"


def test_a_newc_header_is_as_the_kernel_s_documentation_has_it() -> None:
    made = entry(7, "a", stat.S_IFREG | 0o644, b"xyz")
    assert made[:6] == b"070701"
    fields = [int(made[at : at + 8], 16) for at in range(6, 110, 8)]
    assert fields == [7, 0o100644, 0, 0, 1, 0, 3, 0, 0, 0, 0, 2, 0]
    assert made[110:] == b"a\0xyz\0"


def test_a_command_runs_as_it_was_typed(tmp_path: Path) -> None:
    script = command_script(["printf", "%s|", "a b", "$X", "'"], tmp_path, {"X": "x'y"})
    said = subprocess.run(["sh", "-c", script + "\n"], capture_output=True, check=True, text=True).stdout
    assert said == "a b|$X|'|"


def test_the_report_lists_facts_and_failures(tmp_path: Path) -> None:
    book = Book(tmp_path / "facts")
    assert book.facts() == []
    fact = Fact("test_a", "options are set", "set(tunnel(…))")
    book.add(fact)
    assert book.facts() == [fact]
    good = Outcome(name="test_a.py", code=0, seconds=2.0, facts=book.facts())
    assert report([good]).endswith("1 facts, nothing failed")
    bad = Outcome(name="test_b.py", code=1, seconds=3.0, facts=[])
    text = report([good, bad])
    assert "options are set" in text
    assert "set(tunnel(…))" in text
    assert "test_b.py: FAILED (exit 1), 3 s" in text
    assert text.endswith("failed: test_b.py")


DUMPED = (
    "ufid:cf3b1f4c-0000-4000-8000-000000000000, skb_priority(0/0),tunnel(tun_id=0x4d,src=10.9.0.2,dst=10.9.0.1,ttl=0/0,"
    "geneve({class=0xffff,type=0x80,len=4,0x1234/0xff00}),flags(-df+key)),skb_mark(0/0),ct_label(0/0),"
    "in_port(genev_sys_6081),eth(src=00:00:00:00:00:00/00:00:00:00:00:00,dst=02:00:00:00:00:02),eth_type(0x86dd),"
    "ipv6(src=::/::,dst=::/::,label=0/0,proto=58,hlimit=0/0,frag=no),key32(00 00/00 00), packets:3, bytes:294, "
    "used:1.2s, dp:ovs, actions:p1"
)


def test_evidence_is_what_a_megaflow_matches_on() -> None:
    assert terse(DUMPED) == (
        "tunnel(tun_id=0x4d,src=10.9.0.2,dst=10.9.0.1,geneve({class=0xffff,type=0x80,len=4,0x1234/0xff00}),"
        "flags(-df+key)),in_port(genev_sys_6081),eth(dst=02:00:00:00:00:02),eth_type(0x86dd),"
        "ipv6(proto=58,frag=no), actions:p1"
    )
