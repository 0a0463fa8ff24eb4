# SPDX-License-Identifier: Apache-2.0
"""Framing and decoding of JSON-RPC: however the bytes are cut, whatever they hold."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from ovs_geneve.errors import DecodeError, EncodeError
from ovs_geneve.ovsdb.messages import (
    MessageScanner,
    decode_message,
    decode_monitor_reply,
    decode_notification,
    encode_notification,
    encode_reply,
    encode_request,
)

nasty_text = st.text(alphabet=st.sampled_from('{}[]"\\,:u0é\n\t ab'), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | nasty_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(nasty_text, inner, max_size=3),
    max_leaves=12,
)
messages = st.lists(st.dictionaries(nasty_text, values, max_size=4), max_size=4)


@given(messages, st.booleans(), st.sampled_from(["", " ", "\r\n", "\t "]), st.data())
def test_messages_come_out_whole_however_the_stream_is_cut(documents, ascii_only, gap, data):
    texts = [json.dumps(one, ensure_ascii=ascii_only).encode() for one in documents]
    stream = gap.encode().join(texts) + gap.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    scanner = MessageScanner()
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [one for piece in pieces for one in scanner.feed(piece)] == texts
    assert not scanner.partial


@given(messages)
def test_messages_come_out_whole_byte_by_byte(documents):
    texts = [json.dumps(one).encode() for one in documents]
    scanner = MessageScanner()
    assert [one for byte in b"".join(texts) for one in scanner.feed(bytes([byte]))] == texts


@given(st.binary(max_size=60))
def test_arbitrary_bytes_raise_nothing_but_decode_errors(stream):
    scanner = MessageScanner(limit=50)
    with contextlib.suppress(DecodeError):
        for text in scanner.feed(stream):
            decode_notification(decode_message(text))


@pytest.mark.parametrize(
    "stream", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00", b"[1]", b"}", b'{"a":1}]']
)
def test_what_is_no_message_is_refused_at_once(stream):
    with pytest.raises(DecodeError, match="JSON-RPC stream"):
        MessageScanner().feed(stream)


@given(messages.filter(bool), st.booleans(), st.data())
def test_long_messages_come_out_whole_however_the_stream_is_cut(documents, ascii_only, data):
    long = json.dumps(
        {"rows": documents * (20_000 // len(json.dumps(documents)) + 1)}, ensure_ascii=ascii_only
    )
    texts = [long.encode(), b"{}", long.encode()]
    stream = b" ".join(texts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    scanner = MessageScanner()
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [one for piece in pieces for one in scanner.feed(piece)] == texts
    assert not scanner.partial


@pytest.mark.parametrize("text", ["{", "}{", "} {", '"', "\\", '\\"}{', "a"])
def test_a_long_text_of_braces_quotes_and_escapes_ends_no_message(text):
    message = json.dumps({"a": [text * 6_000] * 3, "b": {"c": text}}).encode()
    scanner = MessageScanner()
    step = 5_001
    found = [one for at in range(0, len(message), step) for one in scanner.feed(message[at : at + step])]
    assert found == [message]
    assert not scanner.partial


def test_a_message_at_the_limit_passes_and_one_byte_more_does_not():
    message = b'{"a":"' + b"x" * 92 + b'"}'
    assert len(message) == 100
    assert MessageScanner(limit=100).feed(message) == [message]
    with pytest.raises(DecodeError, match="over 99 bytes"):
        MessageScanner(limit=99).feed(message)


def test_a_message_over_the_limit_is_refused_before_it_ends():
    scanner = MessageScanner(limit=1000)
    scanner.feed(b'{"a":"' + b"x" * 900)
    with pytest.raises(DecodeError, match="over 1000 bytes"):
        scanner.feed(b"x" * 100)


def test_the_limit_counts_each_message_anew():
    scanner = MessageScanner(limit=10)
    assert scanner.feed(b'{"a":1}' * 20) == [b'{"a":1}'] * 20


@pytest.mark.parametrize("chunk", [1 << 10, 1 << 16, 1 << 22])
def test_time_grows_with_bytes_not_with_their_square(chunk):
    """A 16 MB string in small chunks: rescanning it from its start each time would take minutes."""
    message = b'{"a":"' + b"\\\\x{" * (4 << 20) + b'"}'
    scanner = MessageScanner()
    began = time.process_time()
    found = [one for at in range(0, len(message), chunk) for one in scanner.feed(message[at : at + chunk])]
    assert found == [message]
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "text",
    [
        b'{"method":1}',
        b'{"method":"\xff"}',
        b'{"params":' + b"[" * 100_000 + b"}",
        b'{"id":1e999}',
        b'{"a" 1}',
        b"{",
    ],
    ids=["type", "utf-8", "depth", "number", "syntax", "end"],
)
def test_bad_json_is_a_decode_error(text):
    with pytest.raises(DecodeError):
        decode_message(text)


def test_requests_notifications_and_replies_have_their_members():
    assert json.loads(encode_request(7, "echo", [1])) == {"id": 7, "method": "echo", "params": [1]}
    assert json.loads(encode_notification("cancel", [7])) == {"id": None, "method": "cancel", "params": [7]}
    assert json.loads(encode_reply("x", [])) == {"id": "x", "result": [], "error": None}


@pytest.mark.parametrize("bad", [object(), "\ud800"])
def test_what_is_no_json_cannot_be_sent(bad):
    with pytest.raises(EncodeError):
        encode_request(1, "echo", [bad])


def test_the_three_kinds_of_update_name_monitor_and_transaction():
    def read(method: str, *params: object) -> tuple[object, object]:
        notification = decode_notification(decode_message(encode_notification(method, params)))
        assert notification is not None
        return notification[0], notification[1].txn_id

    assert read("update", "m", {"T": {"u": {"new": {"c": 1}}}}) == ("m", None)
    assert read("update2", ["m"], {"T": {"u": {"delete": None}}}) == (["m"], None)
    assert read("update3", "m", "txn", {"T": {"u": {"modify": {}}}}) == ("m", "txn")
    assert decode_notification(decode_message(encode_notification("locked", ["x"]))) is None


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("update", []),
        ("update", ["m", []]),
        ("update2", ["m"]),
        ("update3", ["m", {}]),
        ("update3", ["m", 1, {}]),
    ],
)
def test_an_update_of_another_shape_is_a_decode_error(method, params):
    with pytest.raises(DecodeError, match=method):
        decode_notification(decode_message(encode_notification(method, params)))


def test_a_monitor_reply_is_a_snapshot_unless_the_server_found_the_start():
    assert decode_monitor_reply("monitor", Raw(b"{}")).snapshot
    assert decode_monitor_reply("monitor_cond", Raw(b"{}")).snapshot
    assert decode_monitor_reply("monitor_cond_since", Raw(b'[false,"t",{}]')).snapshot
    found = decode_monitor_reply("monitor_cond_since", Raw(b'[true,"t",{}]'))
    assert (found.snapshot, found.txn_id) == (False, "t")
