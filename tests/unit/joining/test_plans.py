# SPDX-License-Identifier: Apache-2.0
"""From what is seen of a machine to steps, or to what stands against them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.errors import SetupError
from controller.intent.intent import Intent
from controller.intent.model import CapabilitySpec, HostKind, Kind, Object, ObjectKey, TunnelStyle
from controller.intent.needs import Need, lacks
from controller.joining import layout
from controller.joining.facts import (
    ControllerAddress,
    Joined,
    MachineFacts,
    Manager,
    OvsFacts,
    Wish,
)
from controller.joining.join import plan_join
from controller.joining.leave import plan_leave
from controller.joining.steps import (
    Await,
    AwaitAgent,
    Awaited,
    Dismiss,
    Enrol,
    Plan,
    Remove,
    Run,
    Write,
    render,
)
from ovs_geneve.kernel import modules
from tests.unit.linux.builders import linux

TARGET = "tcp:192.0.2.1:6640"
REST = "http://192.0.2.1:6680"
UNIT = f"[Service]\nExecStart={layout.PACKAGED_COMMAND} agent\n"
PACKAGED = f"/lib/systemd/system/{layout.AGENT_SERVICE}"

OVS = OvsFacts(
    version="3.4.1", system_id="0b2d", managers=(Manager(target="ptcp:6640:127.0.0.1", ours=False),)
)
MACHINE = MachineFacts(ovs=OVS, source="192.0.2.11", kernel="6.1.0-56-amd64", unit=PACKAGED)
BARE = replace(MACHINE, installed=False, ovs=None)


def wish(controller: str = REST, **said: object) -> Wish:
    wanted: dict = {
        "host": "hv1",
        "kind": HostKind.OVS,
        "controller": ControllerAddress.parse(controller),
        **said,
    }
    return Wish(**wanted)


LINUX = wish(kind=HostKind.LINUX)
TRUSTED = "/etc/ovs-geneve/ca.pem"
HTTPS = wish(REST.replace("http", "https"), kind=HostKind.LINUX, ca=TRUSTED)


def join(wanted: Wish, facts: MachineFacts) -> Plan:
    return plan_join(wanted, facts, UNIT)


def commands(plan: Plan) -> list[str]:
    return [" ".join(step.command) for step in plan.steps if isinstance(step, Run)]


def writes(plan: Plan) -> dict[str, str]:
    return {step.path: step.text for step in plan.steps if isinstance(step, Write)}


def enrolled(plan: Plan) -> list[dict]:
    return [dict(step.document) for step in plan.steps if isinstance(step, Enrol)]


def test_a_host_with_open_vswitch_calls_in_and_is_enrolled() -> None:
    plan = join(wish(), MACHINE)
    assert [type(step) for step in plan.steps] == [Run, Await, Write, Enrol]
    assert commands(plan) == [
        f'ovs-vsctl --timeout=15 -- --id=@manager create Manager target="{TARGET}"'
        " external_ids:ovs-geneve-owner=ovs-geneve -- add Open_vSwitch . manager_options @manager"
    ]
    document = {"kind": "ovs", "endpoints": [{"address": "192.0.2.11"}], "system_id": "0b2d"}
    assert enrolled(plan) == [document]
    assert plan.notes == ()


def test_without_a_rest_address_somebody_else_enrols_it() -> None:
    plan = join(wish("tcp:192.0.2.1"), MACHINE)
    assert enrolled(plan) == []
    assert "PUT /v1/hosts/hv1" in plan.notes[0]
    assert '"system_id": "0b2d"' in plan.notes[0]


def test_what_is_joined_has_no_step() -> None:
    first = join(wish(), MACHINE)
    facts = replace(
        MACHINE,
        ovs=replace(OVS, managers=(Manager(target=TARGET, ours=True, connected=True),)),
        files=writes(first),
        declared={**enrolled(first)[0], "bridge": "br-int", "labels": {}},
        joined=layout.parse_record(writes(first)[layout.RECORD]),
    )
    assert join(wish(), facts).steps == ()


def test_a_manager_that_somebody_set_serves_and_stays_theirs() -> None:
    facts = replace(MACHINE, ovs=replace(OVS, managers=(Manager(target=TARGET, ours=False, connected=True),)))
    assert commands(join(wish(), facts)) == []
    joined = layout.parse_record(writes(join(wish(), facts))[layout.RECORD])
    assert commands(plan_leave(replace(facts, joined=joined))) == []


def test_what_else_is_declared_of_the_host_stays() -> None:
    held = {"kind": "ovs", "endpoints": [{"address": "192.0.2.99"}], "system_id": None, "underlay_mtu": 9000}
    assert enrolled(join(wish(), replace(MACHINE, declared=held))) == [{**held, "system_id": "0b2d"}]
    moved = join(wish(endpoint="192.0.2.12"), replace(MACHINE, declared=held))
    assert enrolled(moved)[0]["endpoints"] == [{"address": "192.0.2.12"}]


def test_a_host_that_the_controller_dials_needs_no_manager() -> None:
    held = {"kind": "ovs", "endpoints": [{"address": "192.0.2.11"}], "ovsdb": "tcp:192.0.2.11:6640"}
    plan = join(wish(), replace(MACHINE, declared=held))
    assert [type(step) for step in plan.steps] == [Write]


def test_a_missing_system_id_is_given_and_taken_back() -> None:
    facts = replace(MACHINE, ovs=replace(OVS, system_id=""))
    plan = join(wish(), facts)
    assert commands(plan)[0].endswith("set Open_vSwitch . external_ids:system-id=hv1")
    joined = layout.parse_record(writes(plan)[layout.RECORD])
    after = replace(facts, joined=joined, ovs=replace(OVS, system_id="hv1"))
    assert commands(plan_leave(after))[-1].endswith("remove Open_vSwitch . external_ids system-id")


def test_a_former_address_of_ours_goes() -> None:
    managers = (*OVS.managers, Manager(target="tcp:192.0.2.7:6640", ours=True))
    first = commands(join(wish("tcp:192.0.2.1"), replace(MACHINE, ovs=replace(OVS, managers=managers))))[0]
    assert "get Manager tcp:192.0.2.7:6640 -- remove Open_vSwitch . manager_options @row" in first


@pytest.mark.parametrize(
    ("version", "waits"), [("3.1.0", True), ("3.0.9", False), ("3.1.1", False), ("3.10.0", False)]
)
def test_versions_that_must_not_start_at_once_wait_at_boot(version: str, waits: bool) -> None:
    plan = join(wish(), replace(MACHINE, ovs=replace(OVS, version=version)))
    assert (layout.BOOT_WAIT in writes(plan)) is waits
    assert ("systemctl daemon-reload" in commands(plan)) is waits


def test_a_host_without_open_vswitch_gets_the_agent() -> None:
    plan = join(LINUX, BARE)
    assert [type(step) for step in plan.steps] == [Write, Enrol, Run, AwaitAgent]
    assert enrolled(plan) == [
        {"kind": "linux", "endpoints": [{"address": "192.0.2.11"}], "tunnels": "metadata"}
    ]
    assert commands(plan) == [f"systemctl enable --now {layout.AGENT_SERVICE}"]
    assert f"OVS_GENEVE_CONTROLLER={REST}\n" in writes(plan)[layout.RECORD]


def test_without_a_package_the_join_brings_the_unit() -> None:
    plan = join(LINUX, replace(BARE, unit=None, command="/home/me/bin/ovs-geneve"))
    assert "ExecStart=/home/me/bin/ovs-geneve agent" in writes(plan)[layout.UNIT]
    assert commands(plan)[0] == "systemctl daemon-reload"


def test_without_systemd_it_says_what_must_run() -> None:
    plan = join(LINUX, replace(BARE, systemd=False))
    assert commands(plan) == []
    assert "ovs-geneve agent --host hv1 --controller http://192.0.2.1:6680" in plan.notes[0]


def test_a_controller_that_moved_restarts_the_agent() -> None:
    files = writes(join(wish("http://192.0.2.2", kind=HostKind.LINUX), BARE))
    plan = join(LINUX, replace(BARE, unit_enabled=True, files=files, declared=enrolled(join(LINUX, BARE))[0]))
    assert [type(step) for step in plan.steps] == [Write, Run, AwaitAgent]
    assert commands(plan) == [f"systemctl restart {layout.AGENT_SERVICE}"]


def test_a_repeated_join_with_a_new_unit_restarts_the_agent() -> None:
    first = replace(BARE, unit=None)
    files = {**writes(join(LINUX, first)), layout.UNIT: "an older one"}
    again = replace(BARE, unit=layout.UNIT, unit_enabled=True, files=files)
    assert commands(join(LINUX, again)) == [
        "systemctl daemon-reload",
        f"systemctl restart {layout.AGENT_SERVICE}",
    ]


@pytest.mark.parametrize(
    ("wanted", "facts", "reason", "advice"),
    [
        (wish(), replace(MACHINE, root=False), "changes the machine", "root"),
        (wish(host="HV1"), MACHINE, "no name", "--name"),
        (wish(), BARE, "not installed", "apt-get install openvswitch-switch"),
        (wish(), replace(MACHINE, ovs=None), "OVSDB", "systemctl enable --now openvswitch-switch"),
        (wish(), replace(MACHINE, ovs=None, uptime=4.0), "OVSDB", "in 7 s, not earlier"),
        (wish(), replace(MACHINE, ovs=replace(OVS, runs=False)), "ovs-vswitchd does not run", "systemctl"),
        (wish(), replace(MACHINE, ovs=replace(OVS, version="2.9.8")), "too old", "2.13"),
        (wish("ssl:192.0.2.1"), MACHINE, "no key and certificate", "ovs-vsctl set-ssl"),
        (wish(), replace(MACHINE, source="127.0.0.1"), "from 127.0.0.1", "--endpoint"),
        (wish(), replace(MACHINE, source=""), "by no route", "--endpoint"),
        (wish(endpoint="::1"), MACHINE, "--endpoint ::1", "--endpoint"),
        (
            wish(),
            replace(MACHINE, port_holder="geneve device cilium_geneve"),
            "cilium_geneve",
            "another port",
        ),
        (wish(), replace(MACHINE, declared={"kind": "linux"}), "of kind linux", "--kind linux"),
        (wish("tcp:192.0.2.1", kind=HostKind.LINUX), BARE, "REST", "http://"),
        (LINUX, replace(BARE, missing_modules=("act_mirred",)), "lacks act_mirred", "--tunnels fixed"),
        (
            wish(kind=HostKind.LINUX, tunnels="fixed"),
            replace(BARE, missing_modules=("act_skbedit",)),
            "lacks act_skbedit",
            "linux-image-6.1.0-56-amd64",
        ),
        (
            replace(HTTPS, ca="/home/me/ca.pem"),
            replace(BARE),
            "does not see what is there",
            "/etc/ovs-geneve",
        ),
        (
            LINUX,
            replace(BARE, missing_modules=("geneve",), kernel="6.8.0-40-generic"),
            "lacks geneve",
            "linux-modules-extra-6.8.0-40-generic",
        ),
        (
            wish(),
            replace(MACHINE, joined=Joined(host="a", kind=HostKind.OVS, rest=REST, manager=TARGET)),
            "is host a already",
            "leave",
        ),
        (
            wish(),
            replace(MACHINE, joined=Joined(host="hv1", kind=HostKind.OVS, rest="http://x:1", manager=TARGET)),
            "a host of http://x:1",
            "leave",
        ),
    ],
)
def test_what_stands_against_it_is_named_and_nothing_is_done(
    wanted: Wish, facts: MachineFacts, reason: str, advice: str
) -> None:
    plan = join(wanted, facts)
    (refusal,) = plan.refusals
    assert plan.steps == ()
    assert reason in refusal.reason
    assert advice in refusal.advice


def test_fixed_tunnels_need_less_of_the_kernel() -> None:
    facts = replace(BARE, missing_modules=("cls_fw", "act_tunnel_key", "vrf"))
    assert join(wish(kind=HostKind.LINUX, tunnels="fixed"), facts).refusals == ()


@pytest.mark.parametrize("tunnels", TunnelStyle)
def test_it_is_refused_where_no_port_would_be_admitted(tunnels: TunnelStyle) -> None:
    spec = linux("192.0.2.11", tunnels=tunnels)
    host = Object(kind=Kind.HOST, name="lx1", key=ObjectKey(1), revision=1, spec=spec)
    for module in modules.ALL:
        told = CapabilitySpec(datapath="linux", lacks=(module,))
        told_of = Object(kind=Kind.CAPABILITY, name="lx1", key=ObjectKey(2), revision=1, spec=told)
        intent = Intent.of([host, told_of], 1, ObjectKey(2))
        plan = join(
            wish(kind=HostKind.LINUX, tunnels=tunnels.value), replace(BARE, missing_modules=(module,))
        )
        assert bool(plan.refusals) == (Need.ETHERNET in lacks(intent, host)), module


def test_whom_to_trust_is_for_the_agent_as_well() -> None:
    record = writes(join(HTTPS, BARE))[layout.RECORD]
    assert f"OVS_GENEVE_CA={TRUSTED}\n" in record
    assert layout.parse_record(record).ca == TRUSTED
    again = replace(BARE, joined=layout.parse_record(record), files={layout.RECORD: record})
    assert writes(join(replace(HTTPS, ca=""), again)).get(layout.RECORD, record) == record


def test_leaving_undoes_the_join_in_an_order_that_can_be_repeated() -> None:
    facts = replace(
        MACHINE,
        ovs=replace(OVS, version="3.1.0", managers=(*OVS.managers, Manager(target=TARGET, ours=True))),
    )
    joined = join(wish(), facts)
    held = replace(
        facts,
        files=writes(joined),
        joined=layout.parse_record(writes(joined)[layout.RECORD]),
        ovs=replace(OVS, managers=(*OVS.managers, Manager(target=TARGET, ours=True)), bridges=("br-int",)),
        unit_enabled=True,
    )
    plan = plan_leave(held)
    assert [type(step) for step in plan.steps] == [Run, Dismiss, Await, Run, Remove, Run, Remove]
    assert [step.what for step in plan.steps if isinstance(step, Await)] == [Awaited.RELEASE]
    assert plan.steps[-1] == Remove("the record of the join", layout.RECORD)
    assert "ptcp:6640" not in " ".join(commands(plan))


def test_leaving_without_the_controller_says_what_stays() -> None:
    joined = Joined(host="hv1", kind=HostKind.OVS, rest=REST, manager=TARGET)
    plan = plan_leave(
        replace(MACHINE, joined=joined, ovs=replace(OVS, bridges=("br-int",))), tell_controller=False
    )
    assert not any(isinstance(step, Dismiss | Await) for step in plan.steps)
    assert "DELETE /v1/hosts/hv1" in plan.notes[0]
    assert "ovs-vsctl del-br br-int" in plan.notes[1]


def test_a_linux_host_has_its_agent_clean_up() -> None:
    joined = Joined(host="lx1", kind=HostKind.LINUX, rest=REST, manager="")
    plan = plan_leave(replace(BARE, joined=joined, unit_enabled=True))
    assert commands(plan) == [
        f"systemctl disable --now {layout.AGENT_SERVICE}",
        f"{layout.PACKAGED_COMMAND} agent --host lx1 --remove",
    ]


def test_who_never_joined_has_nothing_to_leave() -> None:
    assert plan_leave(MACHINE) == Plan(notes=("this machine is no host: there is nothing to take away",))


@pytest.mark.parametrize(
    ("text", "rest", "manager"),
    [
        ("http://192.0.2.1", "http://192.0.2.1:6680", "tcp:192.0.2.1:6640"),
        ("http://[2001:db8::1]:80/", "http://[2001:db8::1]:80", "tcp:[2001:db8::1]:6640"),
        ("https://sdn.example:443", "https://sdn.example:443", "ssl:sdn.example:6640"),
        ("ssl:sdn.example:6641", None, "ssl:sdn.example:6641"),
    ],
)
def test_addresses_of_a_controller(text: str, rest: str | None, manager: str) -> None:
    assert ControllerAddress.parse(text) == ControllerAddress(rest=rest, manager=manager)


@pytest.mark.parametrize(
    "text", ["192.0.2.1", "ptcp:6640", "unix:/run/x", "http://", "http://a:b", "http://a/v1"]
)
def test_what_is_no_address_of_a_controller(text: str) -> None:
    with pytest.raises(SetupError, match="want http://"):
        ControllerAddress.parse(text)


@pytest.mark.parametrize("text", ["", "OVS_GENEVE_HOST=a\n", "OVS_GENEVE_KIND='"])
def test_a_record_that_somebody_wrote_is_refused(text: str) -> None:
    with pytest.raises(SetupError, match="join again"):
        layout.parse_record(text)


def test_steps_read_as_what_a_shell_would_be_told() -> None:
    texts = [render(step) for step in join(wish(), MACHINE).steps]
    assert texts[0].startswith("ovs-vsctl --timeout=15 -- ")
    assert texts[1] == "# wait until the controller's OVSDB answers"
    assert texts[2].startswith(f"cat >{layout.RECORD} <<'END'\n# Written by")
    assert texts[3].startswith("curl -X PUT http://192.0.2.1:6680/v1/hosts/hv1 ")
