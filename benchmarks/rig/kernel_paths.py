# SPDX-License-Identifier: Apache-2.0
"""Ways from one workload to another in the kernel, all of them up at once, each with addresses of its own.

Workload vm1 reaches vm2 at 10.1.N.2 by its interface eN, where N is the path's place in PATHS.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rig.kernel_hosts import MTU, Hypervisor, hypervisors, ip, spaces, veth
from controller.lab import commands

VETH = "veth, no tunnel"
FIXED = "kernel geneve netdev"
TC = "kernel geneve netdev, TC tunnel_key"
TC_OPTION = "kernel geneve netdev, TC tunnel_key, one option"
OVS = "OVS kernel datapath"
OVS_OPTION = "OVS kernel datapath, one option"
FLOWER = "OVS, TC flower in software, one option"

PATHS = (VETH, FIXED, TC, TC_OPTION, OVS, OVS_OPTION, FLOWER)

MODULES = (
    "openvswitch",
    "geneve",
    "vport_geneve",
    "cls_flower",
    "cls_matchall",
    "act_tunnel_key",
    "act_mirred",
)
"Of the kernel, that the paths need."

_OFFLOAD = ("other_config:hw-offload=true", "other_config:tc-policy=none")

_FIXED_PORT, _TC_PORT = 16081, 16082
"Devices with and without `external` cannot share a UDP port, nor share OVS's."

_OPTION = "FFFF:80:00001234"

_OPTION_SHOWN = "geneve({class=0xffff,type=0x80,len=4,0x1234})"
"By Open vSwitch."

Pair = tuple[Hypervisor, Hypervisor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workloads:
    """Both ends of all paths, and who forwards."""

    source: str
    "Its network namespace."
    target: str
    plain: Pair
    flower: Pair

    def prove(self, path: str) -> None:
        """Raise RuntimeError unless the kernel's own flows forward the path's packets; it has just carried some."""
        if path not in {OVS, OVS_OPTION, FLOWER}:
            return
        hosts, kind = (self.flower, "tc") if path == FLOWER else (self.plain, "ovs")
        option = "" if path == OVS else _OPTION_SHOWN
        for host, port in zip(hosts, (_port(path), "genev_sys_6081"), strict=True):
            flows = host.appctl("dpctl/dump-flows", "-m", f"type={kind}").splitlines()
            vni = f"tun_id={_vni(path):#x}"
            if not any(f"in_port({port})" in flow and vni in flow and option in flow for flow in flows):
                raise RuntimeError(f"{path}: not in the datapath of {host.namespace}: {flows}")


def address(path: str) -> str:
    """Return the address at which the path's far end listens."""
    return f"10.1.{PATHS.index(path)}.2"


@contextmanager
def workloads(prefix: str, folder: Path) -> Iterator[Workloads]:
    """Make both workloads and every path between them; take all away afterwards."""
    ends = (f"{prefix}vm1", f"{prefix}vm2")
    with ExitStack() as stack:
        stack.enter_context(spaces(*ends))
        plain = stack.enter_context(hypervisors(f"{prefix}k", folder, veth))
        flower = stack.enter_context(hypervisors(f"{prefix}f", folder, veth))
        veth(ends[0], _link(VETH), ends[1], _link(VETH))
        _add_fixed(plain, ends)
        _add_tc(plain, ends)
        for each in plain:
            each.start_ovs()
        for each in flower:
            each.start_ovs(*_OFFLOAD)
        _add_ovs(plain, ends, OVS, option=False)
        _add_ovs(plain, ends, OVS_OPTION, option=True)
        _add_ovs(flower, ends, FLOWER, option=True)
        for number, end in enumerate(ends, 1):
            ip(end, *(line for path in PATHS for line in _up(path, number)))
        yield Workloads(source=ends[0], target=ends[1], plain=plain, flower=flower)


def _link(path: str) -> str:
    return f"e{PATHS.index(path)}"


def _port(path: str) -> str:
    return f"p{PATHS.index(path)}"


def _up(path: str, number: int) -> list[str]:
    link = _link(path)
    return [
        f"link set {link} mtu {MTU} up",
        f"addr add 10.1.{PATHS.index(path)}.{number}/24 dev {link}",
    ]


def _plug(host: Hypervisor, end: str, path: str) -> str:
    """Give a workload an interface; return the other end's name, on its host."""
    port = _port(path)
    veth(host.namespace, port, end, _link(path))
    ip(host.namespace, f"link set {port} up")
    return port


def _add_fixed(hosts: Pair, ends: tuple[str, str]) -> None:
    # A geneve device sends where it was made, also from another namespace.
    link = _link(FIXED)
    for host, peer, end in zip(hosts, hosts[::-1], ends, strict=True):
        kind = f"type geneve id {_vni(FIXED)} remote {peer.address} dstport {_FIXED_PORT}"
        ip(host.namespace, f"link add {link} {kind}", f"link set {link} netns {end}")


def _add_tc(hosts: Pair, ends: tuple[str, str]) -> None:
    for host, peer, end in zip(hosts, hosts[::-1], ends, strict=True):
        ip(host.namespace, f"link add gtc type geneve external dstport {_TC_PORT}", "link set gtc up")
        lines = ["qdisc add dev gtc ingress"]
        for path, option in ((TC, ""), (TC_OPTION, f"geneve_opts {_OPTION}")):
            port = _plug(host, end, path)
            key = f"id {_vni(path)} src_ip {host.address} dst_ip {peer.address} dst_port {_TC_PORT} {option} nocsum"
            match = f"enc_key_id {_vni(path)} {option}"
            lines += [
                f"qdisc add dev {port} ingress",
                f"filter add dev {port} ingress matchall action tunnel_key set {key} "
                "action mirred egress redirect dev gtc",
                f"filter add dev gtc ingress protocol all prio {_vni(path)} flower {match} action tunnel_key unset "
                f"action mirred egress redirect dev {port}",
            ]
        script = " && ".join(f"tc {line}" for line in lines)
        commands.run(["sh", "-c", script], namespace=host.namespace)


def _add_ovs(hosts: Pair, ends: tuple[str, str], path: str, *, option: bool) -> None:
    for host, peer, end in zip(hosts, hosts[::-1], ends, strict=True):
        host.add_path(_plug(host, end, path), _vni(path), peer.address, option=option)


def _vni(path: str) -> int:
    return 100 + PATHS.index(path)
