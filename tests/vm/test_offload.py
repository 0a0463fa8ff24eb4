# SPDX-License-Identifier: Apache-2.0
"""Hosts that hand their flows to traffic control: what the report says is what is there.

No NIC is involved; the last test has a stand-in for one, which takes rules and forwards nothing.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from benchmarks.rig.kernel_hosts import ip
from controller.api.offload_views import STAND_IN
from controller.intent.model import Direction, GroupSpec, Kind, OffloadChoice, OptionPolicySpec
from controller.intent.rules import Mirror
from controller.lab import Datapath
from controller.lab.settings import (
    fabric_namespace,
    interface_name,
    underlay_network,
    workload_namespace,
)
from controller.lab.underlay import UNDERLAY_SWITCH
from ovs_geneve.geneve.capture import read_capture
from tests.patience import patient
from tests.system.overlay import Endpoint, Overlay
from tests.system.test_offload import declare, reported
from tests.system.test_options import CONTEXT
from tests.vm.conftest import Prove
from tests.vm.offloading import (
    arriving,
    codes,
    network_seen,
    offload,
    pinged_until,
    places,
    restarted,
    waits,
)
from tests.vm.standin.nic import StandIn, lacking, load

pytestmark = pytest.mark.system

RUNNING = "hw-offload=true tc-policy=none"

OPTION = "{class=0xff00,type=0x1,len=4,"

Ports = tuple[Endpoint, Endpoint]


@pytest.fixture(scope="module")
def shared(make_overlay: Callable[..., Overlay]) -> Overlay:
    overlay = make_overlay(hosts=2, datapath=Datapath.SYSTEM)
    overlay.schema(CONTEXT)
    offload(overlay, OffloadChoice.ON)
    for host in overlay.lab.hosts:
        # Megaflows that nobody uses for 10 s go; a report takes longer where all is emulated and busy.
        host.vsctl("set", "Open_vSwitch", ".", "other_config:max-idle=60000")
    return overlay


@pytest.fixture(autouse=True)
def no_megaflows(overlay: Overlay) -> None:
    """Leave none of another test's."""
    for host in overlay.lab.hosts:
        host.appctl("revalidator/purge")


@pytest.fixture
def ports(overlay: Overlay) -> Ports:
    overlay.network("blue", options=("context",))
    one, other = (overlay.port("blue", f"hv{n}", n, values={"context.tier": n}) for n in (1, 2))
    return one, other


@pytest.fixture
def only_tier1(overlay: Overlay) -> Iterator[Callable[[Endpoint], None]]:
    """Have a port take packets whose option says tier 1 alone."""
    yield lambda target: overlay.policy(
        "tier1-only", "blue", [("context.tier", 1, 0xFF)], to_port=target.name
    )
    overlay.controller.delete(Kind.OPTION_POLICY, "tier1-only")


def test_what_is_sent_and_what_arrives_is_in_traffic_control(
    overlay: Overlay, ports: Ports, prove: Prove
) -> None:
    source, target = ports
    pinged_until(overlay, source, target, network_seen(overlay, "hv1", "to-tunnel", "tc"))
    pinged_until(overlay, source, target, lambda: arriving(overlay.lab.host("hv1")))
    host = reported(overlay, "hv1")
    (blue,) = host["networks"]
    assert (host["problems"], host["unread"]) == ([], 0)
    assert host["running"] == RUNNING
    assert "tc" in places(blue, "to-tunnel"), blue
    assert "tc" in places(blue, "from-tunnel"), blue
    assert blue["seen"] == "none"
    assert "oam-taken" in codes(host)
    dump = overlay.lab.host("hv1").appctl("dpctl/dump-flows", "-m", "type=tc")
    sent = next(line for line in dump.splitlines() if "set(tunnel(" in line and "0x0800" in line)
    assert OPTION in sent.partition("actions:")[2]
    (arrived,) = arriving(overlay.lab.host("hv1"))
    assert OPTION in arrived.partition("actions:")[0]
    assert not arriving(overlay.lab.host("hv1"), "ovs")
    prove("what hosts send with an option is in traffic control, as the report says", sent)
    prove("what arrives with an option is in traffic control, as the report says", arrived)
    (network,) = overlay.controller.ask("offload")["networks"]
    by_rules = {one["family"]: one for one in network["families"]}["tc"]
    assert (by_rules["sending"], by_rules["receiving"]) == ("yes", "yes")


