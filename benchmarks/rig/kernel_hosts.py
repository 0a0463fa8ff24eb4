# SPDX-License-Identifier: Apache-2.0
"""Hypervisors in network namespaces on the kernel's datapath, without a controller: flows are written by hand.

    vm1 ── p ─[hv1: br-int, GENEVE]─ u ──── u ─[hv2: br-int, GENEVE]─ p ── vm2

A datapath belongs to a network namespace, so both ovs-vswitchd of one kernel have their own. What joins namespaces is
the caller's: veth, or couples of the stand-in NIC (tests/vm/standin).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from controller.lab import commands, namespaces

BRIDGE = "br-int"
TUNNEL = "gnv0"

OPTION = "{class=0xffff,type=0x80,len=4}->tun_metadata0"
"The one option, of the class for experiments."

VALUE = 0x1234

MTU = 1450
"Of workloads; the underlay takes what GENEVE adds."

UNDERLAY_MTU = 1600

_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
_PATIENCE = 60.0

_EARLIEST = 11.0
"OVS 3.1 counts no processors, and loses every upcall, when ovs-vswitchd starts in a machine's first 10 s."

Cable = Callable[[str, str, str, str], None]
"Join two namespaces: namespace, link, other namespace, other link."


@dataclass(frozen=True, slots=True)
class Hypervisor:
    """A network namespace with an address on the underlay, and its own Open vSwitch where it was started."""

    namespace: str
    folder: Path
    address: str

    def run(self, *line: str) -> str:
        """Run a program there; return what it said. Raises LabError."""
        names = ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")
        environment = dict.fromkeys(names, str(self.folder))
        done = commands.run(line, namespace=self.namespace, environment=environment, timeout=_PATIENCE)
        return done.stdout

    def vsctl(self, *words: str) -> str:
        """Run ovs-vsctl on its database."""
        return self.run("ovs-vsctl", *words)

    def appctl(self, *words: str) -> str:
        """Run ovs-appctl on its ovs-vswitchd."""
        return self.run("ovs-appctl", *words)

    def start_ovs(self, *settings: str) -> None:
        """Start its daemons; settings are columns of Open_vSwitch. It gets a bridge with a tunnel."""
        time.sleep(max(0.0, _EARLIEST - float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.run("ovsdb-tool", "create", f"{self.folder}/conf.db", _SCHEMA)
        self._daemon("ovsdb-server", f"{self.folder}/conf.db", f"--remote=punix:{self.folder}/db.sock")
        self.vsctl(
            "--no-wait", "init", "--", "set", "Open_vSwitch", ".", "external_ids:system-id=x", *settings
        )
        self._daemon("ovs-vswitchd", f"unix:{self.folder}/db.sock")
        bridge = ("set", "bridge", BRIDGE, "fail-mode=secure", "datapath_type=system")
        tunnel = ("set", "interface", TUNNEL, "type=geneve", "options:remote_ip=flow", "options:key=flow")
        self.vsctl("add-br", BRIDGE, "--", *bridge, "--", "add-port", BRIDGE, TUNNEL, "--", *tunnel)
        self.run("ovs-ofctl", "add-tlv-map", BRIDGE, OPTION)

    def add_path(self, port: str, vni: int, peer: str, *, option: bool) -> None:
        """Take a link into the bridge and join it with its counterpart, with the option set and matched or without."""
        self.vsctl("add-port", BRIDGE, port)
        stamp, match = (
            (f"set_field:{VALUE}->tun_metadata0,", f",tun_metadata0={VALUE}") if option else ("", "")
        )
        away = f"set_field:{vni}->tun_id,set_field:{peer}->tun_dst,{stamp}output:{TUNNEL}"
        flows = f"in_port={port},actions={away}\nin_port={TUNNEL},tun_id={vni}{match},actions=output:{port}\n"
        path = self.folder / f"flows-{port}"
        path.write_text(flows, encoding="ascii")
        self.run("ovs-ofctl", "add-flows", BRIDGE, str(path))

    def _daemon(self, name: str, *words: str) -> None:
        files = [f"--pidfile={self.folder}/{name}.pid", f"--log-file={self.folder}/{name}.log"]
        self.run(name, *words, *files, "--detach", "--no-chdir", "-vconsole:off", "-vsyslog:off")


def veth(namespace: str, link: str, other: str, other_link: str) -> None:
    """Join two namespaces by a pair of veth."""
    # Inside: the kernel looks the name up where the request is made, not where the link is to be.
    ip(namespace, f"link add {link} type veth peer name {other_link} netns {other}")


@contextmanager
def spaces(*names: str) -> Iterator[None]:
    """Make network namespaces; take them away afterwards."""
    with ExitStack() as stack:
        for name in names:
            namespaces.create(name)
            stack.callback(namespaces.remove, name)
            ip(name, "link set lo up")
        yield


@contextmanager
def hypervisors(
    prefix: str, folder: Path, cable: Cable, net: int = 9
) -> Iterator[tuple[Hypervisor, Hypervisor]]:
    """Make two, joined by an underlay; end what runs in them, and the namespaces, afterwards."""
    made = [Hypervisor(f"{prefix}hv{n}", folder / f"{prefix}hv{n}", f"10.{net}.0.{n}") for n in (1, 2)]
    first, second = made
    with spaces(first.namespace, second.namespace), ExitStack() as stack:
        stack.callback(_end, made)
        cable(first.namespace, "u", second.namespace, "u")
        for each in made:
            ip(
                each.namespace,
                f"link set u mtu {UNDERLAY_MTU}",
                f"addr add {each.address}/24 dev u",
                "link set u up",
            )
        yield first, second


def ip(namespace: str, *lines: str) -> None:
    """Run `ip` there, once for all lines. Raises LabError."""
    script = " && ".join(f"ip -n {namespace} {line}" for line in lines)
    commands.run(["sh", "-c", script], timeout=_PATIENCE)


def _end(made: list[Hypervisor]) -> None:
    pids = [commands.read_pid(path) for each in made for path in each.folder.glob("*.pid")]
    commands.end(pid for pid in pids if pid is not None)
