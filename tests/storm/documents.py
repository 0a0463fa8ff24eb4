# SPDX-License-Identifier: Apache-2.0
"""Random documents of REST from small pools of names, so that they meet each other."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]

AGENTS = ("lx1", "lx2")
"Hosts with an agent."
WITHOUT_AGENT = "lx3"
"Its ports are told over REST, as `ovs-geneve render --interface` does."
OVS = "hv9"

SCHEMAS = {"s0": (0xFF00, 1, 4), "s1": (0xFF01, 0x82, 8), "s2": (0xFF02, 3, 4), "s3": (0xFF03, 4, 12)}
ETHERNET, IP = ("e0", "e1", "e2"), ("i0",)
NETWORKS = (*ETHERNET, *IP)
GROUPS = ("g0", "g1", "g2")
PORTS = tuple(f"p{number}" for number in range(10))
POLICIES = tuple(f"o{number}" for number in range(5))
OPTION_POLICIES = tuple(f"q{number}" for number in range(4))

NAMES: Mapping[str, tuple[str, ...]] = {
    "hosts": (*AGENTS, WITHOUT_AGENT, OVS),
    "option-schemas": tuple(SCHEMAS),
    "networks": NETWORKS,
    "groups": GROUPS,
    "ports": PORTS,
    "policies": POLICIES,
    "option-policies": OPTION_POLICIES,
}

KINDS = {name: name.removesuffix("s") for name in NAMES} | {
    "policies": "policy",
    "option-policies": "option-policy",
}


def interface_of(port: str) -> str:
    """Return the interface ID of a port."""
    return f"w{port[1:]}"


def document(draw: random.Random, collection: str, name: str) -> Document:
    """Return a document for an object of this name."""
    match collection:
        case "hosts":
            return _ovs() if name == OVS else host(name, draw)
        case "option-schemas":
            return _schema(name)
        case "networks":
            return _network(name, draw)
        case "groups":
            return {}
        case "ports":
            return port(name, draw)
        case "policies":
            return _policy(draw)
    return _option_policy(draw)


def host(name: str, draw: random.Random | None = None) -> Document:
    """Return a host; without a draw as it begins."""
    number = int(name[2:])
    both = [{"address": f"10.9.0.{number}"}, {"address": f"fd09::{number}"}]
    if draw is None:
        return {"kind": "linux", "endpoints": both}
    endpoints = draw.choice((both, both, both[::-1], both[:1]))
    fixed = draw.random() < 0.2
    return {
        "kind": "linux",
        "endpoints": endpoints,
        "tunnels": "fixed" if fixed else "metadata",
        "tunnel": {
            "csum": draw.random() < 0.7,
            "ttl": draw.choice((None, 9, 64, "inherit") if fixed else (None, 9, 64)),
            "tos": draw.choice((None, 0x20, "inherit") if fixed else (None, 0x20)),
            "df_default": draw.random() < 0.5,
            "df_inherit": fixed and draw.random() < 0.3,
            "udp6_zero_csum": draw.random() < 0.8,
        },
        "underlay_mtu": draw.choice((None, 1600, 2000)),
    }


def _ovs() -> Document:
    return {"endpoints": [{"address": "10.9.0.9"}]}


def _schema(name: str) -> Document:
    option_class, option_type, length = SCHEMAS[name]
    fields = [{"name": "v", "type": "uint", "offset": 0, "bits": 8}]
    return {"class": option_class, "type": option_type, "length": length, "fields": fields}


def _network(name: str, draw: random.Random) -> Document:
    vni = 100 + NETWORKS.index(name) + draw.choice((0, 0, 0, 0x1000))
    if name in IP:
        return {"vni": vni, "payload": "ip"}
    return {"vni": vni, "options": draw.sample(tuple(SCHEMAS), draw.choice((0, 0, 1, 1, 2)))}


def port(name: str, draw: random.Random) -> Document:
    """Return a port; what its network cannot give is for the controller to refuse."""
    number = int(name[1:]) + 1
    network = draw.choice(NETWORKS)
    address = [f"10.1.0.{number}", f"fd01::{number:x}"]
    addresses = draw.choice((address, address, address[:1], [], [*address, f"10.2.0.{number}"]))
    found: dict[str, Any] = {
        "network": network,
        "mac": f"02:00:00:00:00:{number:02x}",
        "addresses": addresses,
        "interface_id": interface_of(name),
    }
    if network in ETHERNET:
        found["group"] = draw.choice((None, None, *GROUPS))
        if draw.random() < 0.3:
            found["options"] = {draw.choice(tuple(SCHEMAS)): {"v": draw.randrange(256)}}
    return found


def _policy(draw: random.Random) -> Document:
    protocol = draw.choice((None, "tcp", "udp", "icmp"))
    return {
        "network": draw.choice(ETHERNET),
        "from": draw.choice((None, {"group": draw.choice(GROUPS)})),
        "to": {"group": draw.choice(GROUPS)},
        "priority": draw.choice((50, 100, 100, 200)),
        "protocol": protocol,
        "ports": draw.choice(([], [443], ["8000-8100", 22])) if protocol in ("tcp", "udp") else [],
        "action": draw.choice(("allow", "allow", "deny")),
        "stateful": draw.random() < 0.05,
    }


def _option_policy(draw: random.Random) -> Document:
    selector = draw.choice(({}, {"port": draw.choice(PORTS)}, {"group": draw.choice(GROUPS)}))
    return {
        "network": draw.choice(ETHERNET),
        "priority": draw.choice((50, 100, 200)),
        "to": selector,
        "match": {"option": {f"{draw.choice(tuple(SCHEMAS))}.v": f"{draw.randrange(4)}/0x3"}},
        "action": draw.choice(("allow", "drop")),
    }
