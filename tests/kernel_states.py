# SPDX-License-Identifier: Apache-2.0
"""Kernel states to test with: an Ethernet network with metadata devices, fixed devices, an IP network."""

from __future__ import annotations

from ovs_geneve.kernel.objects import (
    FIRST_PREFERENCE,
    Attachment,
    BridgeLink,
    BridgePort,
    DummyLink,
    Fdb,
    Filter,
    Flower,
    Fw,
    GeneveLink,
    GeneveOption,
    GeneveOptionMatch,
    Goto,
    KernelState,
    Link,
    MatchAll,
    Mirred,
    Neighbour,
    Route,
    SetMark,
    Setting,
    TunnelSet,
    TunnelUnset,
    Verdict,
    VrfLink,
)

BRIDGE, TUNNEL, GENEVE = "og-b00004d", "og-t00004d", "og-geneve"
MACS = {port: f"02:00:00:00:00:{port:02x}" for port in range(1, 6)}
DROP, PASS, CONTINUE = (Verdict(verdict=one) for one in ("drop", "pass", "continue"))  # type: ignore[arg-type]
UNICAST, FLOOD, ARRIVING, POLICY = (0x6E00000 + n for n in range(4))
"As they were when answers of a kernel were recorded (tests/vectors/kernel.json)."


def ethernet(
    *, local: str = "10.9.0.1", remote: str = "10.9.0.2", ports: tuple[int, ...] = (1,), far: int = 2
) -> KernelState:
    """Return a network with local ports pN, and port `far` on the other host."""
    return KernelState(
        links=frozenset(
            {
                link(GENEVE, GeneveLink(), mtu=65000),
                link(BRIDGE, BridgeLink(), mtu=1450, mac="02:aa:00:00:00:01"),
                link(TUNNEL, DummyLink(), mtu=1450, master=BRIDGE, port=BridgePort(neigh_suppress=True)),
            }
        ),
        attachments=frozenset(
            Attachment(name=f"p{n}", master=BRIDGE, mtu=1450, port=BridgePort()) for n in ports
        ),
        settings=frozenset({Setting(path=f"net/ipv6/conf/{BRIDGE}/addr_gen_mode", value="1")}),
        fdb=frozenset(
            {*(Fdb(device=f"p{n}", mac=MACS[n]) for n in ports), Fdb(device=TUNNEL, mac=MACS[far])}
        ),
        neighbours=frozenset(
            Neighbour(device=BRIDGE, address=f"{prefix}{n}", mac=MACS[n])
            for n in {*ports, far}
            for prefix in ("10.1.0.", "fd01::")
        ),
        filters=frozenset(
            {
                *(one for n in ports for one in (*guarded(n, far), *stamped(n, local, remote))),
                *towards(far),
                *arriving(local, remote, far),
                Filter(device=BRIDGE, preference=FIRST_PREFERENCE + 9, match=MatchAll(), actions=(DROP,)),
            }
        ),
    )


def link(name: str, kind: GeneveLink | BridgeLink | DummyLink | VrfLink, **more: object) -> Link:
    """Return a link of ours."""
    return Link(name=name, kind=kind, alias="ovs-geneve test", **more)  # type: ignore[arg-type]


def guarded(n: int, far: int) -> list[Filter]:
    """Return the filters of a workload's interface."""
    device, mark = f"p{n}", (SetMark(mark=n), PASS)
    sources = (
        ("ip", Flower(src_mac=MACS[n], src_ip=f"10.1.0.{n}/32")),
        ("ipv6", Flower(src_mac=MACS[n], src_ip=f"fd01::{n}/128")),
        ("arp", Flower(src_mac=MACS[n], arp_sip=f"10.1.0.{n}/32", arp_sha=MACS[n])),
    )
    return [
        *(
            Filter(
                device=device,
                preference=FIRST_PREFERENCE + 1 + place,
                protocol=protocol,
                match=match,
                actions=mark,
            )  # type: ignore[arg-type]
            for place, (protocol, match) in enumerate(sources)
        ),
        Filter(device=device, preference=FIRST_PREFERENCE + 9, match=MatchAll(), actions=(DROP,)),
        Filter(
            device=device,
            egress=True,
            preference=FIRST_PREFERENCE + 1,
            handle=far,
            match=Fw(mark=far),
            actions=(Goto(chain=POLICY),),
        ),
        *(
            Filter(
                device=device,
                egress=True,
                chain=POLICY,
                preference=2 + place,
                protocol=protocol,
                match=match,
                actions=actions,
            )  # type: ignore[arg-type]
            for place, (protocol, match, actions) in enumerate(
                (
                    ("ip", Flower(ip_proto=6, dst_ports=(80, 80), dst_ip="10.1.0.0/24"), (PASS,)),
                    ("ip", Flower(ip_proto=17, src_ports=(1, 99), dst_ports=(1000, 2000)), (DROP,)),
                    ("ip", Flower(ip_proto=1, icmp_type=8, icmp_code=0), (PASS,)),
                    ("ipv6", Flower(ip_proto=58, icmp_type=128), (PASS,)),
                    ("all", Flower(dst_mac="01:00:00:00:00:00/01:00:00:00:00:00"), (CONTINUE,)),
                    ("all", MatchAll(), (PASS,)),
                )
            )
        ),
    ]


