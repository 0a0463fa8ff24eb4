# SPDX-License-Identifier: Apache-2.0
"""Where an OVSDB server is, or where we wait for one: the connection methods of ovsdb(7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address

from ovs_geneve.errors import EncodeError

OVSDB_PORT = 6640
"The TCP port of OVSDB (RFC 7047 6)."


class Transport(Enum):
    """What carries the bytes."""

    UNIX = "unix"
    TCP = "tcp"
    SSL = "ssl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """One connection method, active or passive; `str()` gives OVS's spelling back."""

    transport: Transport
    passive: bool = False
    "True when we wait for the peer to call in (punix, ptcp, pssl)."
    path: str = ""
    "The socket's file, for UNIX alone."
    host: str = ""
    "Address or name to call; for a passive remote the address to listen on, empty for all."
    port: int = OVSDB_PORT
    "TCP port; a passive remote may have 0, then the system chooses."

    def __post_init__(self) -> None:
        if self.transport is Transport.UNIX:
            if not self.path or "\0" in self.path:
                raise EncodeError("remote path", f"{self.path!r} is no file name")
            return
        if not 0 <= self.port <= 0xFFFF or (self.port == 0 and not self.passive):
            raise EncodeError("remote port", f"{self.port} is not within 1 and 65535")
        if not self.host and not self.passive:
            raise EncodeError("remote host", "missing")

    @property
    def is_tls(self) -> bool:
        """Tell whether the connection needs an `ssl.SSLContext`."""
        return self.transport is Transport.SSL

    def __str__(self) -> str:
        scheme = ("p" if self.passive else "") + self.transport.value
        if self.transport is Transport.UNIX:
            return f"{scheme}:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.passive:
            return f"{scheme}:{self.port}:{host}" if host else f"{scheme}:{self.port}"
        return f"{scheme}:{host}:{self.port}"


def parse_remote(text: str) -> Remote:
    """Parse unix:PATH, tcp:HOST:PORT, ssl:HOST:PORT, punix:PATH, ptcp:PORT[:IP], pssl:PORT[:IP].

    An IPv6 address stands in brackets; without a port it is 6640. EncodeError names the wrong part.
    """
    scheme, colon, rest = text.partition(":")
    passive = scheme.startswith("p")
    if not colon or scheme.removeprefix("p") not in {one.value for one in Transport}:
        raise EncodeError("remote", f"{text!r} starts with none of unix:, tcp:, ssl:, punix:, ptcp:, pssl:")
    transport = Transport(scheme.removeprefix("p"))
    if transport is Transport.UNIX:
        return Remote(transport=transport, passive=passive, path=rest)
    host, port = _listen_on(rest) if passive else _call(rest)
    return Remote(transport=transport, passive=passive, host=host, port=port)


def parse_remotes(text: str) -> tuple[Remote, ...]:
    """Parse a comma-separated list, as OVS writes the members of a cluster."""
    return tuple(parse_remote(one.strip()) for one in text.split(","))


def remotes_to_dial(remote: Remote | str | Sequence[Remote] | None, *, tls: bool) -> tuple[Remote, ...]:
    """Give the remotes in any of these forms; EncodeError for one to listen on, or for ssl: without `tls`."""
    if isinstance(remote, str):
        remotes = parse_remotes(remote)
    elif isinstance(remote, Remote):
        remotes = (remote,)
    else:
        remotes = tuple(remote or ())
    for one in remotes:
        if one.passive:
            raise EncodeError("remote", f"{one} waits for calls: use an OvsdbListener")
        if one.is_tls and not tls:
            raise EncodeError("tls", f"{one} needs an ssl.SSLContext")
    return remotes


def _call(text: str) -> tuple[str, int]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise EncodeError("remote host", f"{text!r} is no [address]:port")
        return _ipv6(host), _port(rest.removeprefix(":"))
    host, _, port = text.partition(":")
    if ":" in port:
        raise EncodeError("remote host", f"{text!r}: an IPv6 address needs brackets")
    return host, _port(port)


def _listen_on(text: str) -> tuple[str, int]:
    port, _, host = text.partition(":")
    if host.startswith("[") and host.endswith("]"):
        return _ipv6(host[1:-1]), _port(port)
    if not host:
        return "", _port(port)
    try:
        return str(ip_address(host)), _port(port)
    except ValueError as error:
        raise EncodeError("remote host", f"{host!r} is no address to listen on") from error


def _ipv6(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError as error:
        raise EncodeError("remote host", str(error)) from error
    if address.version != 6:
        raise EncodeError("remote host", f"{text} is no IPv6 address, yet in brackets")
    return str(address)


def _port(text: str) -> int:
    if not text:
        return OVSDB_PORT
    if not (text.isascii() and text.isdigit()):
        raise EncodeError("remote port", f"{text!r} is no number")
    return int(text)
