# SPDX-License-Identifier: Apache-2.0
"""Hosts made of real OVS daemons, and a reader of what they hold that shares no code with the controller's."""

from __future__ import annotations

import re
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from controller.hoststate import HostState
from tests.functional.ovsdb.conftest import Daemons

BRIDGE = "br-int"

_FLOW = re.compile(
    r"cookie=(?P<cookie>0x[0-9a-f]+), (?:table=(?P<table>\d+), )?(?:reset_counts )?(?P<rest>priority=.*)"
)
_FLOW_MOD = re.compile(
    r"ADD (?:table:(?P<table>\d+) )?(?P<match>priority=\S+) cookie:(?P<cookie>0x[0-9a-f]+) (?P<actions>actions=.*)"
)
_TLV_ROW = re.compile(r"\s*((?:0x)?[0-9a-f]+)\s+((?:0x)?[0-9a-f]+)\s+(\d+)\s+tun_metadata(\d+)\s*")
_METER = re.compile(
    r"meter=(\d+) pktps burst stats bands=\s*type=drop rate=(\d+) burst_size=(\d+)\s*(?=meter|$)"
)
_TUN_METADATA = re.compile(r"set_field:0x0*([0-9a-f]+)->tun_metadata")


@dataclass(frozen=True)
class Held:
    """What a bridge holds, in the words of ovs-ofctl."""

    flows: frozenset[str]
    groups: frozenset[str]
    tlv_maps: frozenset[tuple[int, int, int, int]]
    meters: frozenset[tuple[int, int, int]]


@dataclass
class OvsHost:
    """One host: its own ovsdb-server and ovs-vswitchd on dummy devices."""

    name: str
    daemons: Daemons
    plugged: set[str] = field(default_factory=set)

    @classmethod
    def start(cls, name: str, folder: Path) -> OvsHost:
        folder.mkdir()
        daemons = Daemons(folder)
        daemons.create_database()
        daemons.start_ovsdb()
        daemons.vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".", f"external_ids:system-id={name}")
        daemons.start_vswitchd()
        return cls(name, daemons)

    def bridge_is_there(self) -> bool:
        return BRIDGE in self.daemons.vsctl("list-br").split()

    def plug(self, interface_id: str) -> bool:
        """Plug an interface in, where there is a bridge for it."""
        if not self.bridge_is_there():
            return False
        interface = f"tap-{interface_id}"
        self.daemons.vsctl(
            *("--no-wait", "--may-exist", "add-port", BRIDGE, interface, "--"),
            *("set", "Interface", interface, "type=dummy", f"external_ids:iface-id={interface_id}"),
        )
        self.plugged.add(interface_id)
        return True

    def unplug(self, interface_id: str) -> None:
        self.daemons.vsctl("--no-wait", "--if-exists", "del-port", f"tap-{interface_id}")
        self.plugged.discard(interface_id)

    def crash_vswitchd(self) -> None:
        self.daemons.end("ovs-vswitchd", signal.SIGKILL)
        for left in ("vswitchd.ctl", f"{BRIDGE}.mgmt"):
            (self.daemons.folder / left).unlink(missing_ok=True)
        self.daemons.start_vswitchd()

    def crash_ovsdb(self) -> None:
        self.daemons.end("ovsdb-server", signal.SIGKILL)
        self.daemons.start_ovsdb()

    def held(self) -> Held:
        """Read the bridge with ovs-ofctl."""
        flows = self._ofctl("--no-names", "--no-stats", "dump-flows", BRIDGE)
        return Held(
            flows=frozenset(_flow(line) for line in flows if "cookie=" in line),
            groups=frozenset(
                _group(line) for line in self._ofctl("dump-groups", BRIDGE) if "group_id=" in line
            ),
            tlv_maps=frozenset(
                (int(row[1], 16), int(row[2], 16), int(row[3]), int(row[4]))
                for line in self._ofctl("dump-tlv-map", BRIDGE)
                if (row := _TLV_ROW.fullmatch(line))
            ),
            meters=frozenset(
                (int(number), int(rate), int(burst))
                for number, rate, burst in _METER.findall("".join(self._ofctl("dump-meters", BRIDGE)))
            ),
        )

    def tunnels(self) -> str:
        """Return name, number and options of every GENEVE vport."""
        return self.daemons.vsctl(
            *("--format=csv", "--no-headings", "--columns=name,ofport,options"),
            *("find", "Interface", "type=geneve"),
        )

    def bridge(self, column: str) -> str:
        return self.daemons.vsctl("get", "Bridge", BRIDGE, column).strip('"')

    def _ofctl(self, *arguments: str) -> list[str]:
        return self.daemons.tool("ovs-ofctl", "-O", "OpenFlow15", *arguments).splitlines()


def wanted(state: HostState, folder: Path) -> Held:
    """Have ovs-ofctl read the messages of a desired state, into the same words."""
    path = folder / "desired.bin"
    path.write_bytes(b"".join(item.message for item in (*state.groups.values(), *state.flows.values())))
    done = subprocess.run(
        ["ovs-ofctl", "ofp-parse", str(path)], capture_output=True, text=True, timeout=30, check=True
    )
    lines = done.stdout.splitlines()
    return Held(
        flows=frozenset(_flow_mod(line) for line in lines if "OFPT_FLOW_MOD" in line),
        groups=frozenset(_group(line) for line in lines if "group_id=" in line),
        tlv_maps=frozenset((m.option_class, m.option_type, m.length, m.index) for m in state.tlv_maps),
        meters=frozenset((m.meter_id, m.rate, m.burst) for m in state.meters),
    )


def _flow(line: str) -> str:
    found = _FLOW.search(line)
    assert found is not None, line
    match, _, actions = found["rest"].partition(" actions=")
    return _normal(found["table"], match, found["cookie"], f"actions={actions}")


def _flow_mod(line: str) -> str:
    found = _FLOW_MOD.search(line)
    assert found is not None, line
    return _normal(found["table"], found["match"], found["cookie"], found["actions"])


def _normal(table: str | None, match: str, cookie: str, actions: str) -> str:
    # ovs-ofctl strips leading zeros of option data in dumps, but keeps those of messages.
    actions = _TUN_METADATA.sub(r"set_field:0x\1->tun_metadata", actions)
    return f"table={table or 0} {match} cookie={cookie} {actions}"


def _group(line: str) -> str:
    return line[line.index("group_id=") :].strip()