def test_a_policy_on_an_option_is_kept_by_traffic_control(
    overlay: Overlay, ports: Ports, only_tier1: Callable[[Endpoint], None], prove: Prove
) -> None:
    source, target = ports
    only_tier1(target)
    other = overlay.port("blue", "hv1", 3, values={"context.tier": 3})
    receiver = overlay.lab.host("hv2")
    (let_in,) = pinged_until(overlay, source, target, lambda: arriving(receiver))
    assert overlay.ping(source, target.ipv4, count=3) == 3
    assert "actions:drop" not in let_in
    assert OPTION + "0x1" in let_in.partition("actions:")[0], let_in
    prove("traffic control compares the value of an option as a policy has it", let_in)
    (kept_out,) = pinged_until(
        overlay, other, target, lambda: [one for one in arriving(receiver) if "actions:drop" in one]
    )
    assert overlay.ping(other, target.ipv4, count=3) == 0
    assert OPTION + "0x3" in kept_out
    prove("and drops packets with another value", kept_out)


def test_the_o_bit_is_why_what_arrives_stays_in_open_vswitch(
    overlay: Overlay, ports: Ports, prove: Prove
) -> None:
    """ovs-vswitchd goes on with the setting it was started with, but its flows now drop OAM packets."""
    source, target = ports
    offload(overlay, None)
    try:
        host = overlay.lab.host("hv1")
        pinged_until(overlay, source, target, lambda: arriving(host, "ovs"))
        pinged_until(overlay, source, target, network_seen(overlay, "hv1", "to-tunnel", "tc"))
        assert not arriving(host)
        view = reported(overlay, "hv1")
        (blue,) = view["networks"]
        assert (view["configured"], view["running"]) == ("hw-offload=false", RUNNING)
        assert "needs-restart" in codes(view)
        assert not {"oam-taken", "offload-off"} & codes(view)
        assert {"oam-bit", "refused"} <= codes(blue)
        assert places(blue, "from-tunnel") == {"openvswitch"}
        assert "tc" in places(blue, "to-tunnel")
        prove("a setting that is let go is known until ovs-vswitchd is restarted", view["running"])
        (why,) = [one for one in blue["reasons"] if one["code"] == "oam-bit"]
        prove("where OAM packets are dropped, what arrives stays in openvswitch", why["message"])
    finally:
        offload(overlay, OffloadChoice.ON)


def test_connections_are_committed_by_traffic_control_and_asked_about_in_open_vswitch(
    overlay: Overlay, prove: Prove
) -> None:
    overlay.controller.put(Kind.GROUP, "db", GroupSpec())
    overlay.network("blue", options=("context", "identity"))
    source = overlay.port("blue", "hv1", 1)
    target = overlay.port("blue", "hv2", 2, group="db")
    overlay.rule("any-db", "blue", "db", stateful=True)
    for name in ("hv1", "hv2"):
        pinged_until(overlay, source, target, network_seen(overlay, name, "to-tunnel", "tc"))
    (commits,) = pinged_until(overlay, source, target, lambda: arriving(overlay.lab.host("hv2")))
    asking = network_seen(overlay, "hv1", "from-tunnel", "openvswitch")()
    assert "ct(commit" in commits
    prove("packets that open a connection are committed by traffic control where they arrive", commits)
    assert not arriving(overlay.lab.host("hv1"))
    (why,) = [one for one in asking["reasons"] if (one["code"], one.get("source")) == ("conntrack", "seen")]
    prove("their answers are asked about in openvswitch", f"{why['message']}: {why['change']}")
    (network,) = overlay.controller.ask("offload")["networks"]
    by_rules = {one["family"]: one for one in network["families"]}["tc"]
    assert (network["features"], by_rules["sending"], by_rules["receiving"]) == (
        ["conntrack"],
        "yes",
        "unknown",
    )
    assert codes(by_rules) == {"conntrack-state"}


def test_copies_are_made_by_traffic_control(overlay: Overlay, ports: Ports, prove: Prove) -> None:
    source, target = ports
    tap = overlay.port("blue", "hv2", 3)
    spec = OptionPolicySpec(
        network="blue", direction=Direction.EGRESS, actions=(Mirror(tap.name),), from_port=source.name
    )
    overlay.controller.put(Kind.OPTION_POLICY, "copies", spec)
    overlay.controller.settle((Kind.OPTION_POLICY, "copies"))
    try:
        overlay.revalidate()

        def copied() -> list[str]:
            dump = overlay.lab.host("hv1").appctl("dpctl/dump-flows", "-m", "type=tc").splitlines()
            twice = [line for line in dump if line.count("set(tunnel(") == 2 and "0x0800" in line]
            return [line for line in twice if "packets:0," not in line]

        (sent,) = pinged_until(overlay, source, target, copied)
        (network,) = overlay.controller.ask("offload")["networks"]
        by_rules = {one["family"]: one for one in network["families"]}["tc"]
        assert (network["features"], by_rules["sending"]) == (["mirror"], "yes")
        prove("copies into a second tunnel are made by traffic control", sent)
    finally:
        overlay.controller.delete(Kind.OPTION_POLICY, "copies")


