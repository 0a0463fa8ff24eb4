# SPDX-License-Identifier: Apache-2.0
"""A fabric of real hosts under the controller as a process of its own, and what it is told: shared by benchmarks."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.rig.bridge_socket import BridgeSocket
from benchmarks.rig.daemons import BRIDGE, OvsHost, cpu_seconds, hosts, rss_mib, wait_until
from benchmarks.rig.rest_client import RestClient, encode, send_all

REPOSITORY = Path(__file__).parents[2]
CONNECTIONS = 16
"Keep-alive connections that write the intent, an object a request."
BULK_CONNECTIONS = 2
"Connections over which documents are applied in bulk."

_PATIENCE = 120.0
_POLL = 0.02


class Size(NamedTuple):
    """How large a fabric is: `ports` in each network."""

    hosts: int
    networks: int
    ports: int

    @property
    def all_ports(self) -> int:
        """Count the ports of all networks."""
        return self.networks * self.ports

    def __str__(self) -> str:
        return f"{self.hosts} hosts, {self.all_ports:,} ports"


class LogicalPort(NamedTuple):
    """A port of a network, and the host where it is plugged."""

    network: int
    number: int
    host: int

    @property
    def name(self) -> str:
        """Its name, which is its interface's and the iface-id too."""
        return f"s{self.network}p{self.number}"

    @property
    def mac(self) -> str:
        """Its address, as the OVN simulation has it."""
        return f"0a:00:00:{self.network:02x}:{self.number >> 8:02x}:{self.number & 255:02x}"

    @property
    def document(self) -> dict[str, Any]:
        """What declares it."""
        place = self.number + 10
        address = f"10.{self.network}.{place // 250}.{place % 250 + 1}"
        return {"network": network_name(self.network), "mac": self.mac, "addresses": [address]}

    def request(self, query: str = "") -> bytes:
        """Return the request that declares it."""
        return encode("PUT", f"/v1/ports/{self.name}{query}", self.document)


def network_name(number: int) -> str:
    """Return the name of a network."""
    return f"s{number}"


def ports_of(size: Size) -> Iterator[LogicalPort]:
    """Place ports round-robin: every network has ports on every host, as in the OVN simulation."""
    for network in range(size.networks):
        for number in range(size.ports):
            yield LogicalPort(network, number, (network * size.ports + number) % size.hosts)


def spare_ports(size: Size, count: int) -> list[LogicalPort]:
    """Return ports beyond those of the fabric, over networks and hosts as the OVN simulation has them."""
    return [LogicalPort(k % size.networks, size.ports + k, (k * 7) % size.hosts) for k in range(count)]


@dataclass
class Controller:
    """The controller as a process, and where its REST is served."""

    state: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    def start(self) -> None:
        """Start it; it may not answer yet."""
        command = [sys.executable, "-m", "controller", "controller", "--state", str(self.state)]
        # As where it is installed, its modules are compiled once and not at each start.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        with self.state.with_suffix(".log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--rest", f"127.0.0.1:{self.port}"],
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """End it with SIGKILL; its intent's ovsdb-server ends with it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def log(self) -> str:
        """Return what it complained about."""
        return self.state.with_suffix(".log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        """Its process id, 0 while it does not run."""
        return 0 if self.process is None else self.process.pid

    @property
    def intent_server(self) -> int:
        """The pid of its intent's ovsdb-server, 0 while there is none."""
        try:
            return int((self.state / "db.pid").read_text())
        except (OSError, ValueError):
            return 0

    def answers(self) -> bool:
        """Tell whether REST is served."""
        try:
            with RestClient(self.port) as client:
                return client.ask("GET", "/readyz").status == 200
        except OSError:
            return False


class Progress(NamedTuple):
    """What GET /v1/status says of all hosts."""

    revision: int
    ports: int
    flows: tuple[int, ...]
    "That each bridge should hold."
    messages: tuple[int, ...]
    "Sent to each bridge so far."
    programmed: bool
    "Every bridge has acknowledged everything."


