# SPDX-License-Identifier: Apache-2.0
import asyncio
import os
import ssl
import subprocess
import threading

import pytest
from os_ken.controller.handler import DEAD_DISPATCHER, HANDSHAKE_DISPATCHER

from ovs_geneve.errors import ConnectionLost, OpenFlowError
from ovs_geneve.openflow.actions import Controller as SendUp
from ovs_geneve.openflow.actions import Group, Meter, Output, SetField
from ovs_geneve.openflow.channel import Timing
from ovs_geneve.openflow.errors_table import NICIRA_ERRORS, STANDARD_ERRORS
from ovs_geneve.openflow.events import Applied, Bundle, MapTlv, Refused, SetMeters, UnmapTlv
from ovs_geneve.openflow.fields import ETH_DST, IN_PORT, TUN_ID, tun_metadata
from ovs_geneve.openflow.flow import Bucket, Flow, GroupEntry, GroupKind, Match
from ovs_geneve.openflow.messages import MessageType, encode_message
from ovs_geneve.openflow.meters import MeterEntry, MeterUnit, contents
from ovs_geneve.openflow.osken_transport import LoopDatapath
from ovs_geneve.openflow.stats import Count, canonical_buckets
from ovs_geneve.openflow.template import GroupCommand, encode_flow_add, encode_flow_delete, encode_group
from ovs_geneve.openflow.tlv_table import TlvMap
from tests.functional.openflow.controller import Controller
from tests.functional.openflow.test_pipeline_facts import actions_of

MAP = TlvMap(0x104, 0x10, 4, 0)
CONTEXT = tun_metadata(0, 4)
OURS, MASK = 0xA0 << 56, 0xFF << 56


def flow(number: int, *, cookie: int = OURS) -> Flow:
    return Flow(
        table=20,
        priority=100,
        match=Match.of((TUN_ID, 100), (ETH_DST, 0x02_00_00_00_00_00 + number)),
        actions=(SetField(CONTEXT, number % 256), Output(10)),
        cookie=cookie + number,
    )


def adds(flows) -> list[bytes]:
    return [encode_flow_add(each) for each in flows]


@pytest.fixture
async def controller(tmp_path):
    async with Controller(tmp_path) as running:
        yield running


@pytest.fixture
async def datapath(controller, switch) -> LoopDatapath:
    controller.server.dial_unix(switch.vswitchd.folder / f"{switch.name}.mgmt")
    return await controller.ready()


async def test_a_bridge_is_known_by_its_dpid_and_ports(switch, datapath):
    number = switch.vswitchd.vsctl("get", "bridge", switch.name, "datapath_id").strip().strip('"')
    assert datapath.id == int(number, 16)
    assert {1, 2, 10} <= set(datapath.ports)


async def test_observe_apply_observe(switch, datapath):
    group = GroupEntry(
        group_id=7, kind=GroupKind.ALL, buckets=(Bucket(actions=(Output(1),)), Bucket(actions=(Output(2),)))
    )
    before = await datapath.switch.observe()
    assert (before.tlv_maps, before.max_option_space, before.max_fields) == ((), 256, 64)
    assert (before.groups, before.flows) == ({}, {})

    flows = [flow(1), flow(2)]
    to_group = Flow(table=20, priority=1, match=Match.of((CONTEXT, 5)), actions=(Group(7),), cookie=OURS)
    steps = [MapTlv((MAP,)), Bundle([encode_group(GroupCommand.ADD, group), *adds([*flows, to_group])])]
    assert await datapath.switch.apply(steps) == Applied()

    after = await datapath.switch.observe(cookie=OURS, cookie_mask=MASK)
    assert after.tlv_maps == (MAP,)
    assert after.groups == {7: (GroupKind.ALL, canonical_buckets(group))}
    assert after.flows == {each.key: each.cookie for each in [*flows, to_group]}
    assert "tun_metadata0=0x5 actions=group:7" in switch.ofctl("dump-flows")

    gone = [encode_flow_delete(each.key) for each in [*flows, to_group]]
    assert await datapath.switch.apply([Bundle(gone)]) == Applied()
    # vswitchd lets go of a deleted flow's fields when its threads have all turned round once (RCU).
    for _ in range(500):
        if await datapath.switch.apply([UnmapTlv((MAP,))]) == Applied():
            break
        await asyncio.sleep(0.01)
    assert (await datapath.switch.observe()).tlv_maps == ()


async def test_only_flows_of_our_owner_are_observed(switch, datapath):
    switch.ofctl("add-flow", "table=20,cookie=0x42,priority=9,actions=drop")
    mine = Flow(table=20, priority=1, match=Match.of(), actions=(), cookie=OURS)
    await datapath.switch.apply([Bundle(adds([mine]))])
    observed = await datapath.switch.observe(cookie=OURS, cookie_mask=MASK)
    assert observed.flows == {mine.key: OURS}
    assert len((await datapath.switch.observe()).flows) == 2