SOMEBODY_S_FLOWS = (
    "in_port=x1,ip actions=group:1",
    "in_port=x2,ip actions=learn(table=9,dl_type=0x800,NXM_OF_IP_DST[]=NXM_OF_IP_SRC[],output:NXM_OF_IN_PORT[])"
    ",output:x1",
)


def test_a_hash_keeps_packets_in_open_vswitch_and_learning_does_not(overlay: Overlay, prove: Prove) -> None:
    """On a bridge of somebody else's: no flow of ours does either."""
    host = overlay.lab.host("hv1")
    for number in (1, 2):
        made = [f"link add x{number} type veth peer name y{number}", f"link set x{number} up"]
        made += [f"link set y{number} up", f"addr add 192.0.{number}.1/24 dev y{number}"]
        ip(host.namespace, *made, f"neigh add 192.0.{number}.9 lladdr 02:00:00:00:00:99 dev y{number}")
    host.vsctl("add-br", "br-x", "--", "add-port", "br-x", "x1", "--", "add-port", "br-x", "x2")
    try:
        host.ofctl("add-group", "br-x", "group_id=1,type=select,selection_method=dp_hash,bucket=output:x2")
        for flow in SOMEBODY_S_FLOWS:
            host.ofctl("add-flow", "br-x", f"table=0,priority=9,{flow}")
        host.run(
            "sh", "-c", "for n in 1 2; do ping -c 4 -i 0.2 -W 1 192.0.$n.9 || true; done", timeout=patient(20)
        )
        dump = host.appctl("dpctl/dump-flows", "-m").splitlines()
        (hashed,) = [
            line for line in dump if "in_port(x1)" in line and "recirc_id(0)" in line and "0x0800" in line
        ]
        (learns,) = [line for line in dump if "in_port(x2)" in line and "0x0800" in line]
        assert "hash(" in hashed
        assert "dp:ovs" in hashed
        assert "dp:tc" in learns
        assert "packets:0," not in learns
        assert "nw_dst=192.0.2.1" in host.ofctl("dump-flows", "br-x", "table=9")
        prove("a bucket that is chosen by dp_hash keeps packets in openvswitch", hashed)
        prove("a flow that learns keeps nothing out of traffic control", learns)
    finally:
        host.vsctl("del-br", "br-x")
        ip(host.namespace, "link del x1", "link del x2")


def test_the_policy_of_traffic_control_waits_for_a_restart(
    overlay: Overlay, ports: Ports, prove: Prove
) -> None:
    source, target = ports
    for choice, place, code in (
        (OffloadChoice.SKIP_HW, "tc", "skip-hw"),
        (OffloadChoice.SKIP_SW, "openvswitch", "refused"),
    ):
        before = reported(overlay, "hv1")["running"]
        declare(overlay, "hv1", choice)
        waits(overlay, "hv1")
        view = reported(overlay, "hv1")
        assert "needs-restart" in codes(view)
        assert view["running"] == before
        restarted(overlay, "hv1")
        pinged_until(overlay, source, target, network_seen(overlay, "hv1", "from-tunnel", place))
        view = reported(overlay, "hv1")
        (blue,) = view["networks"]
        assert places(blue, "from-tunnel") == {place}, blue
        assert code in codes(blue)
        assert ("skip-sw" in codes(view)) == (choice is OffloadChoice.SKIP_SW)
        prove(f"{view['running']} after a restart: what arrives is in {place}", f"{sorted(codes(blue))}")
    declare(overlay, "hv1", OffloadChoice.ON)
    waits(overlay, "hv1")
    restarted(overlay, "hv1")


def test_the_outer_df_bit_is_lost(overlay: Overlay, ports: Ports, prove: Prove) -> None:
    source, target = ports
    # The first packets of a flow go through ovs-vswitchd.
    pinged_until(overlay, source, target, network_seen(overlay, "hv1", "to-tunnel", "tc"))
    with overlay.lab.capture("hv1", expression="udp port 6081") as capture:
        assert overlay.ping(source, target.ipv4, count=4) == 4
        time.sleep(patient(0.3))
    frames = (Ether(frame.data) for frame in read_capture(io.BytesIO(capture.path.read_bytes())))
    outer = [frame[IP] for frame in frames if IP in frame and frame[IP].src == "10.9.0.1"]
    assert outer
    assert not any(packet.flags.DF for packet in outer), [str(packet.flags) for packet in outer]
    (network,) = overlay.controller.ask("offload")["networks"]
    assert [one["code"] for one in network["caveats"]] == ["df-lost"]
    prove("packets that traffic control sends have no outer DF bit", f"{len(outer)} packets, flags none")


