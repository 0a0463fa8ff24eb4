# SPDX-License-Identifier: Apache-2.0
"""An agent that follows a store, over a kernel in memory, as a process: STORE HOST FOLDER INTERFACE-ID."""

from __future__ import annotations

import sys
from pathlib import Path

from controller.agent.beside_store import BesideStore
from controller.agent.store_source import StoreSource
from tests.storm.simulated import SimulatedFleet


def main(store: str, host: str, folder: str, interface_id: str) -> None:
    """Be one until killed."""
    fleet = SimulatedFleet(Path(folder), (host,), lambda name: StoreSource(BesideStore(store, name), name))
    fleet.plug(host, "tap1", interface_id)
    fleet.start(host)


if __name__ == "__main__":
    main(*sys.argv[1:])
