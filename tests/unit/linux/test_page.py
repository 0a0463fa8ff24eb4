# SPDX-License-Identifier: Apache-2.0
"""Commands that docs/linux-hosts.md shows are those that are rendered for the hosts it speaks of."""

from __future__ import annotations

from pathlib import Path

from controller.intent.model import TunnelStyle
from controller.intent.rules import PacketMatch, PortRange
from ovs_geneve.kernel.objects import joined
from ovs_geneve.kernel.render import commands
from tests.builders import bind, group, group_policy, host, network, policy, port, put, schema
from tests.unit.linux.builders import LinuxFabric, linux
from tests.unit.linux.test_fixed import small

PAGE = Path(__file__).parents[3] / "docs" / "linux-hosts.md"


def blue() -> LinuxFabric:
    """The page's hosts: web1 and plain on lx1, db1 and cache on lx2, web2 on hv3, which has Open vSwitch."""
    fabric = LinuxFabric()
    fabric.do(
        put("lx1", linux("10.9.0.1", "fd09::1")),
        put("lx2", linux("10.9.0.2", "fd09::2")),
        put("hv3", host("10.9.0.3")),
        put("web", group()),
        put("db", group()),
        put("context", schema(1)),
        put("blue", network(100, "context", "identity")),
        put("web1", port("blue", 1, "10.0.0.1", "2001:db8::1", group="web", values={"context.tier": 2})),
        put("plain", port("blue", 2, "10.0.0.2")),
        put("db1", port("blue", 3, "10.0.0.3", group="db")),
        put("cache", port("blue", 4, "10.0.0.4")),
        put("web2", port("blue", 5, "10.0.0.5", group="web")),
        put(
            "web-db", group_policy("blue", "db", from_group="web", protocol=6, ports=(PortRange(5432, 5433),))
        ),
        put(
            "no-telnet",
            group_policy("blue", "db", priority=200, protocol=6, ports=(PortRange(23, 23),), allow=False),
        ),
        put(
            "tier2",
            policy("blue", {"context.tier": (2, 0xFF)}, to_port="cache", packet=PacketMatch(protocol=6)),
        ),
        *(bind(name, "lx1") for name in ("web1", "plain")),
        *(bind(name, "lx2") for name in ("db1", "cache")),
        bind("web2", "hv3"),
    )
    for name in ("lx1", "lx2"):
        fabric.plug(name, web1="tap1", plain="tap2", db1="tap3", cache="tap4")
    return fabric


def rendered() -> set[str]:
    fabrics = (blue(), small(TunnelStyle.FIXED))
    return {
        line
        for fabric in fabrics
        for parts in fabric.held.values()
        for line in commands(joined(part.state for part in parts.values()))
    }


def test_commands_of_the_page_are_rendered() -> None:
    starts = ("ip ", "tc ", "bridge ", "test ", "sysctl ")
    lines = [
        line.strip() for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("    ")
    ]
    shown = [line for line in lines if line.startswith(starts)]
    assert len(shown) > 15
    assert [line for line in shown if line not in rendered()] == []
