# SPDX-License-Identifier: Apache-2.0
"""A lab and a controller beside it, with the few verbs that tests are made of."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from controller.intent.commands import Delete, Put
from controller.intent.model import (
    HostKind,
    HostSpec,
    Kind,
    NetworkSpec,
    OptionMatch,
    OptionPolicySpec,
    OptionSchemaSpec,
    OptionValue,
    Payload,
    PolicyAction,
    PolicySpec,
    PortSpec,
    Spec,
    TunnelStyle,
)
from controller.lab import HostAgent, Lab, LabHost, LinuxHost
from ovs_geneve.geneve.fields import OptionLayout
from ovs_geneve.values import Vni
from tests.patience import patient
from tests.system.wire import LENGTH, SOCKET

_ROOT = Path(__file__).parents[2]
_vnis = itertools.count(1000)
PATIENCE = patient(20.0)
"Seconds until what should take milliseconds counts as not happening."


class Controller:
    """The controller as a process of its own; `kill` is what SIGKILL does to it."""

    def __init__(self, state: Path, lab: Lab, *arguments: str, where: str | None = None) -> None:
        self.state = state
        self._lab = lab
        self._arguments = arguments
        self._where = where
        self._process: subprocess.Popen[bytes] | None = None
        self._session: socket.socket | None = None
        self.log = state.with_suffix(".log")
        self.provoked: list[str] = []
        "What it may complain about, because a test made it so."

    def start(self) -> None:
        assert self._process is None, "it runs already"
        line = [sys.executable, "-m", "tests.system.runner", str(self.state), *self._arguments]
        with self.log.open("ab") as output:
            options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
            if self._where is None:
                self._process = subprocess.Popen(line, cwd=_ROOT, **options)
            else:
                self._process = self._lab.popen(self._where, line, cwd=_ROOT, **options)
        try:
            self._session = self._call()
        except BaseException:
            self._process.kill()
            self._process.wait(15)
            self._process = None
            raise

    def kill(self) -> None:
        """SIGKILL: no goodbye, no last write."""
        self._end(signal.SIGKILL, -signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM, 0)

    @property
    def runs(self) -> bool:
        return self._process is not None

    def ask(self, name: str, *arguments: object) -> Any:
        """Call a method of runner.Service."""
        assert self._session is not None, "it does not run"
        raw = pickle.dumps((name, arguments))
        self._session.sendall(LENGTH.pack(len(raw)) + raw)
        good, outcome = pickle.loads(self._exactly(LENGTH.unpack(self._exactly(LENGTH.size))[0]))
        if not good:
            raise RuntimeError(outcome)
        return outcome

    def put(self, kind: Kind, name: str, spec: Spec) -> None:
        self.ask("submit", Put(kind=kind, name=name, spec=spec))

    def delete(self, kind: Kind, name: str) -> None:
        self.ask("submit", Delete(kind=kind, name=name))

    def settle(self, *names: tuple[Kind, str], timeout: float = PATIENCE) -> None:
        """Return when every condition of these objects is True."""
        left = self.ask("settled", list(names), timeout)
        assert not left, f"after {timeout:g} s: {left}\n{self._tail()}"

    def complaints(self) -> str:
        """Return what the controller logged that it should have had no reason to, with the lines that follow."""
        bad = re.compile(r"Traceback| ERROR | CRITICAL |Warning:")
        lines = self.log.read_text(errors="replace").splitlines()
        bad_lines = (number for number, line in enumerate(lines) if bad.search(line))
        first = next((n for n in bad_lines if not any(each in lines[n] for each in self.provoked)), None)
        return "" if first is None else "\n".join(lines[first : first + 40])

    def _end(self, number: signal.Signals, expected: int) -> None:
        assert self._process is not None, "it does not run"
        assert self._session is not None
        self._session.close()
        self._process.send_signal(number)
        code = self._process.wait(patient(15))
        self._process = self._session = None
        assert code == expected, f"the controller ended with {code}:\n{self._tail()}"

    def _call(self) -> socket.socket:
        end = time.monotonic() + patient(60)
        while True:
            session = socket.socket(socket.AF_UNIX)
            try:
                session.connect(str(self.state / SOCKET))
            except (FileNotFoundError, ConnectionRefusedError):
                session.close()
                assert self._process is not None
                assert self._process.poll() is None, self._tail()
                assert time.monotonic() < end, f"the controller does not start:\n{self._tail()}"
                time.sleep(0.05)
            else:
                session.settimeout(patient(60))
                return session

    def _exactly(self, count: int) -> bytes:
        assert self._session is not None
        raw = b""
        while len(raw) < count:
            piece = self._session.recv(count - len(raw))
            assert piece, f"the controller hung up:\n{self._tail()}"
            raw += piece
        return raw

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A logical port that is plugged in."""

    name: str
    mac: str
    addresses: tuple[str, ...]

    @property
    def ipv4(self) -> str:
        return next(a for a in self.addresses if "." in a)

    @property
    def ipv6(self) -> str:
        return next(a for a in self.addresses if ":" in a)