async def test_an_unmapped_option_is_refused_and_nothing_of_its_bundle_stays(switch, datapath):
    plain = Flow(table=3, priority=1, match=Match.of(), actions=(), cookie=OURS)
    refused = await datapath.switch.apply([Bundle(adds([plain, flow(1), plain]))])
    assert isinstance(refused, Refused)
    (refusal,) = refused.refusals
    assert (refusal.name, refusal.index) == ("NXFMFC_INVALID_TLV_FIELD", 1)
    assert refusal.message == encode_flow_add(flow(1))
    assert (await datapath.switch.observe()).flows == {}
    # The session is as good as new.
    assert await datapath.switch.apply([Bundle(adds([plain]))]) == Applied()


async def test_what_is_refused_of_a_bundle_committed_at_once_is_left_out(switch, datapath):
    plain = [Flow(table=3, priority=n, match=Match.of(), actions=(), cookie=OURS + n) for n in (1, 2)]
    unmapped = [flow(1), flow(2)]
    bundle = Bundle(adds([plain[0], unmapped[0], plain[1], unmapped[1]]), at_once=True)
    refused = await datapath.switch.apply([bundle])
    assert isinstance(refused, Refused)
    assert [refusal.index for refusal in refused.refusals] == [1, 3]
    assert [refusal.message for refusal in refused.refusals] == adds(unmapped)
    assert (await datapath.switch.observe()).flows == {each.key: each.cookie for each in plain}


async def test_what_fails_at_the_commit_takes_all_with_it_and_is_named(switch, datapath):
    plain = Flow(table=3, priority=1, match=Match.of(), actions=(), cookie=OURS)
    to_nowhere = Flow(table=3, priority=2, match=Match.of(), actions=(Group(77),), cookie=OURS)
    for at_once in (False, True):
        refused = await datapath.switch.apply([Bundle(adds([plain, to_nowhere]), at_once=at_once)])
        assert isinstance(refused, Refused)
        assert [(refusal.name, refusal.index) for refusal in refused.refusals] == [
            ("OFPBAC_BAD_OUT_GROUP", 1)
        ]
        assert (await datapath.switch.observe()).flows == {}


async def test_a_map_in_use_is_not_taken_out(datapath):
    await datapath.switch.apply([MapTlv((MAP,)), Bundle(adds([flow(1)]))])
    refused = await datapath.switch.apply([UnmapTlv((MAP,)), Bundle(adds([flow(2)]))])
    assert isinstance(refused, Refused)
    assert [refusal.name for refusal in refused.refusals] == ["NXTTMFC_INVALID_TLV_DEL"]
    refused = await datapath.switch.apply([MapTlv((TlvMap(0x104, 0x11, 4, 0),))])
    assert isinstance(refused, Refused)
    assert [refusal.name for refusal in refused.refusals] == ["NXTTMFC_ALREADY_MAPPED"]
    assert list((await datapath.switch.observe()).flows) == [flow(1).key]


async def test_what_fails_at_the_commit_is_named(switch, datapath):
    switch.vswitchd.vsctl(
        *("--", "--id=@t", "create", "Flow_Table", "flow_limit=2", "overflow_policy=refuse"),
        *("--", "set", "bridge", switch.name, "flow_tables:30=@t"),
    )
    flows = [
        Flow(table=30, priority=number + 1, match=Match.of(), actions=(), cookie=OURS) for number in range(4)
    ]
    refused = await datapath.switch.apply([Bundle(adds(flows))])
    assert isinstance(refused, Refused)
    assert [(refusal.name, refusal.index) for refusal in refused.refusals] == [("OFPFMFC_TABLE_FULL", 2)]
    assert (await datapath.switch.observe()).flows == {}


async def test_a_bundle_that_vswitchd_gave_up(switch, datapath):
    switch.vswitchd.vsctl("set", "Open_vSwitch", ".", "other_config:bundle-idle-timeout=1")
    pulling, datapath.data_to_send = datapath.data_to_send, lambda: b""
    applying = asyncio.create_task(datapath.switch.apply([Bundle(adds([flow(1)]))]))
    await asyncio.sleep(0)
    opened = pulling()
    datapath._channel.write(opened[:16])  # the opening alone; then the line is slow
    await asyncio.sleep(2.2)
    datapath._channel.write(opened[16:])
    datapath.data_to_send = pulling
    result = await applying
    switch.vswitchd.vsctl("remove", "Open_vSwitch", ".", "other_config", "bundle-idle-timeout")
    assert isinstance(result, Refused)
    assert "OFPBFC_TIMEOUT" in [refusal.name for refusal in result.refusals]
    assert (await datapath.switch.observe()).flows == {}


