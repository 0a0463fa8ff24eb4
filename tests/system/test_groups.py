# SPDX-License-Identifier: Apache-2.0
"""Policies between groups, with real packets: who gets to talk to whom, and what comes back."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from scapy.layers import inet
from scapy.layers.l2 import Ether

from benchmarks.rig.datapath import megaflows, purge
from controller.compiler.meters import DROP_LOG
from controller.intent.model import GroupSpec, Kind
from controller.intent.rules import PortRange
from controller.lab import Underlay
from tests.patience import patient
from tests.system.conversations import many_connections, tcp, udp, udp_answer_refused, udp_refused
from tests.system.overlay import Endpoint, Overlay
from tests.system.packets import Wires

pytestmark = pytest.mark.system

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
DB_PORT = (PortRange(5432, 5432),)


@pytest.fixture(scope="module", params=[Underlay.IPV4, Underlay.IPV6], ids=str)
def shared(request: pytest.FixtureRequest, make_overlay: Callable[..., Overlay]) -> Overlay:
    overlay = make_overlay(hosts=2, underlay=request.param)
    for name in ("web", "db", "ops"):
        overlay.controller.put(Kind.GROUP, name, GroupSpec())
    return overlay


@pytest.fixture
def ports(overlay: Overlay) -> dict[str, Endpoint]:
    """Two of web, one on each host, a db beside the second, an ops beside the first, and one without a group."""
    overlay.network("blue", options=("identity",))
    places = [
        ("web1", "hv1", "web"),
        ("web2", "hv2", "web"),
        ("db1", "hv2", "db"),
        ("ops1", "hv1", "ops"),
        ("lone1", "hv1", None),
    ]
    return {
        name: overlay.port("blue", host, number, group=group)
        for number, (name, host, group) in enumerate(places, 1)
    }


def test_a_policy_lets_in_whom_it_names_and_nobody_else(overlay: Overlay, ports: dict[str, Endpoint]) -> None:
    target = ports["db1"]
    assert all(tcp(overlay, ports[name], target, 5432) for name in ("web1", "web2", "ops1", "lone1"))
    overlay.rule("web-db", "blue", "db", from_group="web", protocol=TCP, ports=DB_PORT)
    for version in (4, 6):
        # From another host and from beside it.
        assert tcp(overlay, ports["web1"], target, 5432, version=version)
        assert tcp(overlay, ports["web2"], target, 5432, version=version)
        assert not tcp(overlay, ports["web1"], target, 5433, version=version)
        assert not tcp(overlay, ports["ops1"], target, 5432, version=version)
        assert not tcp(overlay, ports["lone1"], target, 5432, version=version)
        assert udp(overlay, ports["web1"], target, 5432, version=version) == (False, False)
    assert overlay.ping(ports["web1"], target.ipv4, count=2, wait=0.3) == 0
    # A group that no policy selects is as open as it was.
    assert tcp(overlay, ports["ops1"], ports["web1"], 80)
    overlay.drop_rules()
    assert tcp(overlay, ports["lone1"], target, 5432)


def test_deny_wins_and_priority_decides(overlay: Overlay, ports: dict[str, Endpoint]) -> None:
    target = ports["db1"]
    overlay.rule("all", "blue", "db")
    assert tcp(overlay, ports["lone1"], target, 22)
    overlay.rule("no-ops", "blue", "db", from_group="ops", allow=False)
    assert not tcp(overlay, ports["ops1"], target, 22)
    assert tcp(overlay, ports["web1"], target, 22)
    overlay.rule(
        "ops-ssh", "blue", "db", from_group="ops", protocol=TCP, ports=(PortRange(22, 22),), priority=200
    )
    assert tcp(overlay, ports["ops1"], target, 22)
    assert not tcp(overlay, ports["ops1"], target, 23)


def test_fragments_do_not_slip_past_a_denied_port(overlay: Overlay, ports: dict[str, Endpoint]) -> None:
    """OVS shows the ports of a first fragment only when it is asked to; without it nothing can be put together."""
    overlay.rule("all", "blue", "db")
    overlay.rule("no-dns", "blue", "db", protocol=UDP, ports=(PortRange(53, 53),), allow=False)
    for name in ("web1", "web2"):
        for version in (4, 6):
            for question in (b"question", b"x" * 4000):
                asked = {
                    port: udp(overlay, ports[name], ports["db1"], port, version=version, question=question)
                    for port in (53, 54)
                }
                assert asked == {53: (False, False), 54: (True, True)}, (name, version, len(question))


def test_icmp_goes_by_its_number(overlay: Overlay, ports: dict[str, Endpoint]) -> None:
    target, source = ports["db1"], ports["web1"]
    overlay.rule("ping4", "blue", "db", protocol=ICMP)
    assert overlay.ping(source, target.ipv4) == 3
    # Neighbour discovery passes, the ping does not.
    assert overlay.ping(source, target.ipv6, count=2, wait=0.3) == 0
    overlay.rule("ping6", "blue", "db", protocol=ICMPV6)
    assert overlay.ping(source, target.ipv6) == 3


@pytest.mark.parametrize("stateful", [False, True], ids=["stateless", "stateful"])
@pytest.mark.parametrize("source", ["web1", "web2"])
def test_replies_come_back_to_a_protected_group_where_the_policy_is_stateful(
    overlay: Overlay, ports: dict[str, Endpoint], source: str, stateful: bool
) -> None:
    web, db = ports[source], ports["db1"]
    # Nothing may talk to web, but for SSH of ops.
    overlay.rule("ops-web", "blue", "web", from_group="ops", protocol=TCP, ports=(PortRange(22, 22),))
    overlay.rule("web-db", "blue", "db", from_group="web", protocol=TCP, ports=DB_PORT, stateful=stateful)
    overlay.rule("web-dns", "blue", "db", from_group="web", protocol=UDP, stateful=stateful)
    overlay.rule("web-ping", "blue", "db", from_group="web", protocol=ICMP, stateful=stateful)
    for version in (4, 6):
        assert tcp(overlay, web, db, 5432, version=version) is stateful
        assert udp(overlay, web, db, 53, version=version) == (True, stateful)
        # The other way round nothing begins, not even from the ports that answer.
        assert not tcp(overlay, db, web, 80, version=version)
        assert udp(overlay, db, web, 53, version=version) == (False, False)
        assert tcp(overlay, ports["ops1"], web, 22, version=version)
    assert overlay.ping(web, db.ipv4, count=3, wait=0.5) == (3 if stateful else 0)
    assert overlay.ping(db, web.ipv4, count=2, wait=0.3) == 0


@pytest.mark.parametrize("stateful", [False, True], ids=["stateless", "stateful"])
@pytest.mark.parametrize("version", [4, 6])
def test_errors_about_what_is_allowed_come_in(
    overlay: Overlay, ports: dict[str, Endpoint], version: int, stateful: bool
) -> None:
    web, db = ports["web1"], ports["db1"]
    overlay.rule("web-dns", "blue", "db", from_group="web", protocol=UDP, stateful=stateful)
    overlay.rule("ops-web", "blue", "web", from_group="ops")
    # To who asks: nobody listens. To who answers: nobody waits for it any more.
    assert udp_refused(overlay, web, db, version=version) is stateful
    assert udp_answer_refused(overlay, web, db, version=version) is stateful


def test_a_stateful_policy_from_anybody(overlay: Overlay, ports: dict[str, Endpoint]) -> None:
    web, db = ports["web1"], ports["db1"]
    overlay.rule("any-db", "blue", "db", protocol=TCP, ports=DB_PORT, stateful=True)
    overlay.rule("ops-web", "blue", "web", from_group="ops")
    for version in (4, 6):
        assert tcp(overlay, web, db, 5432, version=version)
        assert tcp(overlay, ports["lone1"], db, 5432, version=version)
        assert not tcp(overlay, db, web, 5432, version=version)
        assert not tcp(overlay, db, ports["web2"], 5432, version=version)


def test_a_stateful_policy_for_every_protocol(overlay: Overlay, ports: dict[str, Endpoint]) -> None:
    web, db = ports["web1"], ports["db1"]
    overlay.rule("web-db", "blue", "db", from_group="web", stateful=True)
    overlay.rule("ops-web", "blue", "web", from_group="ops")
    for version, address in ((4, db.ipv4), (6, db.ipv6)):
        assert tcp(overlay, web, db, 7, version=version)
        assert udp(overlay, web, db, 7, version=version) == (True, True)
        assert overlay.ping(web, address) == 3
        assert not tcp(overlay, db, web, 7, version=version)


CONNECTIONS = 1000
EPHEMERAL = (PortRange(32768, 65535),)
"Where Linux takes the ports of clients from (net.ipv4.ip_local_port_range)."


@pytest.mark.parametrize("version", [4, 6])
def test_a_thousand_connections_are_three_megaflows_a_side(
    overlay: Overlay, ports: dict[str, Endpoint], version: int
) -> None:
    overlay.rule("web-db", "blue", "db", from_group="web", protocol=TCP, ports=DB_PORT)
    overlay.rule("no-ops", "blue", "db", from_group="ops", allow=False, log=True)
    overlay.rule("db-web", "blue", "web", from_group="db", protocol=TCP, ports=EPHEMERAL)
    counts = megaflow_counts(overlay, ports, [5432] * CONNECTIONS, version)
    assert 2 <= min(counts) <= max(counts) <= 3


def test_ports_that_no_policy_tells_apart_are_not_told_apart(
    overlay: Overlay, ports: dict[str, Endpoint]
) -> None:
    overlay.rule("web-db", "blue", "db", from_group="web")
    spread = range(1024, 65024, 64000 // CONNECTIONS)
    assert max(megaflow_counts(overlay, ports, spread, 4)) <= 3


def test_stateful_policies_look_at_each_reply_twice_and_no_more(
    overlay: Overlay, ports: dict[str, Endpoint]
) -> None:
    overlay.rule("web-db", "blue", "db", from_group="web", protocol=TCP, ports=DB_PORT, stateful=True)
    overlay.rule("lock", "blue", "web", allow=False)
    counts = megaflow_counts(overlay, ports, [5432] * CONNECTIONS, 4)
    # Before conntrack and after it; at the receiver nothing comes back from there.
    assert counts[0] <= 4
    assert counts[1] <= 3


def megaflow_counts(
    overlay: Overlay, ports: dict[str, Endpoint], to: Iterable[int], version: int
) -> list[int]:
    """Return how many megaflows TCP from web1 to db1 needs, at the sender and at the receiver."""
    source, target = ports["web1"], ports["db1"]
    for host in overlay.lab.hosts:
        purge(host)
    with many_connections(overlay, source, target, to, version=version):
        return [len(megaflows(host, version)) for host in overlay.lab.hosts]


def test_refusals_are_told_and_a_flood_of_them_is_limited(
    overlay: Overlay, ports: dict[str, Endpoint]
) -> None:
    source, target = ports["ops1"], ports["db1"]
    overlay.rule("no-ops", "blue", "db", from_group="ops", protocol=TCP, allow=False, log=True)
    assert not tcp(overlay, source, target, 5432)
    wanted = f"deny ops -> db tcp {source.ipv4}:"
    event = told(overlay, wanted)
    assert event["message"].endswith(f" -> {target.ipv4}:5432 by policy/no-ops on hv2")
    assert (event["kind"], event["host"], event["network"]) == ("denied", "hv2", "blue")
    # No policy allows it: that is told as well.
    assert udp(overlay, ports["lone1"], target, 53) == (False, False)
    assert told(overlay, "deny no group -> db udp ")["message"].endswith("by default on hv2")
    before = sent_up(overlay, "hv2")
    began = time.monotonic()
    frame = Ether(src=source.mac, dst=target.mac) / inet.IP(src=source.ipv4, dst=target.ipv4) / inet.ICMP()
    with Wires(overlay.lab, [source.name]) as wires:
        for _ in range(3000):
            wires[source.name].send(bytes(frame))
    time.sleep(1)
    most = 20 * (time.monotonic() - began) + 20
    passed, cut = (now - then for now, then in zip(sent_up(overlay, "hv2"), before, strict=True))
    assert cut > 2000
    assert 1 <= passed - cut <= most + 5
    assert told(overlay, "deny ops -> db icmp ")["message"].endswith("by default on hv2")


def told(overlay: Overlay, beginning: str) -> dict[str, Any]:
    """Return an event whose message begins so, once it is there."""
    end = time.monotonic() + patient(5)
    while True:
        found = [
            event for event in overlay.controller.ask("events", 0) if event["message"].startswith(beginning)
        ]
        if found:
            return found[-1]
        assert time.monotonic() < end, [event["message"] for event in overlay.controller.ask("events", 0)]
        time.sleep(0.05)


def sent_up(overlay: Overlay, host: str) -> tuple[int, int]:
    """Return how many refused packets a bridge was to send up, and how many of them its meter cut off."""
    said = overlay.lab.host(host).ofctl("meter-stats", "br-int", f"meter={DROP_LOG}")
    counts = re.findall(r"packet_in_count:(\d+)|packet_count:(\d+)", said)
    packets, cut = (int(one or other) for one, other in counts[:2])
    return packets, cut


def test_membership_moves_rights_at_once(overlay: Overlay, ports: dict[str, Endpoint]) -> None:
    source, target = ports["lone1"], ports["db1"]
    overlay.rule("web-db", "blue", "db", from_group="web", protocol=TCP, ports=DB_PORT)
    assert not tcp(overlay, source, target, 5432)
    for group, may in (("web", True), ("ops", False), ("web", True), (None, False)):
        overlay.declare("blue", 5, group=group)
        overlay.controller.settle((Kind.PORT, source.name))
        overlay.revalidate()
        assert tcp(overlay, source, target, 5432) is may, group
    # The target's own group counts as much as the sender's.
    overlay.declare("blue", 3, group=None)
    overlay.controller.settle((Kind.PORT, target.name))
    overlay.revalidate()
    assert tcp(overlay, source, target, 5432)
