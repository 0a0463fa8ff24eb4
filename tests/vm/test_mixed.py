# SPDX-License-Identifier: Apache-2.0
"""A host with Open vSwitch and one without in one network: policies by group both ways, options, ports that move."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from math import isfinite

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from controller.intent.identity import GROUP_FIELD, LAYOUT
from controller.intent.model import GroupSpec, HostKind, HostSpec, Kind, Tunables, TunnelStyle
from controller.intent.rules import PortRange
from controller.lab import Datapath, Underlay
from tests.patience import patient, until
from tests.system.conversations import tcp
from tests.system.overlay import Endpoint, Overlay
from tests.system.packets import Wires, marked, token
from tests.system.test_mobility import ask_often, first_after
from tests.system.test_options import CONTEXT, on_the_wire
from tests.vm.conftest import Prove

pytestmark = pytest.mark.system

TCP, ICMP, ICMPV6 = 6, 1, 58
DB_PORT = 5432
TIER_2 = {"context.tier": 2, "context.zone": 700}

Ports = dict[str, Endpoint]


@pytest.fixture(scope="module", params=[Underlay.IPV4, Underlay.IPV6], ids=str)
def overlay(request: pytest.FixtureRequest, make_overlay: Callable[..., Overlay]) -> Overlay:
    overlay = make_overlay(hosts=1, linux_hosts=1, underlay=request.param, datapath=Datapath.SYSTEM)
    overlay.schema(CONTEXT)
    for name in ("web", "db"):
        overlay.controller.put(Kind.GROUP, name, GroupSpec())
    return overlay


@pytest.fixture(autouse=True)
def without_rules(overlay: Overlay) -> Iterator[None]:
    """Take policies away behind each test; ports stay, they are the dear part of it."""
    yield
    overlay.drop_rules()


@pytest.fixture(scope="module")
def ports(overlay: Overlay) -> Ports:
    """Of each group one on each host, and one without a group; names say host and group."""
    overlay.network("blue", options=("identity", "context"))
    places = [(host, group) for host in ("hv1", "lx1") for group in ("web", "db", None)]
    return {
        f"{host}-{group or 'lone'}": overlay.port("blue", host, number, group=group, values=values)
        for number, (host, group) in enumerate(places, 1)
        for values in [TIER_2 if group == "web" else None]
    }


def only_web_to_db(overlay: Overlay) -> None:
    """Let web talk to db by TCP port 5432 and by pings; everything else to db is kept out."""
    overlay.rule("tcp", "blue", "db", from_group="web", protocol=TCP, ports=(PortRange(DB_PORT, DB_PORT),))
    overlay.rule("ping", "blue", "db", from_group="web", protocol=ICMP)
    overlay.rule("ping6", "blue", "db", from_group="web", protocol=ICMPV6)


def verdicts(overlay: Overlay, source: Endpoint, target: Endpoint) -> str:
    """Say what gets through from one port to another, in words that a report can print."""
    asked = {
        f"tcp/{port} over IPv{version}": tcp(overlay, source, target, port, version=version)
        for version in (4, 6)
        for port in (DB_PORT, DB_PORT + 1)
    }
    return ", ".join(what for what, passed in asked.items() if passed) or "nothing"


ALLOWED = f"tcp/{DB_PORT} over IPv4, tcp/{DB_PORT} over IPv6"
OPEN = f"tcp/{DB_PORT} over IPv4, tcp/{DB_PORT + 1} over IPv4, tcp/{DB_PORT} over IPv6, tcp/{DB_PORT + 1} over IPv6"


def test_groups_are_enforced_in_both_directions(overlay: Overlay, ports: Ports, prove: Prove) -> None:
    family = overlay.lab.state.underlay
    for source, target in (("hv1-lone", "lx1-db"), ("lx1-lone", "hv1-db")):
        assert verdicts(overlay, ports[source], ports[target]) == OPEN
    only_web_to_db(overlay)
    for sender, receiver in (("hv1", "lx1"), ("lx1", "hv1")):
        target = ports[f"{receiver}-db"]
        seen = {
            f"{sender}-{group}": verdicts(overlay, ports[f"{sender}-{group}"], target)
            for group in ("web", "lone")
        }
        assert seen == {f"{sender}-web": ALLOWED, f"{sender}-lone": "nothing"}
        assert overlay.ping(ports[f"{sender}-web"], target.ipv4) == 3
        assert overlay.ping(ports[f"{sender}-web"], target.ipv6) == 3
        assert overlay.ping(ports[f"{sender}-lone"], target.ipv4, count=2, wait=0.3) == 0
        prove(
            f"{family}: the group of a sender on {sender} is enforced on {receiver}",
            f"to {receiver}-db, where web may use tcp/{DB_PORT}: {seen}",
        )


@pytest.mark.parametrize(("sender", "receiver"), [("hv1", "lx1"), ("lx1", "hv1")])
def test_options_stamped_on_one_side_are_matched_on_the_other(
    overlay: Overlay,
    ports: Ports,
    sender: str,
    receiver: str,
    prove: Prove,
    request: pytest.FixtureRequest,
) -> None:
    web, lone, target = (ports[name] for name in (f"{sender}-web", f"{sender}-lone", f"{receiver}-lone"))
    request.addfinalizer(lambda: overlay.controller.delete(Kind.OPTION_POLICY, "tier2"))
    overlay.policy("tier2", "blue", [("context.tier", 2, 0xFF)], to_port=target.name)
    overlay.revalidate()
    for address in target.addresses:
        assert overlay.ping(web, address) == 3
        assert overlay.ping(lone, address, count=2, wait=0.3) == 0
    mark = token()
    frame = Ether(src=web.mac, dst=target.mac) / IP(src=web.ipv4, dst=target.ipv4) / UDP(dport=9)
    with Wires(overlay.lab, [web.name, target.name]) as wires:

        def say() -> None:
            wires[web.name].send(marked(frame, mark))
            assert wires[target.name].wait_for(mark)

        _, [(outer, packet)] = on_the_wire(overlay, say, mark, host=receiver)
    said = {option.key: option.data for option in packet.options}
    values = CONTEXT.decode_values(said[CONTEXT.key])
    assert values == {"tier": 2, "zone": 700}
    identity = LAYOUT.decode_values(said[LAYOUT.key])[GROUP_FIELD]
    assert identity
    prove(
        f"{overlay.lab.state.underlay}: options that {sender} stamps are matched on {receiver}",
        f"{outer.source} to {outer.destination}: context {values}, group {identity}; of {sender}-lone, tier 0, nothing",
    )


@pytest.fixture(scope="module")
def elsewhere(overlay: Overlay) -> list[Endpoint]:
    """Ports of another network, with addresses and MACs of the first: one on each host."""
    overlay.network("red")
    return [overlay.port("red", host, number) for number, host in enumerate(("hv1", "lx1"), 1)]


WAY = ("lx1", "hv1")
"From hv1 and back."


@pytest.mark.parametrize("group", ["db", "web"])
def test_a_port_moves_there_and_back_and_the_policy_holds(
    overlay: Overlay, ports: Ports, elsewhere: list[Endpoint], group: str, prove: Prove
) -> None:
    mover = overlay.port("blue", "hv1", 9, group=group)
    ask_often(overlay, mover)
    only_web_to_db(overlay)
    partner = {"db": "web", "web": "db"}[group]
    partners = [ports[f"{host}-{partner}"] for host in ("hv1", "lx1")]
    kept_out = [ports[f"{host}-lone"] for host in ("hv1", "lx1")] if group == "db" else []
    pings = [
        overlay.pinging(one, mover.ipv4) if group == "db" else overlay.pinging(mover, one.ipv4)
        for one in partners
    ]
    pings.append(
        overlay.pinging(partners[0], mover.ipv6)
        if group == "db"
        else overlay.pinging(mover, partners[1].ipv6)
    )
    refused = [overlay.pinging(one, mover.ipv4) for one in kept_out]
    moments, seen = [], {}
    with Wires(overlay.lab, [mover.name, *(one.name for one in elsewhere)]) as wires:
        for host in WAY:
            overlay.lab.move(mover.name, host)
            moments.append(time.time())
            overlay.controller.settle((Kind.PORT, mover.name))
            seen[host] = [
                verdicts(overlay, *((one, mover) if group == "db" else (mover, one))) for one in partners
            ]
        heard = {name: wires[name].heard() for name in (mover.name, *(one.name for one in elsewhere))}
    assert seen == {host: [ALLOWED, ALLOWED] for host in WAY}
    assert not any(ping.times() for ping in refused)
    strangers = {bytes.fromhex(one.mac.replace(":", "")) for one in kept_out}
    assert not [
        frame.hex() for frame in heard[mover.name] if frame[6:12] in strangers and frame[12:14] == b"\x08\0"
    ]
    to_mover = bytes.fromhex(mover.mac.replace(":", ""))
    assert not [
        frame.hex() for one in elsewhere for frame in heard[one.name] if to_mover in (frame[:6], frame[6:12])
    ]
    overlay.remove(mover)
    back = {ping.what: [round(first_after(ping.times(), moment), 2) for moment in moments] for ping in pings}
    assert all(isfinite(after) for times in back.values() for after in times), back
    prove(
        f"{overlay.lab.state.underlay}: a port of group {group} moves from hv1 to lx1 and back under its policy",
        f"seconds until pings come back, there and back: {back}; at both places {ALLOWED}, from nobody else anything,"
        f" of {len(heard[mover.name])} frames at it none of who is kept out, none of it in the other network",
    )


def tune(overlay: Overlay, *, csum: bool, takes_zero: bool) -> None:
    """Say whether hv1 sends checksums and whether lx1, by fixed tunnels, takes packets without."""
    ovs, linux = overlay.lab.host("hv1"), overlay.lab.linux_hosts[0]
    specs = {
        ovs: HostSpec(
            ovsdb=ovs.ovsdb,
            endpoints=(ip_address(str(ovs.endpoint)),),
            underlay_mtu=ovs.mtu,
            tunables=Tunables(csum=csum),
        ),
        linux: HostSpec(
            kind=HostKind.LINUX,
            endpoints=(ip_address(str(linux.endpoint)),),
            underlay_mtu=linux.mtu,
            tunnels=TunnelStyle.FIXED,
            tunables=Tunables(udp6_zero_csum=takes_zero),
        ),
    }
    for host, spec in specs.items():
        overlay.controller.put(Kind.HOST, host.name, spec)


def test_zero_checksums_over_ipv6_are_told_of_and_refused(overlay: Overlay, prove: Prove) -> None:
    """The last test: it takes all networks away."""
    if overlay.lab.state.underlay is not Underlay.IPV6:
        pytest.skip("UDP over IPv4 may go without a checksum")
    overlay.clear()
    tune(overlay, csum=True, takes_zero=False)
    overlay.controller.settle((Kind.HOST, "hv1"), (Kind.HOST, "lx1"), timeout=patient(30))
    overlay.network("plain")
    there, here = overlay.port("plain", "hv1", 1), overlay.port("plain", "lx1", 2)

    def answers() -> int:
        return overlay.ping(here, there.ipv4, wait=patient(0.2))

    def told() -> list[str]:
        return list(overlay.controller.ask("conditions", Kind.HOST, "hv1").get("Interoperable", ()))

    assert (answers(), told()) == (3, [])
    before = wrong_checksums(overlay)
    tune(overlay, csum=False, takes_zero=False)
    until(told, patient(5), "no condition tells of it")
    assert told()[:2] == ["False", "ZeroChecksums"]
    until(lambda: answers() == 0, patient(5), "nothing is refused")
    refused = wrong_checksums(overlay) - before
    assert refused >= 3
    evidence = f"{told()}; lx1 dropped {refused} by their checksum (Udp6InCsumErrors)"
    tune(overlay, csum=False, takes_zero=True)
    until(lambda: answers() == 3, patient(10), "a device that takes zero checksums does not")
    assert told()[:2] == ["False", "ZeroChecksums"]
    tune(overlay, csum=True, takes_zero=False)
    until(lambda: answers() == 3 and not told(), patient(10), "tunnel.csum does not cure it")
    prove(
        "an OVS host that sends zero checksums over IPv6 is told of; a peer without Open vSwitch refuses",
        evidence,
    )


def wrong_checksums(overlay: Overlay) -> int:
    """How many UDP packets over IPv6 the kernel of lx1 has dropped for their checksum."""
    lines = overlay.lab.exec("lx1", ["cat", "/proc/net/snmp6"], timeout=patient(5)).stdout.splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Udp6InCsumErrors"))
