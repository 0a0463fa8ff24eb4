# SPDX-License-Identifier: Apache-2.0
"""The frame of a probe: its bytes, its limits, and what is none."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.geneve.probe import MAX_SIZE, MIN_SIZE, Pattern, Probe, decode, encode

PROBE = Probe(run=0x0102030405060708, sequence=9, pattern=Pattern.COMPLEMENT, size=MIN_SIZE)

probes = st.builds(
    Probe,
    run=st.integers(0, 2**64 - 1),
    sequence=st.integers(0, 2**32 - 1),
    pattern=st.sampled_from(Pattern),
    size=st.integers(MIN_SIZE, 9000),
    echo=st.booleans(),
)


def test_the_bytes_are_as_documented():
    # destination, source, EtherType, magic, version and pattern, size, run, sequence, filling
    assert encode(PROBE) == bytes.fromhex(
        "067667707201 067667707200 88b5 6770 0102 0040 0102030405060708 00000009"
    ) + bytes(range(32))


@given(probes)
def test_round_trip(probe):
    frame = encode(probe)
    assert len(frame) == probe.size
    assert decode(frame) == probe


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_or_read(frame):
    with suppress(DecodeError):
        assert encode(decode(frame)) == frame


@pytest.mark.parametrize("at", range(MIN_SIZE))
def test_a_changed_byte_is_no_secret(at):
    """But for run and sequence, which name another probe, and what a flow or the pattern may make of it."""
    frame = bytearray(encode(PROBE))
    frame[at] ^= 0x80
    if 20 <= at < 32:
        assert decode(bytes(frame)) != PROBE
    else:
        with pytest.raises(DecodeError):
            decode(bytes(frame))


@pytest.mark.parametrize("length", [0, 13, 31, 32, MIN_SIZE - 1])
def test_a_frame_cut_short_is_none(length):
    with pytest.raises(DecodeError):
        decode(encode(PROBE)[:length])


def test_a_flow_makes_an_echo_of_it():
    frame = encode(PROBE)
    assert decode(b"\x06\x76\x67\x70\x72\x02" + frame[6:]) == Probe(
        run=PROBE.run, sequence=9, pattern=PROBE.pattern, size=PROBE.size, echo=True
    )


@pytest.mark.parametrize(
    "what",
    [
        {"size": MIN_SIZE - 1},
        {"size": MAX_SIZE + 1},
        {"run": -1},
        {"run": 1 << 64},
        {"sequence": -1},
        {"sequence": 1 << 32},
    ],
)
def test_limits(what):
    said = {"run": 1, "sequence": 1, "pattern": Pattern.BARE, "size": MIN_SIZE} | what
    with pytest.raises(EncodeError):
        Probe(**said)