@pytest.fixture(scope="module")
def nic(shared: Overlay) -> Iterator[StandIn]:
    """The underlay of both hosts on the stand-in, and two couples more for ports. It stays until the kernel ends."""
    if problem := lacking():
        pytest.skip(problem)
    nic = load(pairs=4)
    fabric = fabric_namespace(shared.lab.state.name)
    for host in shared.lab.hosts:
        ip(host.namespace, "link del u0")
        nic.cable(host.namespace, "u0", fabric, f"{host.name}-u")
        prefix = underlay_network(host.underlay).prefixlen
        mine = [f"link set u0 address {host.endpoint_mac} mtu {host.mtu} up"]
        ip(host.namespace, *mine, f"addr add {host.endpoint}/{prefix} dev u0")
        ip(fabric, f"link set {host.name}-u mtu {host.mtu} master {UNDERLAY_SWITCH} up")
    yield nic
    for host in shared.lab.hosts:
        ip(fabric, f"link set {host.name}-u down", f"link set {host.name}-u name {host.name}-kept")


@pytest.fixture
def representors(overlay: Overlay, nic: StandIn, ports: Ports) -> Iterator[None]:
    """The ports behind the stand-in, as behind the representors of a NIC."""
    for port, host in zip(ports, overlay.lab.hosts, strict=True):
        link, space = interface_name(port.name), workload_namespace(overlay.lab.state.name, port.name)
        ip(space, "link del eth0")
        nic.cable(host.namespace, link, space, "eth0")
        ip(host.namespace, f"link set {link} mtu {host.mtu} up")
        ip(space, f"link set eth0 address {port.mac} mtu 1400 up", f"addr add {port.ipv4}/24 dev eth0")
        host.vsctl("del-port", link, "--", "add-port", "br-int", link)
        host.vsctl("set", "Interface", link, f"external_ids:iface-id={port.name}")
    overlay.controller.settle(*((Kind.PORT, port.name) for port in ports))
    end = time.monotonic() + patient(10)
    while overlay.ping(ports[0], ports[1].ipv4) < 3:
        assert time.monotonic() < end, "nothing passes the stand-in"
    yield
    for port, host in zip(ports, overlay.lab.hosts, strict=True):
        link = interface_name(port.name)
        ip(host.namespace, f"link set {link} down", f"link set {link} name kept")


def offered_anew(overlay: Overlay, nic: StandIn, **limits: int) -> None:
    """Set limits, and have Open vSwitch offer its flows anew: what was accepted before stays so."""
    for name, value in {"options_max": 63, "option_bytes_max": 252, "refuse_all": 0, **limits}.items():
        nic.limit(name, value)
    for host in overlay.lab.hosts:
        host.appctl("revalidator/purge")
        host.appctl("dpctl/del-flows")


def test_a_stand_in_takes_what_is_sent_and_what_arrives(
    overlay: Overlay,
    nic: StandIn,
    representors: None,
    ports: Ports,
    only_tier1: Callable[[Endpoint], None],
    prove: Prove,
) -> None:
    """And what it refuses stays in software, for the reason that the report gives. It is no hardware."""
    source, target = ports
    only_tier1(target)
    offered_anew(overlay, nic)
    sender, receiver = overlay.lab.hosts
    (arrived,) = pinged_until(overlay, source, target, lambda: arriving(receiver, "offloaded"))
    assert "offloaded:yes" in arrived
    assert OPTION + "0x1" in arrived
    (rule,) = [one for one in nic.rules(receiver.namespace) if "match=" in one and "dev=genev" in one]
    assert "ff00:01:" in rule
    prove("a stand-in NIC takes what arrives, and matches on the option", f"{arrived} ({rule})")
    dump = sender.appctl("dpctl/dump-flows", "-m", "type=offloaded")
    (sent,) = [line for line in dump.splitlines() if "set(tunnel(" in line and "eth_type(0x0800)" in line]
    assert "offloaded:yes" in sent
    prove("a stand-in NIC takes what is sent, and sets the option", sent)
    for host, way in ((sender, "to-tunnel"), (receiver, "from-tunnel")):
        view = reported(overlay, host.name)
        (blue,) = view["networks"]
        assert "hardware" in places(blue, way)
        assert blue["seen"] in ("all", "some")
        (uplink,) = [each for each in view["nics"] if each["role"] == "uplink"]
        assert (uplink["label"], uplink["family"]) == (STAND_IN, None)
        assert uplink["tunnel_ports"] == [{"port": 6081, "kind": "geneve"}]

    offered_anew(overlay, nic, option_bytes_max=4)
    pinged_until(overlay, source, target, lambda: arriving(receiver))
    assert not arriving(receiver, "offloaded")
    (blue,) = reported(overlay, receiver.name)["networks"]
    assert places(blue, "from-tunnel") == {"tc"}
    assert blue["seen"] == "none"
    prove("what a stand-in NIC refuses for its option stays in traffic control", str(nic.refused()))
