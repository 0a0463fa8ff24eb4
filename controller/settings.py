# SPDX-License-Identifier: Apache-2.0
"""What the controller process is told when it starts. Nothing here is read from anywhere but the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ovs_geneve.vport import GENEVE_PORT


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the controller keeps its state and which sockets it serves."""

    state_directory: Path
    "The intent's database and our Unix sockets; only root may look inside."
    store: str | None = None
    "Where the intent is kept, as OVSDB remotes, comma-separated; None keeps it in a database of our own."
    rest: str = "127.0.0.1:6680"
    "ADDRESS:PORT of the REST API, or unix:PATH."
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

    @property
    def ovsdb_socket(self) -> Path:
        """Where OVSDB servers on this machine call in."""
        return self.state_directory / "ovsdb.sock"