class Overlay:
    """A lab whose hosts a controller programs."""

    def __init__(self, lab: Lab, controller: Controller, rest: str = "") -> None:
        self.lab = lab
        self.controller = controller
        self.agents = {host.name: HostAgent(host, rest) for host in lab.linux_hosts}
        self._ports: dict[str, list[str]] = {}
        self._pings: list[Pinging] = []
        self._rules: list[str] = []
        "Policies between groups."

    def enrol(self, host: LabHost, *, dialled: bool = True, wait: bool = True) -> None:
        remote = host.ovsdb if dialled else None
        endpoint = ip_address(str(host.endpoint))
        spec = HostSpec(ovsdb=remote, endpoints=(endpoint,), underlay_mtu=host.mtu)
        self.controller.put(Kind.HOST, host.name, spec)
        if wait:
            self.controller.settle((Kind.HOST, host.name))

    def enrol_linux(self, host: LinuxHost, *, tunnels: TunnelStyle = TunnelStyle.METADATA) -> None:
        """Declare a host without Open vSwitch and see to its agent; `controller.settle` tells when it is ready."""
        endpoint = ip_address(str(host.endpoint))
        kind = HostKind.LINUX
        spec = HostSpec(kind=kind, endpoints=(endpoint,), underlay_mtu=host.mtu, tunnels=tunnels)
        self.controller.put(Kind.HOST, host.name, spec)
        if not self.agents[host.name].runs:
            self.agents[host.name].start()

    def expel(self, host: str) -> None:
        self.controller.delete(Kind.HOST, host)

    def network(
        self, name: str, *, options: tuple[str, ...] = (), payload: Payload = Payload.ETHERNET
    ) -> str:
        spec = NetworkSpec(vni=Vni(next(_vnis)), options=options, payload=payload)
        self.controller.put(Kind.NETWORK, name, spec)
        self._ports[name] = []
        return name

    def carry(self, network: str, *options: str, wait: bool = True) -> None:
        """Have a network carry these options and no others; wait until it does, on every packet."""
        spec = NetworkSpec(vni=Vni(self.vni(network)), options=options)
        self.controller.put(Kind.NETWORK, network, spec)
        if wait:
            self.controller.settle((Kind.NETWORK, network))

    def vni(self, network: str) -> int:
        """The VNI of a network."""
        return int(self.controller.ask("vni", network))

    def port(
        self,
        network: str,
        host: str,
        number: int,
        *,
        values: dict[str, int] | None = None,
        bare: bool = False,
        group: str | None = None,
    ) -> Endpoint:
        """Declare a port and plug it in: 10.0.0.NUMBER and 2001:db8::NUMBER unless it is bare."""
        endpoint = self.declare(network, number, values=values, bare=bare, group=group)
        self.plug(endpoint, host)
        return endpoint

    def declare(
        self,
        network: str,
        number: int,
        *,
        values: dict[str, int] | None = None,
        bare: bool = False,
        group: str | None = None,
    ) -> Endpoint:
        name, mac = f"{network}{number}", 0x020000000000 + number
        addresses = () if bare else (f"10.0.0.{number}", f"2001:db8::{number:x}")
        said = tuple(
            OptionValue(schema=key.partition(".")[0], field=key.partition(".")[2], value=value)
            for key, value in sorted((values or {}).items())
        )
        given = tuple(map(ip_address, addresses))
        spec = PortSpec(network=network, mac=mac, addresses=given, values=said, group=group)
        self.controller.put(Kind.PORT, name, spec)
        if name not in self._ports[network]:
            self._ports[network].append(name)
        return Endpoint(name, mac.to_bytes(6).hex(":"), addresses)

    def plug(self, endpoint: Endpoint, host: str, *, wait: bool = True) -> None:
        lengths = {4: 24, 6: 64}
        addresses = [f"{a}/{lengths[ip_address(a).version]}" for a in endpoint.addresses]
        self.lab.plug(host, endpoint.name, endpoint.mac, addresses, timeout=patient(30))
        if wait:
            self.controller.settle((Kind.PORT, endpoint.name))

    def remove(self, endpoint: Endpoint) -> None:
        """Unplug a port, unless its host is gone, and take it away."""
        if endpoint.name in {port.name for port in self.lab.ports}:
            self.lab.unplug(endpoint.name)
        self.controller.delete(Kind.PORT, endpoint.name)
        for names in self._ports.values():
            if endpoint.name in names:
                names.remove(endpoint.name)

    def schema(self, layout: OptionLayout) -> None:
        self.controller.put(Kind.OPTION_SCHEMA, layout.name, OptionSchemaSpec(layout=layout))

    def policy(
        self,
        name: str,
        network: str,
        match: Iterable[tuple[str, int, int]],
        *,
        action: str = "allow",
        to_port: str | None = None,
        priority: int = 100,
        wait: bool = True,
    ) -> None:
        """`match` is ("schema.field", value, mask)…"""
        conditions = (
            OptionMatch(schema=key.partition(".")[0], field=key.partition(".")[2], value=value, mask=mask)
            for key, value, mask in match
        )
        spec = OptionPolicySpec(
            network=network,
            priority=priority,
            to_port=to_port,
            match=tuple(sorted(conditions)),
            action=PolicyAction(action),
        )
        self.controller.put(Kind.OPTION_POLICY, name, spec)
        if wait:
            self.controller.settle((Kind.OPTION_POLICY, name))

    def rule(self, name: str, network: str, to: str, **rest: Any) -> None:
        """Say who may talk to a group; `rest` is of PolicySpec."""
        self.controller.put(Kind.POLICY, name, PolicySpec(network=network, to_group=to, **rest))
        if name not in self._rules:
            self._rules.append(name)
        self.controller.settle((Kind.POLICY, name))
        self.revalidate()

    def drop_rules(self) -> None:
        """Take all policies between groups away."""
        for name in self._rules:
            self.controller.delete(Kind.POLICY, name)
        self._rules.clear()
        self.controller.settle(*((Kind.NETWORK, name) for name in self._ports))
        self.revalidate()

    def revalidate(self) -> None:
        """Return when megaflows are as flows are: OVS looks at them again behind our back, late on a busy machine."""
        for host in self.lab.hosts:
            if host.vswitchd_pid is not None:
                host.appctl("revalidator/wait")

    def clear(self) -> None:
        """End all that pings and take away all networks with their ports, for the next test."""
        for ping in self._pings:
            ping.stop()
        self._pings.clear()
        self.drop_rules()
        for network, ports in self._ports.items():
            plugged = {port.name for port in self.lab.ports}
            for port in ports:
                if port in plugged:
                    self.lab.unplug(port)
                self.controller.delete(Kind.PORT, port)
            self.controller.delete(Kind.NETWORK, network)
        self._ports.clear()

    def ping(
        self, source: Endpoint, target: str, *, count: int = 3, interval: float = 0.1, wait: float = 1
    ) -> int:
        """Return how many of `count` pings were answered."""
        done = self.lab.exec(
            source.name,
            ["ping", "-n", "-q", "-c", str(count), "-i", str(interval), "-W", str(wait), target],
            timeout=count * max(interval, wait) + patient(10),
        )
        found = re.search(r"(\d+) received", done.stdout)
        assert found is not None, done.stdout + done.stderr
        return int(found[1])

    def pinging(self, source: Endpoint, target: str) -> Pinging:
        """Start a ping that goes on beside the test, every 50 ms."""
        self._pings.append(Pinging(self.lab, source, target))
        return self._pings[-1]

    def flows(self, host: str) -> list[FlowLine]:
        """What `ovs-ofctl dump-flows` tells of a host's bridge."""
        dump = self.lab.host(host).ofctl("dump-flows", "br-int")
        return [FlowLine.parse(line) for line in dump.splitlines() if "cookie=" in line]