def stamped(n: int, local: str, remote: str) -> list[Filter]:
    """Return the filters that send a local port's packets with its options."""
    tunnel = TunnelSet(vni=77, src=local, dst=remote, ttl=64, options=options(n))
    return [
        Filter(
            device=TUNNEL,
            egress=True,
            chain=UNICAST,
            preference=2,
            handle=n,
            match=Fw(mark=n),
            actions=(tunnel, Mirred(device=GENEVE)),
        ),
        Filter(
            device=TUNNEL,
            egress=True,
            chain=FLOOD,
            preference=2,
            handle=n,
            match=Fw(mark=n),
            actions=(tunnel, Mirred(device=GENEVE, copy=True), CONTINUE),
        ),
    ]


def towards(far: int) -> list[Filter]:
    """Return the filters that find the remote host."""
    return [
        Filter(
            device=TUNNEL,
            egress=True,
            preference=FIRST_PREFERENCE + 1,
            match=Flower(dst_mac=MACS[far]),
            actions=(Goto(chain=UNICAST),),
        ),
        Filter(
            device=TUNNEL,
            egress=True,
            preference=FIRST_PREFERENCE + 9,
            match=MatchAll(),
            actions=(Goto(chain=FLOOD),),
        ),
        *(
            Filter(device=TUNNEL, egress=True, chain=chain, preference=9, match=MatchAll(), actions=(DROP,))
            for chain in (UNICAST, FLOOD)
        ),
    ]


def arriving(local: str, remote: str, far: int) -> list[Filter]:
    """Return the filters of packets that come out of tunnels."""
    known = Flower(enc_vni=77, enc_src=remote, enc_dst=local, enc_dst_port=6081)
    masked = GeneveOptionMatch(option_class=0x102, option_type=1, data="00" * 8, data_mask="00" * 8)
    identity = GeneveOptionMatch(
        option_class=0xFFFF, option_type=0x80, data=f"{far:08x}", data_mask="ffffffff"
    )
    return [
        Filter(device=GENEVE, preference=FIRST_PREFERENCE + 1, match=known, actions=(Goto(chain=ARRIVING),)),
        Filter(device=GENEVE, preference=FIRST_PREFERENCE + 9, match=MatchAll(), actions=(DROP,)),
        Filter(
            device=GENEVE,
            chain=ARRIVING,
            preference=2,
            match=Flower(enc_options=(identity, masked)),
            actions=(SetMark(mark=far), TunnelUnset(), Mirred(device=TUNNEL, ingress=True)),
        ),
        Filter(device=GENEVE, chain=ARRIVING, preference=9, match=MatchAll(), actions=(DROP,)),
    ]


def options(n: int) -> tuple[GeneveOption, ...]:
    """Return the options of a port."""
    return (
        GeneveOption(option_class=0xFFFF, option_type=0x80, data=f"{n:08x}"),
        GeneveOption(option_class=0x0102, option_type=1, data=f"{n:016x}"),
    )


def fixed(**tunables: object) -> KernelState:
    """Return one device with a fixed remote."""
    kind = GeneveLink(**({"vni": 78, "remote": "10.9.0.2", "dst_port": 16081} | tunables))  # type: ignore[arg-type]
    return KernelState(links=frozenset({link("og00004ex2", kind, mtu=1400)}))


def routed() -> KernelState:
    """Return a network of IP with port p5."""
    vrf, device = "og-v00004f", "og00004fx2"
    kind = GeneveLink(vni=79, remote="10.9.0.2", dst_port=16081, inner_proto_inherit=True)
    return KernelState(
        links=frozenset({link(vrf, VrfLink(table=79), mtu=65575), link(device, kind, mtu=1400, master=vrf)}),
        attachments=frozenset({Attachment(name="p5", master=vrf)}),
        settings=frozenset({Setting(path="net/ipv4/conf/p5/forwarding", value="1")}),
        neighbours=frozenset(
            {
                Neighbour(device="p5", address="10.2.0.5", mac=MACS[5]),
                Neighbour(device="p5", address="fd02::5", mac=MACS[5]),
                Neighbour(device="p5", address="10.2.0.6"),
            }
        ),
        routes=frozenset(
            {
                Route(table=79, prefix="10.2.0.5/32", device="p5"),
                Route(table=79, prefix="10.2.0.6/32", device=device),
                Route(table=79, prefix="fd02::6/128", device=device),
            }
        ),
    )
