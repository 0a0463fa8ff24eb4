# SPDX-License-Identifier: Apache-2.0
"""Two hosts in network namespaces, programmed by the real controller; its flows can be swapped for others.

a ── [hv1: br-int = GENEVE = br-phy] ── switch ── [hv2: br-phy = GENEVE = br-int] ── b
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rig.daemons import cpu_seconds, wait_until
from benchmarks.rig.datapath import BRIDGE, purge
from controller.compiler.pipeline import TUNNEL_NAME
from controller.lab import Datapath, Lab, LabHost, LabSettings, commands, links, namespaces
from controller.lab.beside import ControllerBeside
from controller.lab.machine import UNDERLAY_LINK
from controller.lab.ovs_host import UNDERLAY_BRIDGE
from controller.lab.settings import interface_name

SOURCE, TARGET = "a", "b"
"One workload on each host."

IPV4, IPV6 = "10.0.0.2", "2001:db8::2"
"Addresses of the target."

_NETWORK, _VNI = "blue", 100
_SCHEMA = {
    "class": "0xff00",
    "type": 1,
    "length": 4,
    "fields": [{"name": "tier", "type": "uint", "offset": 0, "bits": 8}],
}
_PORTS = {
    SOURCE: {"mac": "02:00:00:00:00:01", "addresses": ["10.0.0.1", "2001:db8::1"]},
    TARGET: {"mac": "02:00:00:00:00:02", "addresses": [IPV4, IPV6]},
}

FlowSet = Mapping[str, str]
"Flows as ovs-ofctl reads them, by host."


@dataclass(frozen=True, slots=True)
class TwoHosts:
    """The lab while it is up."""

    lab: Lab
    controller: ControllerBeside
    plain: FlowSet
    "What the controller programs for a network without options."
    stamped: FlowSet
    "The same when every packet carries one option; this is what the bridges hold at first."

    @property
    def sender(self) -> LabHost:
        """The host of the source."""
        return self.lab.host("hv1")

    @property
    def receiver(self) -> LabHost:
        """The host of the target."""
        return self.lab.host("hv2")

    def two_flows(self) -> FlowSet:
        """Return what moves packets between the two workloads, and nothing more, through the same tunnel port."""
        flows = {}
        for host, peer, port in (
            (self.sender, self.receiver, SOURCE),
            (self.receiver, self.sender, TARGET),
        ):
            link = interface_name(port)
            away = f"set_field:{_VNI}->tun_id,set_field:{peer.endpoint}->tun_dst,output:{TUNNEL_NAME}"
            flows[host.name] = f"in_port={link},actions={away}\nin_port={TUNNEL_NAME},actions=output:{link}\n"
        return flows

    def install(self, flows: FlowSet) -> None:
        """Make these, and no others, the flows of both bridges, and empty the datapaths."""
        for host in self.lab.hosts:
            path = host.directory / "flows"
            path.write_text(flows[host.name])
            host.ofctl("--bundle", "replace-flows", BRIDGE, str(path))
            purge(host)

    def vswitchd_seconds(self) -> float:
        """Return the CPU seconds that both ovs-vswitchd have used."""
        return sum(cpu_seconds(pid) for host in self.lab.hosts if (pid := host.vswitchd_pid) is not None)


@contextmanager
def two_hosts(name: str, folder: Path) -> Iterator[TwoHosts]:
    """Bring the lab of this name up, with the controller beside it, and take all of it down afterwards."""
    settings = LabSettings(name=name, hosts=2, datapath=Datapath.NETDEV, directory=folder / "lab")
    state = folder / "controller"
    with ExitStack() as stack:
        # By what they are, not only by what we know of: a signal may come while one is being started.
        stack.callback(lambda: commands.end(commands.controllers_of(state)))
        lab = stack.enter_context(Lab.up(settings))
        _join(lab)
        controller = stack.enter_context(ControllerBeside(state))
        for host in lab.hosts:
            endpoint = {"address": str(host.endpoint)}
            controller.put(
                "hosts", host.name, {"kind": "ovs", "ovsdb": host.ovsdb, "endpoints": [endpoint]}, wait=True
            )
        controller.put("option-schemas", "context", _SCHEMA)
        controller.put("networks", _NETWORK, {"vni": _VNI})
        for host, port in zip(lab.hosts, _PORTS, strict=True):
            _plug(lab, controller, host, port)
        plain = dumped(lab)
        controller.put("networks", _NETWORK, {"vni": _VNI, "options": ["context"]})
        for port in _PORTS:
            controller.put("ports", port, _document(port, {"context": {"tier": 2}}), wait=True)
        wait_until(
            lambda: all("->tun_metadata" in flows for flows in dumped(lab).values()), "options stamped"
        )
        yield TwoHosts(lab, controller, plain, dumped(lab))


def dumped(lab: Lab) -> FlowSet:
    """Return the flows of both bridges as they are, sorted."""
    dumps = {host.name: host.ofctl("--no-stats", "dump-flows", BRIDGE) for host in lab.hosts}
    return {
        name: "".join(sorted(f"{line.strip()}\n" for line in dump.splitlines() if "cookie=" in line))
        for name, dump in dumps.items()
    }


def _join(lab: Lab) -> None:
    # As in the OVN benchmark. A switch in between would cost: the kernel passes a packet on in its sender's CPU time.
    first, second = lab.hosts
    link, far = UNDERLAY_LINK, second.namespace
    for host in lab.hosts:
        host.vsctl("del-port", UNDERLAY_BRIDGE, link)
        namespaces.inside(host.namespace, lambda: links.delete_links(link))
    namespaces.inside(
        first.namespace, lambda: links.add_veth(link, peer=link, peer_namespace=far, mtu=first.mtu)
    )
    for host in lab.hosts:
        namespaces.inside(host.namespace, lambda: links.set_up(link))
        host.vsctl("add-port", UNDERLAY_BRIDGE, link)


def _plug(lab: Lab, controller: ControllerBeside, host: LabHost, port: str) -> None:
    document = _document(port)
    controller.put("ports", port, document)
    addresses = [f"{each}/{64 if ':' in each else 24}" for each in document["addresses"]]
    lab.plug(host, port, document["mac"], addresses)
    controller.put("ports", port, document, wait=True)


def _document(port: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"network": _NETWORK, **_PORTS[port], **({"options": options} if options else {})}