@dataclasses.dataclass(frozen=True)
class FlowLine:
    """A flow of a dump."""

    cookie: int
    duration: float
    packets: int
    table: int
    rest: str
    "Priority, match and actions, as printed."

    @classmethod
    def parse(cls, line: str) -> FlowLine:
        head, rest = re.fullmatch(r"\s*(cookie=.*?), (priority=.*|actions=.*|reset_counts .*)", line).groups()  # type: ignore[union-attr]  # a line that does not fit fails the test
        parts = dict(part.strip().split("=", 1) for part in head.split(",") if "=" in part)
        return cls(
            cookie=int(parts["cookie"], 16),
            duration=float(parts["duration"].rstrip("s")),
            packets=int(parts["n_packets"]),
            table=int(parts["table"]),
            rest=rest,
        )


_UNDER_WAY = 3
"Pings of 50 ms that may be without an answer when a busy machine ends them."


class Pinging:
    """A ping that runs beside the test until it is stopped."""

    def __init__(self, lab: Lab, source: Endpoint, target: str) -> None:
        line = ["ping", "-n", "-D", "-O", "-i", "0.05", "-W", "1", target]
        self._process = lab.popen(
            source.name, line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.what = f"{source.name} to {target}"
        self._said: str | None = None

    def stop(self) -> str:
        """End it and return all it said."""
        if self._said is None:
            time.sleep(patient(0.1))  # for the answer to the last one
            self._process.send_signal(signal.SIGINT)
            self._said = self._process.communicate(timeout=patient(10))[0]
        return self._said

    def times(self) -> list[float]:
        """When answers came, seconds since 1970."""
        return [float(at) for at in re.findall(r"^\[([\d.]+)\] \d+ bytes from", self.stop(), re.M)]

    def lost(self) -> int:
        found = re.search(r"(\d+) packets transmitted", self.stop())
        assert found is not None, self.stop()
        answered = {int(number) for number in re.findall(r"bytes from .*icmp_seq=(\d+)", self.stop())}
        last = max(answered, default=0)
        after = int(found[1]) - last
        # The few that SIGINT overtook are not lost.
        return last - len(answered) + (after if after > _UNDER_WAY else 0)

    def assert_nothing_lost(self, at_least: int) -> None:
        assert len(self.times()) >= at_least, f"{self.what}: {self.stop()[-500:]}"
        assert self.lost() == 0, f"{self.what}: {_around_losses(self.stop())}"

    def longest_gap(self) -> float:
        times = self.times()
        assert len(times) > 2, self.stop()
        return max(after - before for before, after in itertools.pairwise(times))


def _around_losses(said: str) -> str:
    lines = said.splitlines()
    return "\n".join([line for line in lines if "no answer" in line or "nreach" in line][:10] + lines[-3:])