@dataclass
class Fabric:
    """Hosts and their controller. `running` makes one."""

    size: Size
    hosts: list[OvsHost]
    controller: Controller
    bridges: list[BridgeSocket] = field(default_factory=list)

    def start_controller(self) -> None:
        """Start the controller and wait until it answers."""
        self.controller.start()
        wait_until(self.controller.answers, "the controller answers")

    def declare_hosts(self) -> None:
        """Enrol every host, and wait until it has a bridge that is programmed."""
        requests = [
            encode(
                "PUT",
                f"/v1/hosts/{host.name}",
                {"ovsdb": f"unix:{host.socket}", "endpoints": [{"address": f"198.51.100.{index + 1}"}]},
            )
            for index, host in enumerate(self.hosts)
        ]
        send_all(self.controller.port, requests, CONNECTIONS)
        for host in self.hosts:
            wait_until(host.management.exists, f"{host.name} has a bridge")
        self.wait_programmed()
        self.bridges = [BridgeSocket(host.management) for host in self.hosts]

    def declare_singly(self) -> None:
        """Declare every network, then every port, an object a request."""
        requests = [encode("PUT", f"/v1/networks/{network_name(n)}", {}) for n in range(self.size.networks)]
        send_all(self.controller.port, requests, CONNECTIONS)
        send_all(self.controller.port, (port.request() for port in ports_of(self.size)), CONNECTIONS)

    def declare_in_bulk(self) -> None:
        """Declare every network with its ports, a request each, as OVN's simulation has a transaction each."""
        ports = list(ports_of(self.size))
        requests = (
            encode("POST", "/v1/apply", _documents(number, [p for p in ports if p.network == number]))
            for number in range(self.size.networks)
        )
        send_all(self.controller.port, requests, BULK_CONNECTIONS)

    def plug(self, ports: Iterable[LogicalPort]) -> None:
        """Plug interfaces, one ovs-vsctl a host; return when their vswitchds have taken them in."""
        arguments: dict[int, list[str]] = defaultdict(list)
        for port in ports:
            arguments[port.host] += ["--", "add-port", BRIDGE, port.name]
            arguments[port.host] += [
                "--",
                "set",
                "Interface",
                port.name,
                f"external_ids:iface-id={port.name}",
            ]
        for host, words in arguments.items():
            self.hosts[host].vsctl(*words[1:])

    def progress(self, client: RestClient) -> Progress:
        """Ask the controller how far it is."""
        document = client.ask("GET", "/v1/status").json()
        told = [document["hosts"][host.name] for host in self.hosts if host.name in document["hosts"]]
        return Progress(
            revision=document["revision"],
            ports=document["objects"]["port"],
            flows=tuple(one["progress"]["flows"] for one in told),
            messages=tuple(one["progress"]["messages_sent"] for one in told),
            programmed=len(told) == len(self.hosts) and all(_is_programmed(one) for one in told),
        )

    def wait_programmed(self) -> Progress:
        """Wait until every bridge has acknowledged everything."""
        deadline = time.monotonic() + _PATIENCE
        with RestClient(self.controller.port) as client:
            while not (progress := self.progress(client)).programmed:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not programmed: {progress}; {self.controller.log()[-2000:]}")
                time.sleep(_POLL)
        return progress

    def flow_counts(self) -> tuple[int | None, ...]:
        """Ask every bridge how many flows it holds."""
        return tuple(bridge.count() for bridge in self.bridges)

    def knows(self, host: OvsHost, port: LogicalPort) -> bool:
        """Tell whether a host's bridge has flows to a port, by ovs-ofctl."""
        return "actions=" in host.ofctl("dump-flows", str(host.management), f"dl_dst={port.mac}")

    def cpu(self) -> dict[str, float]:
        """Return the CPU seconds that all daemons have used so far, by role, and those of this process."""
        return {
            "controller": cpu_seconds(self.controller.pid),
            "intent_server": cpu_seconds(self.controller.intent_server),
            "vswitchds": sum(cpu_seconds(host.vswitchd) for host in self.hosts),
            "ovsdb_servers": sum(cpu_seconds(host.processes["ovsdb-server"].pid) for host in self.hosts),
            CLIENT: time.process_time(),
        }

    def memory(self) -> dict[str, float]:
        """Return the resident memory of the controller, its database and one vswitchd, in MiB."""
        return {
            "controller": round(rss_mib(self.controller.pid), 1),
            "intent_server": round(rss_mib(self.controller.intent_server), 1),
            "one_vswitchd": round(rss_mib(self.hosts[0].vswitchd), 1),
        }


CLIENT = "client"
"The role of the benchmark itself, which is no daemon."


def cpu_delta(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Return the CPU seconds between two moments, by role."""
    return {role: round(after[role] - before[role], 3) for role in before}


def of_daemons(cpu: dict[str, float]) -> float:
    """Add up the CPU seconds of all roles but the client's."""
    return sum(seconds for role, seconds in cpu.items() if role != CLIENT)


@contextmanager
def running(folder: Path, size: Size) -> Iterator[Fabric]:
    """Run a fabric whose hosts are declared, provisioned, and hold nothing yet."""
    with ExitStack() as stack:
        names = [f"hv{number:02}" for number in range(1, size.hosts + 1)]
        started = stack.enter_context(hosts(folder, names))
        fabric = Fabric(size, started, Controller(folder / "state"))
        stack.callback(fabric.controller.kill)
        fabric.start_controller()
        fabric.declare_hosts()
        stack.callback(_hang_up, fabric.bridges)
        yield fabric


def _documents(network: int, ports: Sequence[LogicalPort]) -> list[dict[str, Any]]:
    declared: list[dict[str, Any]] = [{"kind": "network", "name": network_name(network)}]
    return declared + [{"kind": "port", "name": port.name, **port.document} for port in ports]


def _hang_up(bridges: Sequence[BridgeSocket]) -> None:
    for bridge in bridges:
        bridge.close()


def _is_programmed(status: dict[str, Any]) -> bool:
    if status["progress"]["behind_since"] is not None:
        return False
    return any(one["type"] == "Programmed" and one["status"] == "True" for one in status["conditions"])
