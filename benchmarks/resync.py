# SPDX-License-Identifier: Apache-2.0
"""What does a reconnect cost where nothing is to be done? 100,000 flows are there, against `ovs-ofctl replace-flows`.

Ours: dial the bridge's socket, os-ken's handshake, observe, compare with what is desired, plan; nothing is sent.
Theirs: a new process that reads the same flows from a file, dumps the bridge's and compares, OpenFlow 1.5.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from benchmarks.rig import flows as shape
from benchmarks.rig.daemons import BRIDGE, OvsHost, cpu_seconds, workspace
from benchmarks.rig.report import Report, progress
from benchmarks.rig.switch import connected
from controller.compiler.cookies import OWNER_COOKIE, OWNER_MASK
from controller.hoststate import EncodedFlow, Held, HostState, Observed, difference
from controller.reconciler.plan import plan
from ovs_geneve.openflow.template import message_key

GOAL = 4
FLOWS = 100_000
ROUNDS = 7


def desired_state(count: int) -> HostState:
    """Build what the compiler would want of the bridge."""
    pack = shape.template().pack
    flows = {}
    for varying in shape.numbers(count):
        message = pack(*varying)
        key = message_key(message)
        flows[key] = EncodedFlow(key, varying.cookie, message)
    return HostState(tlv_maps=frozenset((shape.OPTION,)), flows=flows, groups={})


async def by_controller(host: OvsHost, desired: HostState) -> None:
    """Reconnect as the controller does, and find nothing to do."""
    async with connected(host.management) as (switch, session):
        seen = await switch.observe(cookie=OWNER_COOKIE, cookie_mask=OWNER_MASK)
        asked = session.sent
        mapped = frozenset(seen.tlv_maps)
        observed = Observed(tlv_maps=mapped, flows=seen.flows, groups={})
        steps = plan(difference(desired, observed), Held(mapped))
        assert (len(seen.flows), steps) == (len(desired.flows), ()), (
            f"{len(seen.flows)} flows, {len(steps)} steps"
        )
        await switch.apply(steps)
        assert session.sent == asked, "a reconnect with nothing to do sent something"


def by_ofctl(host: OvsHost, file: Path) -> None:
    """Have ovs-ofctl compare."""
    host.ofctl("replace-flows", BRIDGE, str(file))


def measure(host: OvsHost, count: int, rounds: int) -> dict[str, list[float]]:
    """Compare by turns."""
    desired, file = desired_state(count), shape.write(host, count)
    host.ofctl("--bundle", "add-flows", BRIDGE, str(file))
    host.ofctl(
        "diff-flows", BRIDGE, str(file)
    )  # fails if ovs-ofctl sees any difference: replace-flows must not
    taken: dict[str, list[float]] = {"ours": [], "theirs": [], "client": [], "vswitchd": []}
    for number in range(rounds):
        for way in ("ours", "theirs") if number % 2 else ("theirs", "ours"):
            daemon, client, wall = cpu_seconds(host.vswitchd), time.process_time(), time.perf_counter()
            if way == "theirs":
                by_ofctl(host, file)
            else:
                asyncio.run(by_controller(host, desired))
                taken["client"].append(time.process_time() - client)
                taken["vswitchd"].append(cpu_seconds(host.vswitchd) - daemon)
            taken[way].append(time.perf_counter() - wall)
        progress(
            f"resync: {number + 1} of {rounds}: {taken['ours'][-1]:.2f} s, ovs-ofctl {taken['theirs'][-1]:.2f} s"
        )
    return taken


def main(*, quick: bool = False) -> None:
    """Measure and print."""
    count, rounds = (2_000, 1) if quick else (FLOWS, ROUNDS)
    with workspace() as folder, OvsHost(folder / "hv1") as host:
        shape.add_bridge(host)
        shape.map_option(host)
        taken = measure(host, count, rounds)
    report = Report("resync")
    own = report.add_series("controller: connect, observe, compare", taken["ours"], "s")
    ofctl = report.add_series("ovs-ofctl -O OpenFlow15 replace-flows", taken["theirs"], "s")
    report.add_series("controller: CPU of Python", taken["client"], "s")
    report.add_series("controller: CPU of ovs-vswitchd", taken["vswitchd"], "s")
    report.note("flows", count)
    report.at_least(
        f"reconnect to {count} flows, none to change, against replace-flows, x", ofctl / own, GOAL
    )
    report.print()


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
