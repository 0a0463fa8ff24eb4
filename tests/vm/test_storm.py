# SPDX-License-Identifier: Apache-2.0
"""500 random operations, agents killed in between: each kernel is what `ovs-geneve render` makes of an empty one.

Two machines with agents are compared with a third one that has the same interfaces and runs the rendered commands, as
ip, bridge and tc show them: no code that agents look at kernels with, or plan with, says that they are equal.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from controller.cli.render import render
from controller.intent.intent import Intent
from controller.linux.compile import parts_of
from ovs_geneve.kernel.objects import Fdb, Filter, KernelState, Neighbour, joined
from ovs_geneve.kernel.render import commands
from tests.functional.intent.stores import load
from tests.patience import patient
from tests.storm.batches import batched
from tests.storm.check import generation_of, settle
from tests.storm.controllers import Controller
from tests.storm.documents import AGENTS
from tests.storm.machines import Machines
from tests.storm.readings import difference
from tests.storm.storm import Storm
from tests.vm.conftest import Prove

pytestmark = pytest.mark.system

OPERATIONS = int(os.environ.get("STORM_OPERATIONS", "500"))
"Fewer are for a quick try."
KILLS = OPERATIONS // 25
"Of agents, at least."
CHECKED, TOLD = OPERATIONS // 5, 25
"After how many operations everything is compared, and something is said."
TOGETHER = 8
"So many operations of users may be in one request."
COPY = "copy"
"A machine for what is rendered."
SEED = int(os.environ.get("STORM_SEED", "0")) or random.randrange(1, 1 << 31)


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    folder = tmp_path / "c1"
    folder.mkdir()
    running = Controller(folder)
    running.start()
    try:
        yield running
    finally:
        print(running.log())
        running.http.close()
        running.end()


@pytest.fixture
def machines(controller: Controller, tmp_path: Path) -> Iterator[Machines]:
    def restart() -> None:
        controller.end(signal.SIGKILL)
        controller.start()

    made = Machines(tmp_path, (*AGENTS, COPY), controller.url, restart)
    yield made
    for host in AGENTS:
        print(f"{host}: {made.log(host)}")
    made.close()


class Scene:
    """A storm over machines, and what is compared."""

    def __init__(self, controller: Controller, machines: Machines) -> None:
        self.machines = machines
        self.storm = Storm(SEED, controller.http, machines)
        self.desired: dict[str, KernelState] = {}
        "As compiled from nothing when it was compared last."
        self.commands: dict[str, int] = {}
        "How many were rendered then."
        self._controller = controller
        self._began = time.monotonic()

    def tell(self, what: str) -> None:
        """Say how far it is (`python -m tests.vm -s`)."""
        print(f"{time.monotonic() - self._began:6.1f} s, {self.storm.count} operations: {what}", flush=True)

    def step(self) -> None:
        before = self.storm.count
        if before >= OPERATIONS // 2 and not self.storm.done["controller-killed"]:
            self.storm.restart_controller()
            return
        said = self.storm.step(min(TOGETHER, CHECKED - before % CHECKED))
        if self.storm.count // TOLD > before // TOLD:
            self.tell(said.splitlines()[-1])

    def compare(self) -> None:
        """Wait until nothing moves, and compare every machine with what is rendered, and others' things with before."""
        self.storm.revive()
        http = self._controller.http
        while True:
            settled = settle(http, AGENTS, self.machines.observe, self._intent, patient(60), self.tell)
            self.tell("settled")
            wrong = [f"{host}: {said}" for host in AGENTS if (said := self._differs(host))]
            # A rollout may have gone on meanwhile.
            if all(generation_of(http, host) == settled[host].generation for host in AGENTS):
                break
        assert not wrong, "\n".join(wrong)
        kept = self.machines.assert_others_are_as_they_were()
        self.tell(f"equal: {self.sizes}, filters of others on interfaces of workloads: {kept}")

    def assert_flaws_are_seen(self, host: str) -> str:
        """Take one thing of each sort away and add another, where no agent runs: these are named and nothing else."""
        before = self.machines.read(host, self.desired[host])
        things = list(_some(self.desired[host]))
        self.machines.take(host, things)
        self.machines.shell(host, "\n".join(map(_another, things)))
        said = difference(before, self.machines.read(host, self.desired[host])).splitlines()
        sorts = sorted(type(one).__name__.lower() for one in things)
        for word in ("missing", "too much"):
            # An entry of a bridge shows once more for VLAN 1.
            found = {
                line.removeprefix(word).split()[0].rstrip("46") for line in said if line.startswith(word)
            }
            assert sorted(found) == sorts, said
        return ", ".join(sorts)

    def assert_nothing_is_left(self, host: str) -> None:
        """Run `agent --remove`, and compare with a machine that has the interfaces of the workloads alone."""
        self.machines.remove(host)
        self.machines.renew(COPY, self.storm.plugged(host))
        self.desired[host] = KernelState()
        assert self._difference(host) == ""

    @property
    def sizes(self) -> str:
        """Say how many objects each machine has."""
        return ", ".join(f"{host} has {size(state)} objects" for host, state in self.desired.items())

    def _differs(self, host: str) -> str:
        """Make a copy of a host by what `ovs-geneve render` prints, which is as compiled from nothing, and compare."""
        devices = self.storm.plugged(host)
        names = {**{device: device for device in devices.values()}, **devices}
        parts = parts_of(host, self._intent(), names).values()
        self.desired[host] = joined(part.state for part in parts)
        done = CliRunner().invoke(render, ["--host", host, "--server", self._controller.url])
        assert done.exit_code == 0, done.output
        printed = done.output.splitlines()[1:]
        if printed != list(commands(self.desired[host])):
            return "what is rendered is not as compiled from nothing"
        self.machines.renew(COPY, devices)
        self.machines.shell(COPY, batched(printed))
        self.commands[host] = len(printed)
        return self._difference(host)

    def _difference(self, host: str) -> str:
        should, held = (self.machines.read(one, self.desired[host]) for one in (COPY, host))
        assert should or not size(self.desired[host])
        return difference(should, held)

    def _intent(self) -> Intent:
        return asyncio.run(load(self._controller.store))


