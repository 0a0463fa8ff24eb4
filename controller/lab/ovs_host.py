# SPDX-License-Identifier: Apache-2.0
"""One host: a namespace with a leg in the underlay, one in the control network, and an OVS of its own.

    hv1                                                    fabric
      u0 ── AF_PACKET ── br-phy (10.9.0.1 or fd09::1)  ──── switch "underlay"
      c0 (10.8.0.1)                                    ──── switch "control" (10.8.0.254: for controllers)
      ovsdb-server (DIR/db.sock) · ovs-vswitchd

br-phy is there on the userspace datapath only: tunnels of ovs-vswitchd itself end at an address of an internal
port of one of its bridges (OVS Documentation/howto/userspace-tunneling.rst). With the kernel's datapath u0 has the
address. Bridge br-int and the GENEVE vport are the controller's to make, never the lab's.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from controller.lab import commands, namespaces
from controller.lab.errors import LabError
from controller.lab.machine import UNDERLAY_LINK, Machine
from controller.lab.settings import FABRIC_NUMBER, Datapath, endpoint_address, endpoint_mac
from controller.lab.state import StateFile
from controller.lab.waiting import wait_until

UNDERLAY_BRIDGE = "br-phy"

_SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
_START_TIMEOUT = 30.0
_EARLIEST = 11.0
"Seconds after boot: started before 10, OVS 3.1 counts 0 processors and drops every upcall until restarted."


@dataclass(frozen=True, slots=True, kw_only=True)
class LabHost(Machine):
    """A host with Open vSwitch; its name is its system-id. Database, sockets, logs and pid files are in `directory`."""

    prefix = "hv"

    @property
    def endpoint_link(self) -> str:
        """The interface that carries the endpoint's address."""
        return UNDERLAY_BRIDGE if self.datapath is Datapath.NETDEV else UNDERLAY_LINK

    @property
    def ovsdb(self) -> str:
        """Where the host's OVSDB listens, reachable from any namespace."""
        return f"unix:{self.directory / 'db.sock'}"

    @property
    def vswitchd_pid(self) -> int | None:
        """The pid of ovs-vswitchd, or None when it does not run."""
        return commands.read_pid(self.directory / "ovs-vswitchd.pid")

    @property
    def ovsdb_pid(self) -> int | None:
        """The pid of ovsdb-server, or None when it does not run."""
        return commands.read_pid(self.directory / "ovsdb-server.pid")

    @property
    def environment(self) -> dict[str, str]:
        """What makes OVS programs talk to this host's daemons."""
        return {f"OVS_{part}": str(self.directory) for part in ("RUNDIR", "LOGDIR", "DBDIR", "SYSCONFDIR")}

    def management(self, bridge: str = "br-int") -> Path:
        """Return the Unix socket on which a bridge speaks OpenFlow without being told to."""
        return self.directory / f"{bridge}.mgmt"

    def equip(self) -> None:
        """Start the daemons."""
        database = self.directory / "conf.db"
        commands.run(["ovsdb-tool", "create", str(database), str(_schema())])
        self.start_ovsdb()
        self.vsctl("--no-wait", *self._configuration())
        self.start_vswitchd()

    def start_ovsdb(self) -> None:
        """Start ovsdb-server and wait until it listens."""
        key = "Open_vSwitch,SSL"
        self._start(
            "ovsdb-server",
            str(self.directory / "conf.db"),
            f"--remote=punix:{self.directory / 'db.sock'}",
            "--remote=db:Open_vSwitch,Open_vSwitch,manager_options",
            f"--private-key=db:{key},private_key",
            f"--certificate=db:{key},certificate",
            f"--bootstrap-ca-cert=db:{key},ca_cert",
        )

    def start_vswitchd(self) -> None:
        """Start ovs-vswitchd, wait until it has read its configuration, and give the endpoint its address.

        On the userspace datapath br-phy ends with ovs-vswitchd, and with it go the address and what was
        known of neighbours: here both come back.
        """
        wait_until(lambda: _uptime() >= _EARLIEST, _EARLIEST, "the machine to be up for 11 s")
        userspace = ["--disable-system"] if self.datapath is Datapath.NETDEV else []
        self._start("ovs-vswitchd", self.ovsdb, *userspace)
        if self.datapath is Datapath.NETDEV:
            namespaces.inside(self.namespace, self.address_endpoint)
            wait_until(self._has_route, 5.0, f"{self.name}: a route of ovs-vswitchd to the underlay")
            for number in StateFile(self.directory.parent).load().addresses:
                self.knows(number)

    def kill_vswitchd(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """End ovs-vswitchd, by SIGKILL as a crash would; harmless when it does not run."""
        self._kill("ovs-vswitchd", self.vswitchd_pid, sig)

    def kill_ovsdb(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """End ovsdb-server; harmless when it does not run."""
        self._kill("ovsdb-server", self.ovsdb_pid, sig)

    def set_manager(self, *remotes: str, tls: tuple[Path, Path, Path] | None = None) -> None:
        """Make the host call these OVSDB clients, as tcp:10.8.0.254:6640; none ends it.

        `tls` is private key, certificate and the CA's certificate, for remotes that begin with ssl.
        """
        if tls is not None:
            self.vsctl("--no-wait", "set-ssl", *map(str, tls))
        self.vsctl("--no-wait", *(["set-manager", *remotes] if remotes else ["del-manager"]))

    def vsctl(self, *arguments: str, timeout: float = 20.0) -> str:
        """Run ovs-vsctl on the host's database and return what it prints."""
        return self.run(
            "ovs-vsctl", f"--db={self.ovsdb}", f"--timeout={int(timeout)}", *arguments, timeout=timeout + 5
        )

    def ofctl(self, *arguments: str, timeout: float = 20.0) -> str:
        """Run ovs-ofctl, OpenFlow 1.5, beside the host's bridges and return what it prints."""
        return self.run(
            "ovs-ofctl", "-O", "OpenFlow15", f"--timeout={int(timeout)}", *arguments, timeout=timeout + 5
        )

    def appctl(self, *arguments: str, timeout: float = 20.0) -> str:
        """Run ovs-appctl on the host's ovs-vswitchd and return what it prints."""
        socket = str(self.directory / "ovs-vswitchd.ctl")
        return self.run(
            "ovs-appctl", "--target", socket, f"--timeout={int(timeout)}", *arguments, timeout=timeout + 5
        )

    def knows(self, number: int) -> None:
        """Tell ovs-vswitchd the MAC address of the host with this address: a tunnel's first packet is not lost.

        The userspace datapath drops the packet that makes it ask for a neighbour (OVS lib/tnl-neigh-cache.c);
        the kernel's holds it back, and needs no telling.
        """
        if self.datapath is Datapath.NETDEV and number != self.address_number:
            address = str(endpoint_address(self.underlay, number))
            self.appctl("tnl/neigh/set", UNDERLAY_BRIDGE, address, endpoint_mac(number))

    def log_tail(self, daemon: str, lines: int = 5) -> str:
        """Return the last lines of a daemon's log, for an error's text."""
        log = self.directory / f"{daemon}.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""

    def _start(self, daemon: str, *arguments: str) -> None:
        if commands.read_pid(self.directory / f"{daemon}.pid") is not None:
            raise LabError(f"{self.name}: {daemon} runs already")
        line = [daemon, *arguments, *self._daemon_flags(daemon)]
        with open(self.directory / f"{daemon}.out", "ab") as output:
            done = subprocess.run(
                commands.argv(line, self.namespace),
                env=commands.variables(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=_START_TIMEOUT,
                check=False,
            )
        if done.returncode:
            raise LabError(
                f"{self.name}: {daemon} does not start", self.log_tail(daemon) or f"see {output.name}"
            )

    def _daemon_flags(self, daemon: str) -> list[str]:
        # --detach returns when the daemon serves, and what outlives this process is found by its pid file.
        file = self.directory / daemon
        flags = ["--detach", "--no-chdir", "-vconsole:off"]
        return [*flags, f"--pidfile={file}.pid", f"--unixctl={file}.ctl", f"--log-file={file}.log"]

    def _kill(self, daemon: str, pid: int | None, sig: signal.Signals) -> None:
        if pid is not None:
            commands.end([pid], sig)
        (self.directory / f"{daemon}.pid").unlink(missing_ok=True)

    def _configuration(self) -> list[str]:
        settings = [
            "init",
            *("--", "set", "Open_vSwitch", "."),
            # What the distribution's start script writes (OVS utilities/ovs-ctl.in): controllers read it.
            *(f"external_ids:system-id={self.name}", f"external_ids:hostname={self.name}"),
            *(
                f"external_ids:rundir={self.directory}",
                f"ovs_version={_version()}",
                f"db_version={_schema_version()}",
            ),
            # Sixteen vswitchd on two cores: one upcall thread each is plenty.
            *("other_config:n-handler-threads=1", "other_config:n-revalidator-threads=1"),
        ]
        if self.datapath is not Datapath.NETDEV:
            return settings
        return [
            *settings,
            *(
                "--",
                "add-br",
                UNDERLAY_BRIDGE,
                "--",
                "set",
                "Bridge",
                UNDERLAY_BRIDGE,
                "datapath_type=netdev",
            ),
            *("fail_mode=standalone", f'other_config:hwaddr="{self.endpoint_mac}"', "external_ids:owner=lab"),
            *("--", "set", "Interface", UNDERLAY_BRIDGE, f"mtu_request={self.mtu}"),
            *("--", "add-port", UNDERLAY_BRIDGE, UNDERLAY_LINK),
        ]

    def _has_route(self) -> bool:
        try:
            route = self.appctl("ovs/route/lookup", str(endpoint_address(self.underlay, FABRIC_NUMBER)))
        except LabError:
            return False  # ovs-appctl fails while there is none; who waits says so if it stays that way
        return f"dev {UNDERLAY_BRIDGE}" in route


def _schema() -> Path:
    if not _SCHEMA.exists():
        raise LabError(f"{_SCHEMA} is missing", "apt install openvswitch-common")
    return _SCHEMA


def _schema_version() -> str:
    return str(json.loads(_schema().read_text(encoding="utf-8"))["version"])


@cache
def _version() -> str:
    said = commands.run(["ovs-vswitchd", "--version"]).stdout
    found = re.search(r"\) (\d+\.\d+\.\d+)", said)
    if found is None:
        raise LabError(f"ovs-vswitchd tells no version: {said.strip()}")
    return found[1]


def _uptime() -> float:
    return float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