async def test_rare_requests(datapath):
    (reply,) = await datapath.switch.request(
        encode_message(MessageType.MULTIPART_REQUEST, bytes.fromhex("0000000000000000"))
    )
    assert b"Open vSwitch" in reply
    with pytest.raises(OpenFlowError) as caught:
        await datapath.switch.request(encode_message(MessageType.FLOW_MOD, bytes(48)))
    assert caught.value.name.startswith("OFP")
    assert (
        await datapath.switch.request(
            encode_flow_add(Flow(table=1, priority=1, match=Match.of(), actions=()))
        )
        == ()
    )


async def test_fifty_thousand_flows_in_bundles_beside_other_work(switch, datapath):
    await datapath.switch.apply([MapTlv((MAP,))])
    flows = [flow(number) for number in range(50_000)]
    applied, other = await asyncio.gather(
        datapath.switch.apply([Bundle(adds(flows))]),
        datapath.switch.request(
            encode_message(MessageType.MULTIPART_REQUEST, bytes.fromhex("0000000000000000"))
        ),
    )
    assert (applied, len(other)) == (Applied(), 1)
    observed = await datapath.switch.observe(cookie=OURS, cookie_mask=MASK)
    assert observed.flows == {each.key: each.cookie for each in flows}


async def test_a_restart_of_the_bridge_ends_what_is_waited_for(switch, controller, datapath):
    observing = asyncio.create_task(datapath.switch.observe())
    datapath._channel.abort("cut by the test")
    with pytest.raises(ConnectionLost):
        await observing
    again = await controller.ready()  # dialled again
    assert (await again.switch.observe()).flows == {}


async def test_a_bridge_without_openflow_1_5(switch, controller):
    switch.vswitchd.vsctl("set", "bridge", switch.name, "protocols=OpenFlow13")
    switch.vswitchd.vsctl("set-controller", switch.name, f"tcp:127.0.0.1:{controller.port}")
    _, versions = await controller.end()
    assert versions == {4}
    switch.vswitchd.vsctl("del-controller", switch.name)


async def test_the_unix_socket_that_ovs_allows_for_a_controller(switch, controller):
    path = switch.vswitchd.folder / f"{switch.name}.controller"
    await controller.server.listen_unix(path)
    switch.vswitchd.vsctl("set-controller", switch.name, f"unix:{path}")
    assert await (await controller.ready()).switch.observe()
    switch.vswitchd.vsctl("del-controller", switch.name)
    await controller.server.close()
    assert not path.exists()


async def test_controllers_set_and_deleted_leave_nothing(switch, tmp_path):
    async with Controller(tmp_path) as controller:
        before = 0
        for number in range(40):
            # Deleted at once, the connection ends wherever its handshake has got to.
            await asyncio.to_thread(
                switch.vswitchd.vsctl, "set-controller", switch.name, f"tcp:127.0.0.1:{controller.port}"
            )
            if number % 2:
                await controller.ready()
            await asyncio.to_thread(switch.vswitchd.vsctl, "del-controller", switch.name)
            await controller.until(lambda: not controller.server.connections)
            if number == 1:
                before = len(os.listdir("/proc/self/fd"))
        states = controller.app.states
        await controller.until(lambda: states[HANDSHAKE_DISPATCHER] == states[DEAD_DISPATCHER] >= 20)
        assert controller.app.died_twice == 0
        assert len(os.listdir("/proc/self/fd")) == before
    await asyncio.get_running_loop().shutdown_default_executor()
    assert threading.active_count() == 1


async def test_over_tls(switch, tmp_path):
    names = (
        "-subj",
        "/CN=ovs-geneve",
        "-days",
        "2",
        "-nodes",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
    )
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", *names, "-keyout", key, "-out", certificate]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate))
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    async with Controller(tmp_path, Timing()) as controller:
        port = await controller.server.listen_tcp("127.0.0.1", 0, ssl=context)
        switch.vswitchd.vsctl("set-ssl", str(key), str(certificate), str(certificate))
        switch.vswitchd.vsctl("set-controller", switch.name, f"ssl:127.0.0.1:{port}")
        datapath = await controller.ready()
        assert await datapath.switch.apply([MapTlv((MAP,)), Bundle(adds([flow(1)]))]) == Applied()
        switch.vswitchd.vsctl("del-controller", switch.name, "--", "del-ssl")
        await controller.end()


