# SPDX-License-Identifier: Apache-2.0
"""Open vSwitch offers flows with an option to a stand-in NIC, which takes or refuses them: no hardware is involved."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from pyroute2 import Ethtool

from benchmarks.rig.kernel_hosts import MTU, Hypervisor, hypervisors, ip, spaces
from controller.api.offload_views import STAND_IN, label_of
from controller.lab import commands, namespaces
from ovs_geneve.offload import ethtool
from ovs_geneve.offload.nic import HW_TC, Nic, TunnelPort
from ovs_geneve.offload.placement import Place, Way, parse_dump
from tests.vm.standin.build import MODULE
from tests.vm.standin.nic import StandIn, lacking, load

pytestmark = [pytest.mark.system, pytest.mark.skipif(bool(lacking()), reason=lacking())]

VNI = 77
WORKLOADS = ("nicvm1", "nicvm2")
OFFLOAD = ("other_config:hw-offload=true", "other_config:tc-policy=none")

OPTION = "geneve({class=0xffff,type=0x80,len=4,0x1234})"
"As Open vSwitch shows it; as the driver does: ffff:80:00001234."


@dataclass(frozen=True, slots=True)
class Fabric:
    """Two hosts whose underlay and workloads are behind the stand-in."""

    nic: StandIn
    hosts: tuple[Hypervisor, Hypervisor]

    def ping(self, count: int = 3) -> int:
        """Return how many answers came."""
        line = ["ping", "-n", "-q", "-c", str(count), "-i", "0.3", "-W", "3", "10.1.0.2"]
        done = commands.run(line, namespace=WORKLOADS[0], check=False)
        found = re.search(r"(\d+) received", done.stdout)
        assert found is not None, done
        return int(found[1])

    def limit(self, **limits: int) -> None:
        """Set limits, and have Open vSwitch offer its flows anew: what was accepted before stays so."""
        for name, value in limits.items():
            self.nic.limit(name, value)
        for host in self.hosts:
            host.appctl("revalidator/purge")
            host.appctl("dpctl/del-flows")

    def flows(self, host: Hypervisor, kind: str) -> list[str]:
        """Return the IPv4 megaflows of a kind: tc, offloaded, ovs."""
        dump = host.appctl("dpctl/dump-flows", "-m", f"type={kind}")
        return [line for line in dump.splitlines() if "eth_type(0x0800)" in line]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    nic = load(pairs=3)
    with spaces(*WORKLOADS), hypervisors("nic", tmp_path_factory.mktemp("n"), nic.cable) as hosts:
        for number, (host, peer, workload) in enumerate(zip(hosts, hosts[::-1], WORKLOADS, strict=True), 1):
            nic.cable(host.namespace, "p", workload, "eth0")
            ip(host.namespace, "link set p up")
            ip(workload, f"link set eth0 mtu {MTU} up", f"addr add 10.1.0.{number}/24 dev eth0")
            host.start_ovs(*OFFLOAD)
            host.add_path("p", VNI, peer.address, option=True)
        yield Fabric(nic, hosts)


@pytest.fixture
def fabric(made: Fabric) -> Fabric:
    """With no limits, and nothing in the datapath."""
    made.limit(options_max=63, option_bytes_max=252, refuse_all=0)
    return made


def test_what_it_accepts_is_offloaded(fabric: Fabric) -> None:
    sender, receiver = fabric.hosts
    assert fabric.ping() == 3
    (sent,) = [flow for flow in fabric.flows(sender, "offloaded") if "in_port(p)" in flow]
    assert "offloaded:yes" in sent
    assert OPTION in sent.partition("actions:")[2]
    (received,) = [flow for flow in fabric.flows(receiver, "offloaded") if "in_port(genev_sys_6081)" in flow]
    assert "offloaded:yes" in received
    assert OPTION in received.partition("actions:")[0]
    assert f"dev=p vni={VNI} set=ffff:80:00001234" in fabric.nic.rules(sender.namespace)
    assert f"dev=genev_sys_6081 vni={VNI} match=ffff:80:00001234" in fabric.nic.rules(receiver.namespace)


@pytest.mark.parametrize(("limit", "value"), [("option_bytes_max", 4), ("options_max", 0), ("refuse_all", 1)])
def test_what_it_refuses_stays_in_software(fabric: Fabric, limit: str, value: int) -> None:
    sender, receiver = fabric.hosts
    fabric.limit(**{limit: value})
    before = fabric.nic.refused()
    assert fabric.ping() == 3
    after = fabric.nic.refused()
    assert {name for name in after if after[name] > before[name]} == {limit}
    for host, port in ((sender, "p"), (receiver, "genev_sys_6081")):
        assert not any(f"in_port({port})" in flow for flow in fabric.flows(host, "offloaded"))
        software = fabric.flows(host, "tc") + fabric.flows(host, "ovs")
        assert any(f"in_port({port})" in flow and OPTION in flow for flow in software), software
        assert not any("ffff:80" in rule for rule in fabric.nic.rules(host.namespace))


def test_an_option_of_the_very_size_it_takes_is_offloaded(fabric: Fabric) -> None:
    """Eight bytes: the header of four counts."""
    fabric.limit(option_bytes_max=8, options_max=1)
    assert fabric.ping() == 3
    for host in fabric.hosts:
        assert any("ffff:80" in rule for rule in fabric.nic.rules(host.namespace))


def test_tc_hands_on_why_a_rule_is_refused(fabric: Fabric) -> None:
    """To who asks with `verbose`; `skip_sw` needs no asking, and is not there for rules on tunnel devices."""
    space = WORKLOADS[0]
    fabric.limit(option_bytes_max=4)
    ip(space, "link add gnv type geneve external dstport 16081", "link set gnv up")
    tc(space, "qdisc add dev gnv ingress")
    rule = "filter replace dev gnv ingress protocol ip prio 1 handle 1 flower verbose enc_key_id 5 "
    rule += "geneve_opts ffff:80:00001234 action drop"
    assert f"{MODULE}: more bytes of Geneve options than option_bytes_max" in tc(space, rule)
    assert fabric.nic.rules(space) == []
    fabric.limit(option_bytes_max=8)
    assert MODULE not in tc(space, rule)
    assert fabric.nic.rules(space) == ["dev=gnv vni=5 match=ffff:80:00001234"]
    ip(space, "link del gnv")
    assert fabric.nic.rules(space) == []
    fabric.limit(refuse_all=1)
    tc(space, "qdisc add dev eth0 ingress")
    refused = tc(space, "filter add dev eth0 ingress protocol ip flower skip_sw dst_ip 192.0.2.1 action drop")
    assert f"{MODULE}: every rule is refused (refuse_all)" in refused


def test_it_is_told_the_port_of_the_tunnel(fabric: Fabric) -> None:
    for host in fabric.hosts:
        assert "dev=u port=6081" in fabric.nic.ports(host.namespace)


def test_what_it_claims_and_what_it_is(fabric: Fabric) -> None:
    """Its driver says that it is a stand-in. pyroute2 reads features by ioctl: it lacks that netlink message."""
    space = fabric.hosts[0].namespace

    def read() -> dict[str, bool]:
        with Ethtool() as ethtool:
            return {name: feature.enable for name, feature in ethtool.get_features("u").features.items()}

    features = namespaces.inside(space, read)
    for name in ("hw-tc-offload", "rx-udp_tunnel-port-offload", "tx-udp_tnl-segmentation"):
        assert features[name], features
    said = commands.run(["ethtool", "-i", "u"], namespace=space).stdout
    assert f"driver: {MODULE}" in said
    assert "firmware-version: stand-in, no hardware" in said


def test_the_offload_report_reads_it_and_calls_it_a_stand_in(fabric: Fabric) -> None:
    def placed(host: Hypervisor, way: Way) -> set[Place]:
        dump = parse_dump(host.appctl("dpctl/dump-flows", "-m"))
        return {flow.place for flow in dump.flows if flow.way is way and flow.packets}

    sender, receiver = fabric.hosts
    assert fabric.ping() == 3
    assert placed(sender, Way.TO_TUNNEL) == placed(receiver, Way.FROM_TUNNEL) == {Place.HARDWARE}
    fabric.limit(option_bytes_max=4)
    assert fabric.ping() == 3
    assert placed(sender, Way.TO_TUNNEL) == placed(receiver, Way.FROM_TUNNEL) == {Place.TC}
    nic = namespaces.inside(sender.namespace, _uplink)
    assert nic.features[HW_TC].active
    assert nic.tunnel_ports == (TunnelPort(6081, "geneve"),)
    assert (nic.driver, label_of(nic)) == (MODULE, STAND_IN)


def _uplink() -> Nic:
    with ethtool.Ethtool() as reader:
        return reader.nic("u")


def tc(namespace: str, line: str) -> str:
    """Return what tc, or the kernel through it, has to say; nothing when all is well."""
    return commands.run(["tc", *line.split()], namespace=namespace, check=False).stderr
