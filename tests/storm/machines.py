# SPDX-License-Identifier: Apache-2.0
"""Machines in network namespaces of a real kernel, their agents processes of their own (`tests.storm.storm.Fleet`)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from controller.cli.agent import agent
from controller.lab import namespaces
from ovs_geneve.kernel.apply import apply, converge
from ovs_geneve.kernel.netlink import Netlink
from ovs_geneve.kernel.objects import BridgeLink, KernelObject, KernelState, VrfLink
from ovs_geneve.kernel.observation import Observation
from ovs_geneve.kernel.observe import observe
from ovs_geneve.kernel.steps import remove, subject
from tests.storm.children import Child
from tests.storm.readings import Reading, reading

T = TypeVar("T")

_OTHERS = """
ip link add br-else type bridge
ip link add e0 type dummy
ip link add else-gnv type geneve id 7 remote 10.9.0.77 dstport 16999
ip link set e0 master br-else
ip link set br-else up; ip link set e0 up; ip link set else-gnv up
ip addr add 10.77.0.1/24 dev e0
ip route add 10.78.0.0/24 dev e0 table 77
ip neigh add 10.77.0.9 lladdr 02:00:00:00:00:99 dev e0 nud permanent
bridge fdb add 02:00:00:00:00:55 dev e0 master static
tc qdisc add dev e0 clsact
tc filter add dev e0 ingress pref 7 protocol ip flower ip_proto udp action pass
tc filter add dev e0 egress chain 5 pref 3 protocol arp flower arp_op request action drop
"""
_SEEN_OF_OTHERS = """
ip -o link show br-else; ip -o link show e0; ip -d -o link show else-gnv
ip addr show dev e0; ip route show table 77; ip neigh show dev e0 nud permanent
bridge fdb show dev e0; tc filter show dev e0 ingress; tc filter show dev e0 egress
"""
_DEVICES_OF_OTHERS = ("lo", "br-else", "e0", "else-gnv")
_ON_A_WORKLOAD = "pref 7 protocol ip flower ip_proto sctp action pass"
"What somebody filters on interfaces of workloads."


class Machines:
    """Namespaces, each with things of others, and agents that follow the controller at `url`."""

    def __init__(self, folder: Path, hosts: Sequence[str], url: str, restart: Callable[[], None]) -> None:
        self._folder = folder
        self._url = url
        self.restart_controller = restart
        self._names = {host: f"{host}-{os.getpid()}" for host in hosts}
        self._left: list[str] = []
        "Namespaces that are no machine's any more."
        self._netlinks: dict[str, Netlink] = {}
        self._agents: dict[str, Child] = {}
        self._filtered: dict[str, set[str]] = {host: set() for host in hosts}
        for host in hosts:
            self._make(host)
            self.shell(host, "ip link set lo up" + _OTHERS)
        self._others = {host: self.shell(host, _SEEN_OF_OTHERS) for host in hosts}

    # Fleet

    def plug(self, host: str, device: str, interface_id: str) -> None:
        """Give a machine an interface; every other one has a filter of somebody's."""
        self._ip(host, _making(device, interface_id))
        if _is_filtered(interface_id):
            # The agent may have made the qdisc already.
            made = f"tc qdisc add dev {device} clsact 2>/dev/null || true"
            self.shell(host, f"{made}; tc filter add dev {device} ingress {_ON_A_WORKLOAD}")
            self._filtered[host].add(device)

    def unplug(self, host: str, device: str) -> None:
        """Take it away."""
        self._ip(host, [f"link del {device}"])
        self._filtered[host].discard(device)

    def interfere(self, host: str, draw: random.Random) -> str:
        """Take one object of ours away, or change a device of ours."""
        observed = self.observe(host, KernelState())
        state = observed.state
        if not state.links:
            return ""
        if draw.random() < 0.5:
            sets = (state.links, state.attachments, state.fdb, state.neighbours, state.routes, state.filters)
            one = draw.choice(sorted(draw.choice([part for part in sets if part]), key=repr))
            self._inside(host, lambda: apply(self._netlinks[host], [remove(one)], observed))
            return f"takes {subject(one)}"
        line = draw.choice(sorted(_damages(state)))
        done = subprocess.run(
            namespaces.command(self._names[host], ["sh", "-c", line]), capture_output=True, check=False
        )
        return "" if done.returncode else line

    def start(self, host: str) -> None:
        """Start a machine's agent."""
        self._agents[host] = self._agent(host)

    def kill(self, host: str) -> None:
        """End an agent as kill -9 does."""
        how = self._agents.pop(host).end(signal.SIGKILL)
        assert how == -signal.SIGKILL, f"the agent of {host} had ended by itself: {self.log(host)}"

    def boot(self, host: str) -> None:
        """Kill an agent, and leave nothing of ours in the kernel."""
        self.kill(host)
        assert self._inside(host, lambda: converge(self._netlinks[host], KernelState())) == ()
        assert self.observe(host, KernelState()).state == KernelState()

    # for checks

    def renew(self, host: str, interfaces: Mapping[str, str]) -> None:
        """Have another machine of this name with these interfaces (by interface ID) and nothing else."""
        self._netlinks[host].close()
        self._others.pop(host, None)
        # Who makes a namespace waits until the kernel has taken apart all that went.
        self._left.append(self._names[host])
        self._names[host] = f"{host}-{os.getpid()}-{len(self._left)}"
        self._make(host)
        lines = (line for one, device in interfaces.items() for line in _making(device, one))
        self._ip(host, ["link set lo up", *lines])
        filtered = [device for interface_id, device in interfaces.items() if _is_filtered(interface_id)]
        asked = "".join(
            f"qdisc add dev {device} clsact\nfilter add dev {device} ingress {_ON_A_WORKLOAD}\n"
            for device in filtered
        )
        self.shell(host, f"tc -batch - <<'END'\n{asked}END\n")

    def read(self, host: str, desired: KernelState) -> Reading:
        """Read what a machine has, but for what belongs to others."""
        return reading(
            lambda script: self.shell(host, script),
            apart=_DEVICES_OF_OTHERS,
            macs=[one.name for one in desired.links if one.mac],
            mtus=[one.name for one in desired.attachments if one.mtu is not None],
            settings=[one.path for one in desired.settings],
        )

    def take(self, host: str, things: Iterable[KernelObject]) -> None:
        """Take things of ours away."""
        observed = self.observe(host, KernelState())
        steps = [remove(one) for one in things]
        assert self._inside(host, lambda: apply(self._netlinks[host], steps, observed)) == ()

    def remove(self, host: str) -> None:
        """Run `agent --remove` where no agent runs."""
        assert self._agent(host, "--remove").wait() == 0, self.log(host)

    def observe(self, host: str, desired: KernelState) -> Observation:
        """Look at a kernel."""
        paths = [one.path for one in desired.settings]
        return self._inside(host, lambda: observe(self._netlinks[host], settings=paths))

    def assert_others_are_as_they_were(self) -> int:
        """Compare what is not ours with what it was; return how many filters of others on workloads are there."""
        kept = 0
        for host, others in self._others.items():
            assert self.shell(host, _SEEN_OF_OTHERS) == others
            asked = "".join(f"filter show dev {device} ingress pref 7\n" for device in self._filtered[host])
            found = self.shell(host, f"tc -batch - <<'END'\n{asked}END\n").count("ip_proto sctp")
            assert found == len(self._filtered[host])
            kept += found
        return kept

    def shell(self, host: str, script: str) -> str:
        """Run a script on a machine."""
        line = namespaces.command(self._names[host], ["sh", "-ec", script])
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def log(self, host: str) -> str:
        """Return what a machine's agents said."""
        return self._log(host).read_text(errors="replace")[-3000:]

    def close(self) -> None:
        """End all agents and machines."""
        for host in tuple(self._agents):
            self.kill(host)
        for netlink in self._netlinks.values():
            netlink.close()
        for name in (*self._left, *self._names.values()):
            namespaces.remove(name)

    def _make(self, host: str) -> None:
        name = self._names[host]
        namespaces.create(name)
        self._netlinks[host] = namespaces.inside(name, Netlink)

    def _log(self, host: str) -> Path:
        return self._folder / f"{host}.log"

    def _agent(self, host: str, *more: str) -> Child:
        words = ["--host", host, "--controller", self._url, "--netns", self._names[host]]
        words += ["--state", str(self._folder / host), *more]
        return Child(
            lambda: agent.main(words, prog_name="ovs-geneve agent", standalone_mode=False), self._log(host)
        )

    def _ip(self, host: str, lines: Sequence[str]) -> None:
        line = ["ip", "-n", self._names[host], "-batch", "-"]
        subprocess.run(line, input="\n".join(lines), text=True, check=True)

    def _inside(self, host: str, function: Callable[[], T]) -> T:
        return namespaces.inside(self._names[host], function)