def test_kernels_are_as_rendered_whatever_happened(
    controller: Controller, machines: Machines, prove: Prove
) -> None:
    scene = Scene(controller, machines)
    scene.tell(f"seed {SEED}")
    storm = scene.storm
    storm.begin()
    while storm.count < OPERATIONS:
        scene.step()
        if storm.count % CHECKED == 0:
            scene.compare()
    assert storm.count == OPERATIONS
    assert storm.kills >= KILLS
    prove(
        f"{OPERATIONS} random operations with {storm.kills} kill -9 of agents, one of the controller, leave two "
        "kernels as `ovs-geneve render` makes a third one from nothing, and what is not ours as it was",
        f"seed {SEED}; {dict(storm.done)}, refused besides: {storm.refused}; compared "
        f"{storm.count // CHECKED} times by what ip, bridge and tc show, at last {scene.sizes}, of commands "
        f"{scene.commands}",
    )
    fullest = max(AGENTS, key=lambda host: size(scene.desired[host]))
    for host in AGENTS:
        machines.kill(host)
    sorts = scene.assert_flaws_are_seen(fullest)
    for host in AGENTS:
        scene.assert_nothing_is_left(host)
    machines.assert_others_are_as_they_were()
    prove(
        "`agent --remove` leaves nothing of ours on either, and what is not ours as it was",
        f"one thing less and one more of each of {sorts} had been seen by the same comparison",
    )
    scene.tell("done")


def size(state: KernelState) -> int:
    return sum(len(getattr(state, field)) for field in state.__struct_fields__)


def _some(state: KernelState) -> Iterator[Filter | Neighbour | Fdb]:
    for things in (state.filters, [one for one in state.neighbours if one.mac], state.fdb):
        yield from sorted(things, key=repr)[:1]


def _another(one: Filter | Neighbour | Fdb) -> str:
    match one:
        case Filter():
            way = "egress" if one.egress else "ingress"
            return (
                f"tc filter add dev {one.device} {way} pref 9 protocol arp flower arp_op request action pass"
            )
        case Neighbour():
            return f"ip neigh add 10.99.0.9 lladdr 02:00:00:00:00:99 dev {one.device} nud permanent"
        case Fdb():
            return f"bridge fdb add 02:00:00:00:00:99 dev {one.device} master static"
