# SPDX-License-Identifier: Apache-2.0
"""Connection methods: text to value and back, and what is wrong with a wrong one."""

from __future__ import annotations

import pytest

from ovs_geneve.errors import EncodeError
from ovs_geneve.ovsdb.remote import Remote, Transport, parse_remote, parse_remotes


@pytest.mark.parametrize(
    ("text", "remote"),
    [
        ("unix:/run/db.sock", Remote(transport=Transport.UNIX, path="/run/db.sock")),
        ("unix:/a:b", Remote(transport=Transport.UNIX, path="/a:b")),
        ("punix:db.sock", Remote(transport=Transport.UNIX, path="db.sock", passive=True)),
        ("tcp:192.0.2.1:6640", Remote(transport=Transport.TCP, host="192.0.2.1", port=6640)),
        ("tcp:hv1.example:1", Remote(transport=Transport.TCP, host="hv1.example", port=1)),
        ("ssl:[2001:db8::1]:65535", Remote(transport=Transport.SSL, host="2001:db8::1", port=65535)),
        ("ptcp:0:127.0.0.1", Remote(transport=Transport.TCP, host="127.0.0.1", port=0, passive=True)),
        ("ptcp:6640", Remote(transport=Transport.TCP, passive=True)),
        ("pssl:6640:[::1]", Remote(transport=Transport.SSL, host="::1", passive=True)),
    ],
)
def test_a_remote_is_read_and_written_alike(text, remote):
    assert parse_remote(text) == remote
    assert str(remote) == text


@pytest.mark.parametrize(
    ("text", "full"),
    [("tcp:192.0.2.1", "tcp:192.0.2.1:6640"), ("ssl:[::1]", "ssl:[::1]:6640"), ("pssl:", "pssl:6640")],
)
def test_the_port_is_6640_unless_told(text, full):
    assert str(parse_remote(text)) == full


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "remote"),
        ("tcp", "remote"),
        ("udp:1.2.3.4:5", "remote"),
        ("ptcpx:1", "remote"),
        ("unix:", "remote path"),
        ("tcp:", "remote host"),
        ("tcp::6640", "remote host"),
        ("tcp:2001:db8::1:6640", "remote host"),
        ("tcp:[192.0.2.1]:6640", "remote host"),
        ("tcp:[::1:6640", "remote host"),
        ("tcp:[::1]6640", "remote host"),
        ("ptcp:6640:hv1", "remote host"),
        ("tcp:a:b", "remote port"),
        ("tcp:a:0", "remote port"),
        ("tcp:a:65536", "remote port"),
        ("tcp:a:-1", "remote port"),
        ("tcp:a:٣", "remote port"),
        ("ptcp:x", "remote port"),
    ],
)
def test_the_error_names_the_wrong_part(text, part):
    with pytest.raises(EncodeError) as caught:
        parse_remote(text)
    assert caught.value.field == part


def test_members_of_a_cluster_are_separated_by_commas():
    assert [str(one) for one in parse_remotes("tcp:a:1, tcp:b:2")] == ["tcp:a:1", "tcp:b:2"]