def _making(device: str, interface_id: str) -> list[str]:
    return [f"link add {device} type dummy", f"link set {device} alias {interface_id} up"]


def _is_filtered(interface_id: str) -> bool:
    """Tell whether somebody filters on a workload's interface."""
    return bool(int(interface_id[1:]) % 2)


def _damages(state: KernelState) -> Iterator[str]:
    """Yield commands that somebody may give who knows nothing of us."""
    for link in state.links:
        yield f"ip link set {link.name} down"
        yield f"ip link set {link.name} mtu 1400"
        yield f"tc qdisc del dev {link.name} clsact"
        match link.kind:
            case BridgeLink():
                yield f"ip link set {link.name} type bridge stp_state 1"
                yield f"ip -4 neigh flush dev {link.name} nud permanent"
                yield f"ip -6 neigh flush dev {link.name} nud permanent"
            case VrfLink(table=table):
                yield f"ip route flush table {table} proto 110"
            case _ if link.port is not None:
                yield f"ip link set {link.name} nomaster"
                yield f"bridge link set dev {link.name} learning on"
                yield f"bridge fdb add 02:00:00:00:00:77 dev {link.name} master static"
                yield f"tc filter add dev {link.name} egress pref 5 protocol ip u32 match u32 0 0 action pass"
    for one in state.attachments:
        yield f"ip link set {one.name} nomaster"
        yield f"tc filter del dev {one.name} ingress pref 28162"
        yield f"ip link set {one.name} mtu 1300"
