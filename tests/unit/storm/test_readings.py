# SPDX-License-Identifier: Apache-2.0
"""What ip, bridge and tc print, as lines to compare."""

from __future__ import annotations

from collections import Counter

import pytest

from ovs_geneve.kernel.render import commands
from tests.kernel_states import ethernet
from tests.storm.batches import batched
from tests.storm.readings import difference, reading

TOLD = """\
== link
[{},{"ifindex":1,"ifname":"lo","flags":["UP"],"mtu":65536,"address":"00:00:00:00:00:00"},
{"ifindex":7,"ifname":"og-b00004d","flags":["UP"],"mtu":1450,"address":"02:aa:00:00:00:01",
"linkinfo":{"info_kind":"bridge","info_data":{"stp_state":0,"bridge_id":"8000.2:aa","hello_timer":0.5}},
"ifalias":"ovs-geneve network e0"},
{"ifindex":9,"ifname":"w1","flags":[],"mtu":1450,"master":"og-b00004d","address":"0a:00:00:00:00:09",
"linkinfo":{"info_kind":"dummy","info_slave_kind":"bridge","info_slave_data":{"learning":false,"no":"0x2"}}},
{"ifindex":10,"ifname":"w2","flags":["UP"],"mtu":1300,"address":"0a:00:00:00:00:0a","linkinfo":{"info_kind":"dummy"}}]
== qdisc
qdisc noqueue 0: dev lo root refcnt 2
qdisc clsact ffff: dev w1 parent ffff:fff1
qdisc clsact ffff: dev lo parent ffff:fff1
== fdb
[{"mac":"33:33:00:00:00:01","ifname":"w1","flags":["self"],"state":"permanent"},
{"mac":"02:00:00:00:00:01","ifname":"w1","flags":[],"master":"og-b00004d","state":"static"},
{"mac":"0a:00:00:00:00:09","ifname":"w1","flags":[],"master":"og-b00004d","state":"permanent"}]
== neighbour4
[{"dst":"10.1.0.1","dev":"og-b00004d","lladdr":"02:00:00:00:00:01","state":["PERMANENT"]},
{"dst":"10.1.0.7","dev":"lo","lladdr":"02:00:00:00:00:07","state":["PERMANENT"]}]
== neighbour6
[]
== proxy4
[{"dst":"10.1.0.3","dev":"w1"}]
== proxy6
== route4
[]
== route6
[{"dst":"fd01::1","dev":"og000064x3","protocol":"110","flags":[]}]
== setting
net/ipv6/conf/og-b00004d/addr_gen_mode:1
"""
FILTERS = """\
qdisc noqueue 0: root refcnt 2
qdisc clsact ffff: parent ffff:fff1
filter protocol ip pref 28161 flower chain 0
filter protocol ip pref 28161 flower chain 0 handle 0x1
  eth_type ipv4
  src_ip 10.1.0.1
  not_in_hw
\taction order 1: skbedit mark 1 pipe
\t index 3 ref 1 bind 1

qdisc noqueue 0: root refcnt 2
qdisc clsact ffff: parent ffff:fff1
"""
LINES = {
    'link og-b00004d {"alias": "ovs-geneve network e0", "data": {"stp_state": 0}, "kind": "bridge", '
    '"mac": "02:aa:00:00:00:01", "master": null, "mtu": 1450, "port": {}, "up": true}',
    'link w1 {"alias": null, "data": {}, "kind": "dummy", "master": "og-b00004d", "mtu": 1450, '
    '"port": {"learning": false}, "up": false}',
    'link w2 {"alias": null, "data": {}, "kind": "dummy", "master": null, "port": {}, "up": true}',
    'fdb {"flags": [], "ifname": "w1", "mac": "02:00:00:00:00:01", "master": "og-b00004d", "state": "static"}',
    'neighbour4 {"dev": "og-b00004d", "dst": "10.1.0.1", "lladdr": "02:00:00:00:00:01", "state": ["PERMANENT"]}',
    'proxy4 {"dev": "w1", "dst": "10.1.0.3"}',
    'route6 {"dev": "og000064x3", "dst": "fd01::1", "flags": [], "protocol": "110"}',
    "setting net/ipv6/conf/og-b00004d/addr_gen_mode:1",
    "filter w1 ingress filter protocol ip pref 28161 flower chain 0 handle 0x1 eth_type ipv4 src_ip 10.1.0.1 "
    "not_in_hw action order 1: skbedit mark 1 pipe",
}


def read(told: str = TOLD, filters: str = FILTERS) -> set[str]:
    def run(script: str) -> str:
        return filters if script.startswith("tc -batch") else told

    found = reading(
        run,
        apart=["lo"],
        macs=["og-b00004d"],
        mtus=["w1"],
        settings=["net/ipv6/conf/og-b00004d/addr_gen_mode"],
    )
    assert max(found.values()) == 1
    return set(found)


def test_all_of_ours_is_read_and_nothing_that_differs_by_itself() -> None:
    assert read() == LINES


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("src_ip 10.1.0.1", "src_ip 10.1.0.2"),
        ("handle 0x1\n", "handle 0x2\n"),
        ("mark 1 pipe", "mark 2 pipe"),
    ],
)
def test_another_filter_is_another_line(old: str, new: str) -> None:
    assert len(read(filters=FILTERS.replace(old, new)) ^ LINES) == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"mtu":1450,"master"', '"mtu":1400,"master"'),
        ('"learning":false', '"learning":true'),
        ('"stp_state":0', '"stp_state":1'),
        ('"state":"static"', '"state":"reachable"'),
        ('"lladdr":"02:00:00:00:00:01"', '"lladdr":"02:00:00:00:00:02"'),
        ('"dst":"fd01::1"', '"dst":"fd01::2"'),
        ("addr_gen_mode:1", "addr_gen_mode:0"),
    ],
)
def test_another_value_is_another_line(old: str, new: str) -> None:
    assert len(read(TOLD.replace(old, new)) ^ LINES) == 2


def test_what_is_held_twice_is_too_much() -> None:
    one, two = Counter(["a", "b"]), Counter(["b", "b"])
    assert difference(one, two) == "missing a\ntoo much b"
    assert difference(one, one) == ""


def test_batches_have_every_command_in_its_place() -> None:
    state = ethernet()
    script = batched(commands(state))
    done = [
        line
        for line in script.splitlines()
        if not line.startswith(("END", "ip -", "bridge -", "tc -", "sysctl "))
    ]
    wanted = [line.rpartition(" || ")[2] for line in commands(state)]
    words = [line.split(" ", 2 if line.startswith(("ip -", "sysctl -")) else 1)[-1] for line in wanted]
    assert [line for line in words if "/" not in line.split("=")[0] or "=" not in line] == done
    assert "sysctl -qw net/ipv6/conf/og-b00004d/addr_gen_mode=1\n" in script
    assert "tc -force -batch - <<'END' || true\nqdisc add dev og-b00004d clsact\n" in script