def test_every_error_has_the_name_that_ofctl_prints(switch, tmp_path):
    errors = [
        encode_message(MessageType.ERROR, kind.to_bytes(2) + code.to_bytes(2) + bytes(8))
        for kind, code in STANDARD_ERRORS
    ] + [
        encode_message(
            MessageType.ERROR, b"\xff\xff" + code.to_bytes(2) + bytes.fromhex("00002320") + bytes(8)
        )
        for code in NICIRA_ERRORS
    ]
    (tmp_path / "stream").write_bytes(b"".join(errors))
    printed = switch.vswitchd.ofctl("ofp-parse", str(tmp_path / "stream"))
    named = [line.split(": ", 1)[1].strip() for line in printed.splitlines() if line.startswith("OFPT_ERROR")]
    assert named == [*STANDARD_ERRORS.values(), *NICIRA_ERRORS.values()]


async def test_meters(switch, datapath):
    switch.ofctl("add-meter", "meter=5,kbps,band=type=drop,rate=10")
    one, other = (
        MeterEntry(meter_id=0x6E0, rate=1000, burst=1000),
        MeterEntry(meter_id=0x6E1, rate=20, burst=5),
    )
    kbits = MeterEntry(meter_id=0x6E2, rate=300, burst=100, unit=MeterUnit.KBITS)
    assert await datapath.switch.apply([SetMeters(add=(one, other, kbits))]) == Applied()
    seen = (await datapath.switch.observe()).meters
    assert {number: seen[number] for number in (0x6E0, 0x6E1, 0x6E2)} == contents((one, other, kbits))
    assert 5 in seen

    faster = MeterEntry(meter_id=0x6E1, rate=40, burst=40)
    assert await datapath.switch.apply([SetMeters(change=(faster,), delete=(0x6E0, 0x6E9))]) == Applied()
    seen = (await datapath.switch.observe()).meters
    assert (seen.keys(), seen[0x6E1]) == ({5, 0x6E1, 0x6E2}, faster.content)

    refused = await datapath.switch.apply([SetMeters(add=(one, other), change=(faster,))])
    assert isinstance(refused, Refused)
    assert [(refusal.name, refusal.index) for refusal in refused.refusals] == [("OFPMMFC_METER_EXISTS", 1)]


async def test_a_meter_is_looked_up_when_the_flow_is_installed_and_not_again(switch, datapath):
    meter = MeterEntry(meter_id=0x6E0, rate=1000, burst=1000)

    async def install(number, *actions):
        mine = Flow(table=0, priority=1, match=Match.of((IN_PORT, number)), actions=(*actions, Output(2)))
        return await datapath.switch.apply([Bundle(adds([mine]))])

    limit = SendUp(userdata=b"\1", meter_id=0x6E0)
    refused = await install(1, Meter(0x6E0))
    assert isinstance(refused, Refused)
    assert refused.refusals[0].name == "OFPMMFC_INVALID_METER"
    assert await install(1, limit) == Applied(), "a controller action may name a meter that is not there"
    assert await datapath.switch.apply([SetMeters(add=(meter,))]) == Applied()
    assert "meter(" not in actions_of(switch.trace("in_port=1"))
    assert await install(1, limit) == Applied()
    assert "meter(" in actions_of(switch.trace("in_port=1"))

    assert await install(2, Meter(0x6E0)) == Applied()
    assert await datapath.switch.apply([SetMeters(delete=(0x6E0,))]) == Applied()
    left = (await datapath.switch.observe()).flows
    assert len(left) == 1, "the flow with the action Meter went with it, the other one stays"


async def test_counters_of_some_flows_are_read_beside_a_bundle(switch, datapath):
    def counting(table, match, cookie, goto):
        return Flow(table=table, priority=1, match=Match.of(*match), cookie=cookie, goto=goto)

    first, second, other = OURS | 0x100 | 1, OURS | 0x100 | 2, OURS | 0x200
    flows = [
        counting(0, ((IN_PORT, 1),), first, 1),
        counting(1, (), first, 2),
        counting(2, (), second, 3),
        counting(3, (), other, None),
    ]
    assert await datapath.switch.apply([Bundle(adds(flows))]) == Applied()
    for _ in range(3):
        switch.vswitchd.appctl("netdev-dummy/receive", f"{switch.name}p1", "00" * 60)
    mask = 0xFF << 56 | 0xF00
    many = [Flow(table=9, priority=n, match=Match.of(), cookie=1) for n in range(2000)]
    applying = asyncio.create_task(datapath.switch.apply([Bundle(adds(many))]))
    for _ in range(500):
        counted = await datapath.switch.counters(OURS | 0x100, mask)
        if counted[second].packets == 3:
            break
        await asyncio.sleep(0.01)
    assert counted == {first: Count(6, 6 * 60), second: Count(3, 3 * 60)}
    assert await applying == Applied()
    assert await datapath.switch.counters(OURS | 0x300, mask) == {}
