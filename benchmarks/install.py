# SPDX-License-Identifier: Apache-2.0
"""How fast do 100,000 flows get into an empty bridge? Our whole way against `ovs-ofctl --bundle add-flows`.

Ours: dial the bridge's socket, os-ken's handshake, encode by template, one step of bundles, the last commit
acknowledged. Theirs: a new process, the same flows from a file, OpenFlow 1.5, one bundle.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from benchmarks.rig import flows as shape
from benchmarks.rig.daemons import BRIDGE, OvsHost, cpu_seconds, wait_until, workspace
from benchmarks.rig.flows import Numbers
from benchmarks.rig.report import Report, progress
from benchmarks.rig.switch import connected
from ovs_geneve.openflow.events import Applied, Bundle

GOAL = 1.5
FLOWS = 100_000
ROUNDS = 7

_SETTLED = 0.3
"Seconds that vswitchd gets to free what was deleted: it does so behind our back, in other threads."


async def by_controller(host: OvsHost, flows: Sequence[Numbers]) -> None:
    """Encode and install through the controller's own path."""
    async with connected(host.management) as (switch, _):
        pack = shape.template().pack
        event = await switch.apply([Bundle([pack(*varying) for varying in flows], at_once=True)])
        assert event == Applied(), event


def by_ofctl(host: OvsHost, file: Path) -> None:
    """Have ovs-ofctl install the file."""
    host.ofctl("--bundle", "add-flows", BRIDGE, str(file))


def flow_count(host: OvsHost) -> int:
    """Ask the bridge how many flows it has."""
    found = re.search(r"flow_count=(\d+)", host.ofctl("dump-aggregate", BRIDGE))
    assert found is not None
    return int(found[1])


def check(host: OvsHost, flows: Sequence[Numbers]) -> None:
    """Assert that the bridge holds as many flows and, of a few, what they do."""
    assert flow_count(host) == len(flows)
    for varying in flows[:: len(flows) // 5]:
        mac = varying.mac.to_bytes(6).hex(":")
        dump = host.ofctl("dump-flows", BRIDGE, f"table={shape.TABLE},tun_id={varying.vni},dl_dst={mac}")
        assert f"cookie={varying.cookie:#x}" in dump, dump
        assert f"set_field:{IPv4Address(varying.tunnel)}->tun_dst" in dump, dump
        assert f"set_field:{varying.context:#x}->tun_metadata0,output:" in dump, dump


def empty(host: OvsHost) -> None:
    """Delete all flows and wait until they are gone."""
    host.ofctl("del-flows", BRIDGE)
    wait_until(lambda: flow_count(host) == 0, "the bridge is empty")
    time.sleep(_SETTLED)


@dataclass
class Taken:
    """What each repetition of one way took, in seconds."""

    wall: list[float] = field(default_factory=list)
    client: list[float] = field(default_factory=list)
    "CPU of this process."
    vswitchd: list[float] = field(default_factory=list)
    "CPU of ovs-vswitchd, to a hundredth."

    @contextmanager
    def note(self, host: OvsHost) -> Iterator[None]:
        """Time a block."""
        daemon, client, wall = cpu_seconds(host.vswitchd), time.process_time(), time.perf_counter()
        yield
        self.wall.append(time.perf_counter() - wall)
        self.client.append(time.process_time() - client)
        self.vswitchd.append(cpu_seconds(host.vswitchd) - daemon)


def measure(host: OvsHost, count: int, rounds: int) -> tuple[Taken, Taken]:
    """Install by turns and look each time at what came of it; give our way's and ovs-ofctl's."""
    flows, file = list(shape.numbers(count)), shape.write(host, count)
    by_ofctl(host, file)  # so that vswitchd's memory has grown for whoever is first
    ours, theirs = Taken(), Taken()
    for number in range(rounds):
        for taken in (ours, theirs) if number % 2 else (theirs, ours):
            empty(host)
            with taken.note(host):
                if taken is ours:
                    asyncio.run(by_controller(host, flows))
                else:
                    by_ofctl(host, file)
            check(host, flows)
        progress(
            f"install: {number + 1} of {rounds}: {ours.wall[-1]:.2f} s, ovs-ofctl {theirs.wall[-1]:.2f} s"
        )
    return ours, theirs


def main(*, quick: bool = False) -> None:
    """Measure and print."""
    count, rounds = (2_000, 1) if quick else (FLOWS, ROUNDS)
    with workspace() as folder, OvsHost(folder / "hv1") as host:
        shape.add_bridge(host)
        shape.map_option(host)
        ours, theirs = measure(host, count, rounds)
    report = Report("install")
    own = report.add_series("controller", ours.wall, "s")
    ofctl = report.add_series("ovs-ofctl -O OpenFlow15 --bundle add-flows", theirs.wall, "s")
    report.add_series("controller: CPU of Python", ours.client, "s")
    report.add_series("controller: CPU of ovs-vswitchd", ours.vswitchd, "s")
    report.add_series("ovs-ofctl: CPU of ovs-vswitchd", theirs.vswitchd, "s")
    report.note("flows", count)
    report.note("flows a second, controller", round(count / own))
    report.note("flows a second, ovs-ofctl", round(count / ofctl))
    report.at_least(f"{count} flows into an empty bridge, against ovs-ofctl --bundle, x", ofctl / own, GOAL)
    report.print()


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
