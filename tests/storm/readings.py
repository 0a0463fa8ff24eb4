# SPDX-License-Identifier: Apache-2.0
"""What a kernel holds, as ip, bridge, tc and /proc/sys tell it: lines to compare, read by nothing of ours.

Left out is what a kernel fills in by itself, another number or MAC each time.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

Run = Callable[[str], str]
"Runs a script on a machine and returns what it printed."

Reading = Counter[str]
"Lines; the kernel may hold one thing twice."

_SECTIONS = {
    "link": "ip -d -j link show",
    "qdisc": "tc qdisc show",
    "fdb": "bridge -j fdb show",
    "neighbour4": "ip -4 -j neigh show nud permanent",
    "neighbour6": "ip -6 -j neigh show nud permanent",
    "proxy4": "ip -4 -j neigh show proxy",
    "proxy6": "ip -6 -j neigh show proxy",
    "route4": "ip -4 -j route show table all proto 110",
    "route6": "ip -6 -j route show table all proto 110",
}
_BY_ITSELF = frozenset(
    {"bridge_id", "root_id", "designated_bridge", "designated_root", "group_address", "group_addr"}
    | {"id", "no", "designated_port", "root_port", "root_path_cost", "ifindex", "index"}
    | {"hello_timer", "tcn_timer", "topology_change_timer", "gc_timer", "hold_timer", "message_age_timer"}
    | {"forward_delay_timer"}
)
"Of bridges and their ports."
_CLSACT = re.compile(r"^qdisc clsact ffff: dev (\S+)", re.MULTILINE)
_NUMBERS = re.compile(r"\bindex \d+ ref \d+ bind \d+")


def reading(
    run: Run,
    *,
    apart: Collection[str],
    macs: Collection[str],
    mtus: Collection[str],
    settings: Iterable[str],
) -> Reading:
    """Read a machine, but for the devices `apart`.

    Of /proc/sys these files, of devices of ours alone the MTU, and of others those that are named.
    """
    script = "".join(f"echo '== {name}'; {command}\n" for name, command in _SECTIONS.items())
    files = " ".join(sorted(settings))
    script += f"echo '== setting'; cd /proc/sys; grep -sH . {files} /dev/null || true\n"
    told = dict(_told(run(script)))
    lines = Counter(_link(one, macs, mtus) for one in _objects(told["link"]) if one["ifname"] not in apart)
    for name in ("fdb", "neighbour4", "neighbour6", "proxy4", "proxy6", "route4", "route6"):
        lines.update(f"{name} {one}" for one in _entries(told[name], apart))
    lines.update(f"setting {line}" for line in told["setting"].splitlines())
    filtered = [device for device in _CLSACT.findall(told["qdisc"]) if device not in apart]
    lines.update(_filters(run, filtered))
    return lines


def difference(should: Reading, held: Reading) -> str:
    """Say what a kernel lacks and has too much; "" when nothing."""
    missing = [f"missing {line}" for line in (should - held).elements()]
    return "\n".join([*missing, *(f"too much {line}" for line in (held - should).elements())])


def _told(output: str) -> Iterator[tuple[str, str]]:
    for section in output.split("== ")[1:]:
        name, _, text = section.partition("\n")
        yield name, text


def _objects(text: str) -> list[dict[str, Any]]:
    return [one for one in json.loads(text or "[]") if one]


def _link(one: Mapping[str, Any], macs: Collection[str], mtus: Collection[str]) -> str:
    info = one.get("linkinfo", {})
    port = {name: value for name, value in info.get("info_slave_data", {}).items() if name not in _BY_ITSELF}
    master = one.get("master")
    words: dict[str, object] = {"up": "UP" in one["flags"], "master": master, "port": port}
    if one["ifname"] in mtus or one.get("ifalias", "").startswith("ovs-geneve"):
        words["mtu"] = one["mtu"]
    data = {name: value for name, value in info.get("info_data", {}).items() if name not in _BY_ITSELF}
    words |= {"alias": one.get("ifalias"), "kind": info.get("info_kind"), "data": data}
    if one["ifname"] in macs:
        words["mac"] = one["address"]
    return f"link {one['ifname']} {json.dumps(words, sort_keys=True)}"


def _entries(text: str, apart: Collection[str]) -> Iterator[str]:
    for one in _objects(text):
        device = one.get("ifname") or one.get("dev")
        # Entries of a port's own MAC are permanent, those of what a device itself listens to have no master.
        by_itself = "ifname" in one and (one.get("state") == "permanent" or "master" not in one)
        if device not in apart and not by_itself:
            yield json.dumps(one, sort_keys=True)


def _filters(run: Run, devices: Iterable[str]) -> Iterator[str]:
    places = [(device, direction) for device in sorted(devices) for direction in ("ingress", "egress")]
    # tc does not say whose filters it shows: lines of a device's qdiscs stand before each.
    asked = "".join(f"qdisc show dev {d}\nfilter show dev {d} {how}\n" for d, how in places)
    told = re.split(
        r"^(?:qdisc .*\n)*?qdisc clsact .*\n", run(f"tc -batch - <<'END'\n{asked}END\n"), flags=re.MULTILINE
    )[1:]
    for (device, direction), text in zip(places, told, strict=True):
        for block in re.split(r"^(?=filter )", text, flags=re.MULTILINE):
            if " handle " in block.partition("\n")[0]:
                yield f"filter {device} {direction} " + " ".join(_NUMBERS.sub("", block).split())
