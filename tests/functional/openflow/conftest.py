# SPDX-License-Identifier: Apache-2.0
"""A real ovs-vswitchd with the dummy datapath: no root, no packets, every OpenFlow answer real."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, product
from pathlib import Path
from string import ascii_lowercase

import pytest

OFPT_ERROR = 1
OFPT_BARRIER_REQUEST = 20
OFPT_BARRIER_REPLY = 21
OFPT_MULTIPART_REPLY = 19

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")


@dataclass
class Vswitchd:
    """One ovsdb-server and one ovs-vswitchd in a folder of their own."""

    folder: Path
    env: dict[str, str]
    daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @classmethod
    def start(cls, folder: Path) -> Vswitchd:
        names = ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")
        env = {**os.environ, **dict.fromkeys(names, str(folder))}
        self = cls(folder, env)
        self._run("ovsdb-tool", "create", str(folder / "conf.db"), str(SCHEMA))
        self._daemon("ovsdb-server", str(folder / "conf.db"), f"--remote=punix:{folder}/db.sock")
        self._wait(folder / "db.sock")
        # "system" replaces the kernel datapath and its devices; "override" would also replace geneve ports.
        self._daemon("ovs-vswitchd", f"unix:{folder}/db.sock", "--enable-dummy=system")
        self._wait(folder / f"ovs-vswitchd.{self.daemons[1].pid}.ctl")
        return self

    def stop(self) -> None:
        for daemon in reversed(self.daemons):
            daemon.terminate()
            daemon.wait(10)

    def vsctl(self, *arguments: str) -> str:
        return self._run("ovs-vsctl", f"--db=unix:{self.folder}/db.sock", *arguments)

    def ofctl(self, *arguments: str) -> str:
        return self._run("ovs-ofctl", "-O", "OpenFlow15", *arguments)

    def appctl(self, *arguments: str) -> str:
        control = self.folder / f"ovs-vswitchd.{self.daemons[1].pid}.ctl"
        return self._run("ovs-appctl", "-t", str(control), *arguments)

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        return done.stdout

    def _daemon(self, name: str, *arguments: str) -> None:
        tool = shutil.which(name) or f"/usr/sbin/{name}"
        path = self.folder / f"{name}.log"
        command = [tool, *arguments, "--no-chdir", f"--log-file={path}", "-vconsole:off"]
        self.daemons.append(subprocess.Popen(command, env=self.env, stdin=subprocess.DEVNULL))

    def _wait(self, path: Path) -> None:
        deadline = time.monotonic() + 10
        while not path.exists():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{path.name} did not appear; see {self.folder}")
            time.sleep(0.01)


@dataclass
class Connection:
    """An OpenFlow 1.5 connection to one bridge: bytes in, whole messages out."""

    link: socket.socket
    xids: count[int] = field(default_factory=lambda: count(1000))
    buffer: bytearray = field(default_factory=bytearray)

    @classmethod
    def open(cls, path: Path) -> Connection:
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(20)
        link.connect(str(path))
        link.sendall(bytes.fromhex("0600000800000001"))
        self = cls(link)
        assert self.read()[:2] == b"\x06\x00", "no OpenFlow 1.5 hello"
        return self

    def send(self, *messages: bytes) -> list[bytes]:
        """Send messages and a barrier; return what came before its reply."""
        xid = next(self.xids)
        self.link.sendall(b"".join(messages) + bytes.fromhex("06140008") + xid.to_bytes(4))
        got: list[bytes] = []
        while (message := self.read())[1] != OFPT_BARRIER_REPLY:
            got.append(message)
        return got

    def install(self, *messages: bytes) -> None:
        """Send messages that must not be refused."""
        errors = [message.hex() for message in self.send(*messages) if message[1] == OFPT_ERROR]
        assert errors == []

    def refused(self, message: bytes) -> tuple[int, int]:
        """Send a message that must be refused; return the error's type and code."""
        (error,) = (answer for answer in self.send(message) if answer[1] == OFPT_ERROR)
        return int.from_bytes(error[8:10]), int.from_bytes(error[10:12])

    def multipart(self, request: bytes) -> list[bytes]:
        """Send a multipart request; return all parts of its reply."""
        return [answer for answer in self.send(request) if answer[1] == OFPT_MULTIPART_REPLY]

    def read(self) -> bytes:
        while True:
            while len(self.buffer) < 8 or len(self.buffer) < (length := int.from_bytes(self.buffer[2:4])):
                chunk = self.link.recv(1 << 20)
                assert chunk, "the switch hung up"
                self.buffer += chunk
            message = bytes(self.buffer[:length])
            del self.buffer[:length]
            if message[1] != 2:
                return message
            self.link.sendall(message[:1] + b"\x03" + message[2:])


@dataclass
class Switch:
    """One bridge of a running vswitchd, and a connection to it."""

    vswitchd: Vswitchd
    name: str
    connection: Connection

    def ofctl(self, command: str, *arguments: str) -> str:
        return self.vswitchd.ofctl(command, self.name, *arguments)

    def trace(self, flow: str) -> str:
        """Trace a packet; ports are written as this bridge numbers them, not as the datapath does."""
        trace = self.vswitchd.appctl("ofproto/trace", "--names", self.name, flow)
        return trace.replace(f"{self.name}p", "")

    def map_options(self, *maps: str) -> None:
        """Map options as ovs-ofctl writes them: "{class=0xff00,type=1,len=4}->tun_metadata0"."""
        self.ofctl("add-tlv-map", ",".join(maps))


@pytest.fixture(scope="session")
def vswitchd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vswitchd]:
    running = Vswitchd.start(tmp_path_factory.mktemp("ovs"))
    yield running
    running.stop()


_NAMES = map("".join, product(ascii_lowercase, repeat=3))


@pytest.fixture
def switch(vswitchd: Vswitchd) -> Iterator[Switch]:
    yield from make_switch(vswitchd)


def make_switch(vswitchd: Vswitchd) -> Iterator[Switch]:
    """Make a bridge with two dummy ports, 1 and 2, and a flow-based GENEVE port, 10."""
    name = f"sw-{next(_NAMES)}"
    vswitchd.vsctl(
        *("add-br", name, "--", "set", "bridge", name, "datapath_type=system"),
        *("protocols=OpenFlow13,OpenFlow15", "fail_mode=secure"),
    )
    for port in (1, 2):
        interface = f"{name}p{port}"
        options = ("type=dummy", f"ofport_request={port}")
        vswitchd.vsctl("add-port", name, interface, "--", "set", "interface", interface, *options)
    tunnel = f"{name}gnv"
    options = ("type=geneve", "ofport_request=10", "options:remote_ip=flow", "options:key=flow")
    vswitchd.vsctl("add-port", name, tunnel, "--", "set", "interface", tunnel, *options)
    connection = Connection.open(vswitchd.folder / f"{name}.mgmt")
    yield Switch(vswitchd, name, connection)
    connection.link.close()
    vswitchd.vsctl("del-br", name)
