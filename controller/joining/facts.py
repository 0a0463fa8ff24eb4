# SPDX-License-Identifier: Apache-2.0
"""What matters of a machine that is to be a host, and what its operator wants. Values; nothing is looked at here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from controller.errors import SetupError
from controller.intent.model import HostKind
from ovs_geneve.errors import EncodeError
from ovs_geneve.ovsdb.remote import OVSDB_PORT, Remote, Transport, parse_remote
from ovs_geneve.vport import GENEVE_PORT

REST_PORT = 6680


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerAddress:
    """Where the controller is: over REST, over OVSDB, or both."""

    rest: str | None = None
    "http(s)://ADDRESS:PORT; None when all we were told is where OVSDB calls in."
    manager: str
    "The target of our row in table Manager."

    @classmethod
    def parse(cls, text: str, manager: str | None = None) -> Self:
        """Read http(s)://HOST[:PORT], tcp:HOST[:PORT] or ssl:HOST[:PORT]; SetupError says what is wrong.

        Beside a REST address OVSDB is taken to call in at the same one, on its usual port, unless `manager` says where.
        """
        rest = text.rstrip("/") if text.startswith(("http://", "https://")) else None
        if rest is None:
            return cls(manager=_manager(manager or text))
        try:
            parts = urlsplit(rest)
            host, port = parts.hostname, parts.port or REST_PORT
        except ValueError as error:
            raise SetupError(f"--controller {text}: {error}", _WANTED) from error
        if not host or parts.path or parts.query:
            raise SetupError(f"--controller {text} is no address alone", _WANTED)
        transport = Transport.SSL if parts.scheme == "https" else Transport.TCP
        called = str(Remote(transport=transport, host=host, port=OVSDB_PORT))
        bracketed = f"[{host}]" if ":" in host else host
        return cls(rest=f"{parts.scheme}://{bracketed}:{port}", manager=_manager(manager or called))

    @property
    def host(self) -> str:
        """The controller's name or address."""
        return (urlsplit(self.rest).hostname or "") if self.rest else parse_remote(self.manager).host


_WANTED = "want http://ADDRESS:6680, or where OVSDB calls in: ssl:ADDRESS:6640, tcp:ADDRESS:6640"


def _manager(text: str) -> str:
    try:
        remote = parse_remote(text)
    except EncodeError as error:
        raise SetupError(f"{text}: {error}", _WANTED) from error
    if remote.passive or remote.transport is Transport.UNIX:
        raise SetupError(f"{text} is not where a controller on another machine listens", _WANTED)
    return str(remote)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the operator asks for."""

    host: str
    kind: HostKind
    controller: ControllerAddress
    endpoint: str | None = None
    "The tunnel endpoint; None takes the address from which the controller is reached."
    tunnels: str = "metadata"
    tunnel_port: int = GENEVE_PORT
    "The UDP port of the overlay."
    ca: str = ""
    "The file that says who signed the controller's certificate; empty for whom the system trusts."
    owner: str = "ovs-geneve"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manager:
    """A row of the host's table Manager."""

    target: str
    ours: bool
    connected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OvsFacts:
    """What the host's own OVSDB says."""

    version: str
    runs: bool = True
    "Whether ovs-vswitchd does."
    system_id: str = ""
    managers: tuple[Manager, ...] = ()
    has_tls: bool = False
    bridges: tuple[str, ...] = ()
    "Those that a controller made, and that are still marked as its own."


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What an earlier join wrote down."""

    host: str
    kind: HostKind
    rest: str
    "Empty when the host was left to be enrolled by somebody else."
    manager: str
    "Empty on a host without Open vSwitch."
    set_system_id: bool = False
    ca: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFacts:
    """What is seen of the machine before anything is done."""

    root: bool = True
    uptime: float = 3600.0
    installed: bool = True
    "Whether Open vSwitch is."
    ovs: OvsFacts | None = None
    "None while its database does not answer."
    missing_modules: tuple[str, ...] = ()
    "Of what the kernel of a host without Open vSwitch may need."
    kernel: str = ""
    port_holder: str = ""
    "Who else has the UDP port of the overlay; empty when it is free, or ours."
    source: str = ""
    "The address from which the controller is reached; empty when there is no way."
    systemd: bool = True
    command: str = "/opt/ovs-geneve/bin/ovs-geneve"
    "This command."
    unit: str | None = None
    "The agent's unit that is installed; None when there is none."
    unit_enabled: bool = False
    joined: Joined | None = None
    files: Mapping[str, str] | None = None
    "What is in the files that we write, as far as they are there."
    declared: Mapping[str, Any] | None = None
    "The host's document, as the controller holds it; None when it holds none, or was not asked."

    def text_of(self, path: str) -> str | None:
        """Return what is in one of our files, None when it is not there."""
        return (self.files or {}).get(path)
