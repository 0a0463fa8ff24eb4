# SPDX-License-Identifier: Apache-2.0
"""What the controller process is told when it starts. Nothing here is read from anywhere but the command line."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from controller.errors import SetupError
from ovs_geneve.errors import EncodeError
from ovs_geneve.ovsdb.remote import Remote, Transport, parse_remotes
from ovs_geneve.vport import GENEVE_PORT

LOCAL_OVSDB = "unix:/run/openvswitch/db.sock"
"Where distributions have the OVSDB of a machine's own Open vSwitch."


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the controller keeps its state and which sockets it serves."""

    state_directory: Path
    "The intent's database and our Unix sockets; only root may look inside."
    store: str | None = None
    "Where the intent is kept, shared with other controllers: OVSDB remotes, comma-separated; None keeps our own."
    store_listen: str | None = None
    "Where others reach the store that we keep: a passive remote; None keeps it to ourselves."
    host: str | None = None
    "The only host to serve, over the sockets of this machine (agent mode); None serves a share of all."
    local_ovsdb: str = LOCAL_OVSDB
    "Where that host's OVSDB is dialled, whatever is declared for it."
    rest: str = "127.0.0.1:6680"
    "ADDRESS:PORT of the REST API, or unix:PATH."
    rest_cert: Path | None = None
    "The certificate of REST, its chain after it: with it REST is https."
    rest_key: Path | None = None
    "The certificate's key."
    ovsdb: str | None = None
    'Where hosts call in: a passive remote such as "ptcp:6640:127.0.0.1"; besides the Unix socket that is always there.'
    openflow: str | None = None
    "ADDRESS:PORT where bridges of other machines dial us; those of this one are dialled."
    advertise: str | None = None
    "The OpenFlow target that hosts get, when it is not the address at which their OVSDB reaches us."
    owner: str = "ovs-geneve"
    "The mark on rows of hosts' databases that are ours; two controllers of one fabric share it."
    tunnel_port: int = GENEVE_PORT
    "The UDP port of the overlay."
    slot_rest: float = 10.0
    "Seconds that a tun_metadata slot rests after no host maps it: packets with its old meaning are gone by then."

    def __post_init__(self) -> None:
        if self.store is not None and self.store_listen is not None:
            raise SetupError(
                "a store elsewhere and one to listen for", "give one of --store and --store-listen"
            )
        if self.host is not None and self.store is None:
            raise SetupError("one host alone needs a store that other controllers share", "give --store")
        if (self.rest_cert is None) is not (self.rest_key is None):
            raise SetupError("a certificate and its key go together", "give --rest-cert and --rest-key")
        for text, option, passive in (
            (self.store, "--store", False),
            (self.store_listen, "--store-listen", True),
            (self.local_ovsdb, "--local-ovsdb", False),
        ):
            if any(remote.is_tls for remote in check_remotes(text, option, passive=passive)):
                raise SetupError(f"{option} {text}", "TLS is not wired into this command yet")

    @property
    def shares_hosts(self) -> bool:
        """Tell whether other controllers may be there to share the hosts with."""
        return self.store is not None or self.store_listen is not None

    @property
    def name(self) -> str:
        """The name by which other controllers know this one; it is the same after a restart."""
        return f"{socket.gethostname()}:{self.state_directory.absolute()}"

    @property
    def ovsdb_socket(self) -> Path:
        """Where OVSDB servers on this machine call in."""
        return self.state_directory / "ovsdb.sock"


def check_remotes(text: str | None, option: str, *, passive: bool) -> tuple[Remote, ...]:
    """Return the places that an option names. Raises SetupError."""
    try:
        remotes = () if text is None else parse_remotes(text)
    except EncodeError as error:
        raise SetupError(f"{option} {text}: {error}") from error
    for remote in remotes:
        if remote.passive is not passive:
            raise SetupError(f"{option} {text}", f"{_example(remote, passive=passive)} is such a place")
    return remotes


def _example(remote: Remote, *, passive: bool) -> str:
    """Return the same place seen from the other end."""
    if remote.transport is Transport.UNIX:
        return f"{'punix' if passive else 'unix'}:{remote.path}"
    address = remote.host or "127.0.0.1"
    return f"ptcp:{remote.port}:{address}" if passive else f"tcp:{address}:{remote.port}"
