# SPDX-License-Identifier: Apache-2.0
"""What is refused of hosts without Open vSwitch, of networks of IP, and of who asks hosts for what they cannot do."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import Conflict, IntentError, Invalid
from controller.intent.checks.abilities import refusal
from controller.intent.commands import Bind, Command, Record, evaluate
from controller.intent.intent import Intent
from controller.intent.model import (
    BindingSpec,
    CapabilitySpec,
    Change,
    DatapathChoice,
    Direction,
    HostKind,
    InnerVlan,
    Kind,
    Object,
    Payload,
    PolicyAction,
    TargetSpec,
    Tunables,
    TunnelStyle,
)
from controller.intent.mtu import Underlay, network_fit
from controller.intent.needs import Need, demands_of, lacked_by, lacks
from controller.intent.rules import (
    FieldName,
    Mirror,
    PacketMatch,
    RuleAction,
    SetDscp,
    SetQueue,
    Stamp,
    Steer,
)
from tests.unit.intent.builders import (
    after,
    delete,
    group,
    group_policy,
    host,
    network,
    policy,
    port,
    put,
    rolled_out,
    schema,
)

LINUX, FIXED = HostKind.LINUX, TunnelStyle.FIXED
IP = Payload.IP
EGRESS = Direction.EGRESS


def linux(*endpoints: str, **rest):
    return host(*endpoints, kind=LINUX, **rest)


def fabric() -> Intent:
    """One host of each sort, with a port of a network that says who sends; everybody of the group web."""
    told = CapabilitySpec(critical=True)
    intent = after(
        Intent(),
        put("hv1", host("192.0.2.1")),
        put("lx1", linux("192.0.2.2")),
        put("fx1", linux("192.0.2.3", tunnels=FIXED)),
        Record(name="hv1", spec=told),
        Record(name="lx1", spec=told),
        put("web", group()),
        put("db", group()),
        put("context", schema(1)),
        put("must", schema(0x81)),
        put("blue", network(100, "context", "identity")),
        put("routed", network(200, payload=IP)),
        put("on-hv1", port("blue", 1, "10.0.0.1", group="web")),
        put("on-lx1", port("blue", 2, "10.0.0.2", group="web")),
        put("on-fx1", port("blue", 3, "10.0.0.3", group="web")),
        put("loose", port("blue", 4, "10.0.0.4")),
        put("ip1", port("routed", 1, "10.0.0.1")),
    )
    return after(intent, *(Bind(port=f"on-{name}", host=name) for name in ("hv1", "lx1", "fx1")))


def without_port(name: str) -> Intent:
    return after(fabric(), delete(f"port/{name}"))


def refused(intent: Intent, command: Command) -> IntentError:
    with pytest.raises(IntentError) as caught:
        evaluate(intent, command)
    return caught.value


@pytest.mark.parametrize(
    ("spec", "pointer"),
    [
        (linux("192.0.2.9", ovsdb="tcp:192.0.2.9:6640"), "/ovsdb"),
        (linux("192.0.2.9", system_id="nine"), "/system_id"),
        (linux("192.0.2.9", bridge="br0"), "/bridge"),
        (linux("192.0.2.9", datapath=DatapathChoice.SYSTEM), "/datapath"),
        (host("192.0.2.9", tunnels=FIXED), "/tunnels"),
        (host("192.0.2.9", tunables=Tunables(df_inherit=True)), "/tunnel/df_inherit"),
        (host("192.0.2.9", tunables=Tunables(udp6_zero_csum=False)), "/tunnel/udp6_zero_csum"),
    ],
)
def test_settings_of_the_other_kind_of_host(spec, pointer: str) -> None:
    error = refused(fabric(), put("new", spec))
    assert (type(error), error.code, error.pointer) == (Invalid, "field-of-other-kind", pointer)


@pytest.mark.parametrize(
    ("tunables", "pointer"),
    [
        (Tunables(ttl="inherit"), "/tunnel/ttl"),
        (Tunables(tos="inherit"), "/tunnel/tos"),
        (Tunables(df_inherit=True), "/tunnel/df_inherit"),
    ],
)
def test_only_fixed_tunnels_inherit(tunables: Tunables, pointer: str) -> None:
    error = refused(fabric(), put("new", linux("192.0.2.9", tunables=tunables)))
    assert (error.code, error.pointer) == ("tunnel-inherits-nothing", pointer)
    assert evaluate(fabric(), put("new", linux("192.0.2.9", tunables=tunables, tunnels=FIXED))).created


def test_the_kind_of_a_host_stays() -> None:
    for name, spec in (("hv1", linux("192.0.2.1")), ("lx1", host("192.0.2.2"))):
        error = refused(fabric(), put(name, spec))
        assert (type(error), error.code) == (Conflict, "host-kind-fixed")
        assert (error.pointer, error.holder) == ("/kind", f"host/{name}")
    assert evaluate(after(fabric(), delete("host/hv1")), put("hv1", linux("192.0.2.1"))).created


def test_a_linux_host_calls_in_nowhere() -> None:
    """Its name may be the system-id of a host with Open vSwitch."""
    intent = after(fabric(), put("hv2", host("192.0.2.9", system_id="lx1")))
    assert intent.host_by_system_id("lx1") == "hv2"
    assert evaluate(intent, put("lx1", linux("192.0.2.2"))).changes == ()


def test_payload_stays() -> None:
    for name, spec in (
        ("blue", network(100, "context", "identity", payload=IP)),
        ("routed", network(200)),
    ):
        error = refused(fabric(), put(name, spec))
        assert (error.code, error.pointer, error.holder) == ("immutable", "/payload", f"network/{name}")


@pytest.mark.parametrize(
    ("command", "code", "pointer"),
    [
        (put("n", network(300, "context", payload=IP)), "payload-cannot", "/options/0"),
        (put("n", network(300, payload=IP, inner_vlan=InnerVlan.STRIP)), "payload-cannot", "/inner_vlan"),
        (
            put("n", network(300, payload=IP, target=TargetSpec(gateways=(), hosts=()))),
            "payload-cannot",
            "/target",
        ),
        (put("p", port("routed", 9)), "address-missing", "/addresses"),
        (put("p", port("routed", 9, "10.0.0.9", group="web")), "payload-cannot", "/group"),
        (put("p", group_policy("routed", "web")), "payload-cannot", "/to/group"),
        (put("p", policy("routed")), "payload-cannot", "/network"),
    ],
)
def test_what_a_network_of_ip_has_not(command: Command, code: str, pointer: str) -> None:
    error = refused(fabric(), command)
    assert (type(error), error.code, error.pointer) == (Invalid, code, pointer)


def test_a_network_of_ip_carries_14_bytes_more() -> None:
    intent = after(Intent(), put("lx1", linux("192.0.2.1")), put("lx2", linux("192.0.2.2")))
    intent = after(intent, put("eth", network(1)), put("ip", network(2, payload=IP)))
    underlay = Underlay.of(intent.hosts.values())
    fits = [network_fit(intent, name, underlay) for name in ("eth", "ip")]
    assert [fit.mtu for fit in fits if fit is not None] == [1450, 1464]
    assert refused(intent, put("eth", network(1, mtu=1464))).code == "mtu-does-not-fit"
    assert evaluate(intent, put("ip", network(2, mtu=1464, payload=IP))).changes
    assert refused(intent, put("ip", network(2, mtu=1465, payload=IP))).code == "mtu-does-not-fit"


def test_ports_of_ip_networks_are_on_linux_hosts_only() -> None:
    error = refused(fabric(), Bind(port="ip1", host="hv1"))
    assert (error.code, error.holder) == ("host-cannot", "network/routed")
    assert error.reason == (
        "host hv1 cannot do networks of IP: Open vSwitch carries Ethernet in tunnels, nothing else; "
        "network/routed needs that of port/ip1"
    )
    for name in ("lx1", "fx1"):
        assert evaluate(fabric(), Bind(port="ip1", host=name)).created


CONTEXT = {"context.tier": (2, 0xFF)}
ACTS: list[RuleAction] = [
    Stamp(FieldName("context", "tier"), 1),
    SetDscp(1),
    SetQueue(1),
    Mirror("on-hv1"),
]

ASKED = [
    (put("p", group_policy("blue", "web", stateful=True)), Need.CONNECTIONS, "/stateful"),
    (put("p", group_policy("blue", "web", allow=False, log=True)), Need.REFUSAL_LOG, "/log"),
    (put("p", policy("blue", direction=EGRESS)), Need.SENDER_POLICIES, "/direction"),
    (put("p", policy("blue", packet=PacketMatch(dscp=1))), Need.HEADERS, "/match"),
    (put("p", policy("blue", packet=PacketMatch(ethertype=0x0806))), Need.HEADERS, "/match"),
    (put("p", policy("blue", actions=(ACTS[0],))), Need.ACTIONS, "/actions/0"),
    (put("p", policy("blue", actions=(ACTS[1],))), Need.ACTIONS, "/actions/0"),
    (put("p", policy("blue", actions=(ACTS[2],))), Need.QUEUE, "/actions/0"),
    (put("p", policy("blue", actions=(ACTS[3],))), Need.MIRROR, "/actions/0"),
    (
        put("p", policy("blue", to_port="on-hv1", actions=(Mirror("on-lx1"),))),
        Need.DIRECT,
        "/actions/0",
    ),
    (
        put("p", policy("blue", direction=EGRESS, from_port="on-hv1", actions=(Steer(("on-lx1",)),))),
        Need.DIRECT,
        "/actions/0",
    ),
    (
        put("blue", network(100, "context", "identity", inner_vlan=InnerVlan.STRIP)),
        Need.VLAN_STRIP,
        "/inner_vlan",
    ),
]


@pytest.mark.parametrize(("command", "need", "pointer"), ASKED)
def test_what_linux_hosts_are_not_asked(command, need: Need, pointer: str) -> None:
    intent = without_port("on-fx1")
    error = refused(intent, command)
    assert (type(error), error.code, error.pointer) == (Conflict, "host-cannot", pointer)
    assert error.holder == "host/lx1"
    assert error.reason.startswith(
        f"host lx1 cannot do {need}: {lacked_by(LINUX, TunnelStyle.METADATA)[need]};"
    )
    assert "port/on-lx1 is there" in error.reason
    # With the port elsewhere it is stored, and then the port does not come back.
    moved = after(intent, Bind(port="on-lx1", host="hv1"), command)
    back = refused(moved, Bind(port="on-lx1", host="lx1"))
    assert back.code == "host-cannot"
    assert f"cannot do {need}" in back.reason
    assert back.holder == f"{command.kind}/{command.name}"


FIXED_ASKED = [
    (put("p", group_policy("blue", "web")), Need.GROUP_POLICIES, "/to/group"),
    (put("p", group_policy("blue", "db", from_group="web")), Need.SENDER_GROUP, "/from/group"),
    (put("p", policy("blue", to_port="on-fx1")), Need.VERDICTS, "/action"),
    (put("p", policy("blue", CONTEXT, to_port="on-hv1")), Need.SENDER_OPTIONS, "/match"),
    (put("p", policy("blue", from_group="db", to_port="on-hv1")), Need.SENDER_GROUP, "/from/group"),
    (put("blue", network(100, "context", "identity", "must")), Need.CRITICAL, "/options/2"),
]


@pytest.mark.parametrize(("command", "need", "pointer"), FIXED_ASKED)
def test_what_fixed_tunnels_are_not_asked_and_others_are(command, need: Need, pointer: str) -> None:
    error = refused(fabric(), command)
    assert (error.code, error.pointer, error.holder) == ("host-cannot", pointer, "host/fx1")
    assert f"cannot do {need}" in error.reason
    assert evaluate(after(fabric(), Bind(port="on-fx1", host="lx1")), command).changes


@pytest.mark.parametrize(
    "command",
    [
        put("p", group_policy("blue", "db", stateful=True, from_group="db")),
        put("p", group_policy("blue", "db", log=True, allow=False)),
        put("p", policy("blue", to_port="on-hv1", actions=(Stamp(FieldName("context", "tier"), 1),))),
        put("p", policy("blue", direction=EGRESS, from_port="on-hv1")),
    ],
)
def test_what_is_not_carried_out_there_is_no_matter(command: Command) -> None:
    assert evaluate(fabric(), command).changes


def test_a_linux_host_is_no_target_of_a_load_balancer() -> None:
    options = [put(f"aws{kind}", _aws(kind, length)) for kind, length in ((1, 8), (2, 8), (3, 4))]
    intent = after(fabric(), *options)
    target = TargetSpec(gateways=(host("192.0.2.99").endpoints[0],), hosts=("hv1", "lx1"))
    error = refused(intent, put("gwlb", network(300, "aws1", "aws2", "aws3", target=target)))
    assert (error.code, error.pointer, error.holder) == ("host-cannot", "/target/hosts/1", "host/lx1")


def _aws(option_type: int, length: int):
    return schema(option_type, option_class=0x0108, length=length, fields=(), profile="aws-gwlb")


def test_answers_to_a_group_that_becomes_protected() -> None:
    """What the group may ask for is remembered where it asks, once something keeps others out of it."""
    asks = put("asks", group_policy("blue", "db", from_group="web", stateful=True))
    intent = after(without_port("on-fx1"), asks)
    error = refused(intent, put("protects", group_policy("blue", "web")))
    assert (error.code, error.holder) == ("host-cannot", "host/lx1")
    assert "policy/asks needs it then" in error.reason


def test_a_group_by_which_a_port_needs_more() -> None:
    intent = after(fabric(), put("p", group_policy("blue", "db", stateful=True)))
    joined = put("on-lx1", port("blue", 2, "10.0.0.2", group="db"))
    error = refused(intent, joined)
    assert (error.code, error.pointer, error.holder) == ("host-cannot", "/group", "policy/p")
    assert evaluate(intent, put("on-lx1", port("blue", 2, "10.0.0.7", group="web"))).changes


def test_tunnels_that_could_not_do_what_ports_need() -> None:
    intent = after(without_port("on-fx1"), put("p", group_policy("blue", "web")))
    error = refused(intent, put("lx1", linux("192.0.2.2", tunnels=FIXED)))
    assert (error.code, error.pointer, error.holder) == ("host-cannot", "/tunnels", "policy/p")
    assert evaluate(intent, put("fx1", linux("192.0.2.3"))).changes


def test_a_kernel_without_a_module() -> None:
    lacking = CapabilitySpec(critical=True, lacks=("act_tunnel_key", "vrf"))
    intent = after(fabric(), Record(name="lx1", spec=lacking), Record(name="fx1", spec=lacking))
    error = refused(intent, Bind(port="loose", host="lx1"))
    assert "cannot do networks of Ethernet: its kernel has no act_tunnel_key" in error.reason
    assert evaluate(intent, Bind(port="loose", host="fx1")).changes
    for name in ("lx1", "fx1"):
        assert "its kernel has no vrf" in refused(intent, Bind(port="ip1", host=name)).reason


def test_critical_options_wait_for_no_host_with_fixed_tunnels_without_ports() -> None:
    critical = put("blue", network(100, "context", "identity", "must"))
    intent = without_port("on-fx1")
    assert evaluate(intent, critical).changes
    stored = after(intent, critical)
    assert "cannot do critical options" in refused(stored, Bind(port="loose", host="fx1")).reason
    # Neither are they forgotten there while packets that carry one may still come.
    leaving = after(stored, rolled_out("blue", "must"), put("blue", network(100, "context", "identity")))
    assert "cannot do critical options" in refused(leaving, Bind(port="loose", host="fx1")).reason
    gone = after(leaving, rolled_out("blue", "must"))
    assert evaluate(gone, Bind(port="loose", host="fx1")).created


def test_the_tlv_map_is_no_matter_of_linux_hosts() -> None:
    small = CapabilitySpec(critical=True, max_option_bytes=8, max_options=1)
    assert evaluate(after(fabric(), Record(name="lx1", spec=small)), put("new", schema(9, length=8))).changes
    with pytest.raises(Conflict, match="has room for 8 bytes"):
        evaluate(after(fabric(), Record(name="hv1", spec=small)), put("new", schema(9, length=8)))


def _bound_all_the_same(intent: Intent, name: str, host_name: str) -> Intent:
    held, key = intent.bindings.get(name), intent.ports[name].key
    spec = BindingSpec(host=host_name)
    new: Object = Object(kind=Kind.BINDING, name=name, key=key, spec=spec, revision=intent.revision + 1)
    change = Change(kind=Kind.BINDING, name=name, old=held, new=new)
    return intent.with_changes((change,), intent.revision + 1)


def test_what_is_stored_all_the_same_stays_and_is_in_nobodys_way() -> None:
    told = put("p", policy("blue", to_port="loose", actions=(SetDscp(1),)))
    intent = _bound_all_the_same(after(fabric(), told), "loose", "lx1")
    assert evaluate(intent, told).changes == ()
    assert evaluate(intent, Bind(port="loose", host="lx1")).changes == ()
    assert evaluate(intent, put("loose", port("blue", 4, "10.0.0.5"))).changes
    same = replace(intent.option_policies["p"].spec, priority=7)
    assert evaluate(intent, put("p", same)).changes
    assert evaluate(intent, put("lx1", linux("192.0.2.2", underlay_mtu=1400))).changes
    more = replace(same, actions=(SetDscp(1), SetQueue(1)))
    assert refused(intent, put("p", more)).pointer == "/actions/1"


POLICIES = st.builds(
    group_policy,
    st.just("blue"),
    st.sampled_from(["web", "db"]),
    from_group=st.sampled_from([None, "web", "db"]),
    priority=st.integers(1, 4),
    stateful=st.booleans(),
    log=st.booleans(),
)
OPTION_POLICIES = st.builds(
    policy,
    st.just("blue"),
    st.sampled_from([{}, CONTEXT]),
    direction=st.sampled_from(Direction),
    priority=st.integers(1, 4),
    from_port=st.sampled_from([None, "on-hv1", "on-lx1"]),
    to_port=st.sampled_from([None, "on-hv1", "on-fx1"]),
    actions=st.sampled_from([(), *((act,) for act in ACTS)]),
    action=st.sampled_from([PolicyAction.ALLOW, PolicyAction.DROP]),
)
PORTS = [
    put(f"on-{name}", port("blue", mac, f"10.0.0.{mac}", group=of))
    for mac, name in ((1, "hv1"), (2, "lx1"), (3, "fx1"))
    for of in (None, "web", "db")
]
NETWORKS = [put("blue", network(100, "context", "identity", *more)) for more in ((), ("must",))]
COMMANDS = st.one_of(
    st.builds(put, st.sampled_from("abc"), POLICIES),
    st.builds(put, st.sampled_from("xyz"), OPTION_POLICIES),
    st.builds(
        Bind,
        port=st.sampled_from(["on-hv1", "on-lx1", "on-fx1", "loose"]),
        host=st.sampled_from(["hv1", "lx1", "fx1"]),
    ),
    st.sampled_from(PORTS),
    st.sampled_from([put("fx1", linux("192.0.2.3", tunnels=style)) for style in TunnelStyle]),
    st.sampled_from(NETWORKS),
)


@given(st.lists(COMMANDS, max_size=16))
def test_whatever_is_admitted_no_port_needs_what_its_host_lacks(commands: list[Command]) -> None:
    intent = fabric()
    for command in commands:
        with suppress(IntentError):
            intent = after(intent, command)
    for name, binding in intent.bindings.items():
        where = intent.hosts[binding.spec.host]
        needs = {demand.need for demand in demands_of(intent, intent.ports[name])}
        assert not needs & lacks(intent, where).keys()
        assert refusal(intent, where.name, intent.ports[name]) is None
