# SPDX-License-Identifier: Apache-2.0
import asyncio
import gc
import logging
import os
import threading

import pytest
from os_ken.base.app_manager import OSKenApp
from os_ken.controller.handler import DEAD_DISPATCHER, HANDSHAKE_DISPATCHER, MAIN_DISPATCHER

from ovs_geneve.errors import ConnectionLost, NotSupported
from ovs_geneve.openflow import channel as channel_module
from ovs_geneve.openflow.channel import HIGH_WATER, PROBE_XID, Channel, Timing
from ovs_geneve.openflow.events import Applied, Bundle
from ovs_geneve.openflow.messages import (
    MessageType,
    decode_error,
    decode_header,
    encode_barrier,
    encode_hello,
    encode_message,
)
from ovs_geneve.openflow.osken_transport import LoopDatapath
from ovs_geneve.openflow.session import Session, claims
from tests.functional.openflow.controller import Controller
from tests.functional.openflow.fake_switch import FakeSwitch, features
from tests.functional.openflow.osken_apps import Threaded
from tests.unit.openflow.ovs_model import OvsModel

PACKET_IN = encode_message(
    MessageType.PACKET_IN, bytes.fromhex("ffffffff0000000000000000000000000001000400000000") + b"\0\0"
)


async def test_handshake_and_a_clean_end(tmp_path):
    async with Controller(tmp_path) as controller:
        fake, datapath = await controller.switch(dpid=0xABC)
        assert (datapath.id, datapath.state, datapath.ports) == (0xABC, MAIN_DISPATCHER, {})
        assert controller.app.threads == {threading.get_ident()}
        await fake.close()
        assert await controller.end() == ("closed by the peer", None)
        assert controller.app.states == {"handshake": 1, "config": 1, "main": 1, "dead": 1}
        assert not datapath.is_active
        assert not datapath.send(encode_barrier(1))
        with pytest.raises(ConnectionLost):
            await datapath.switch.apply([])


@pytest.mark.parametrize(
    ("hello", "versions"),
    [
        (encode_hello(versions=(1, 4)), {1, 4}),
        (bytes.fromhex("0400000800000007"), {1, 2, 3, 4}),
        (bytes.fromhex("0700001000000007") + bytes.fromhex("0001000800000090"), {4, 7}),
    ],
)
async def test_other_versions_are_told_why(tmp_path, hello, versions):
    async with Controller(tmp_path) as controller:
        fake = await controller.connect()
        fake.send(hello)
        failed = await fake.read_until(MessageType.ERROR)
        assert failed[0] == min(hello[0], 6)
        assert decode_error(failed).name == "OFPHFC_INCOMPATIBLE"
        assert b"OpenFlow 1.5" in decode_error(failed).request
        assert await fake.reader.read() == b""
        reason, offered = await controller.end()
        assert offered == versions
        assert all(str(version) in reason for version in versions)
        await fake.close()


async def test_a_newer_switch_speaks_our_version(tmp_path):
    async with Controller(tmp_path) as controller:
        fake = await controller.connect()
        fake.send(bytes.fromhex("0700000800000007"))
        assert (await fake.read_until(MessageType.FEATURES_REQUEST))[0] == 6
        await fake.close()


@pytest.mark.parametrize(
    ("garbage", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "type 69"),
        (bytes.fromhex("0600000400000000"), "4 bytes"),
        (encode_hello() + bytes.fromhex("04140008000000000"[:16]), "version 4"),
        (encode_message(0, bytes.fromhex("00010003")), "hello element"),
        (bytes(64), "0 bytes"),
    ],
)
async def test_garbage_is_cut_off(tmp_path, garbage, reason):
    async with Controller(tmp_path) as controller:
        fake = await controller.connect()
        fake.send(garbage)
        assert reason in (await controller.end())[0]
        assert controller.app.states[DEAD_DISPATCHER] == 1
        fake.cut()


async def test_a_handshake_that_stops_half_way_is_cut_off(tmp_path):
    async with Controller(tmp_path, Timing(handshake=0.2)) as controller:
        fake = await controller.connect()
        fake.send(encode_hello())
        await fake.read_until(MessageType.FEATURES_REQUEST)
        assert await controller.end() == ("no handshake within 0.2 s", None)
        await fake.close()


async def test_messages_may_come_byte_by_byte(tmp_path):
    async with Controller(tmp_path) as controller:
        fake = await controller.connect()
        for byte in encode_hello():
            fake.send(bytes((byte,)))
            await asyncio.sleep(0)
        await fake.read_until(MessageType.FEATURES_REQUEST)
        fake.send(features(5)[:4])
        await fake.writer.drain()
        fake.cut()


async def test_a_silent_switch_is_probed_then_given_up(tmp_path):
    async with Controller(tmp_path, Timing(probe=0.05, dead=0.4)) as controller:
        fake, _ = await controller.switch()
        for _ in range(3):
            probe = await fake.read_until(MessageType.ECHO_REQUEST)
            assert decode_header(probe).xid == PROBE_XID
            fake.send(encode_message(MessageType.ECHO_REPLY, xid=PROBE_XID))
        assert controller.app.states[DEAD_DISPATCHER] == 0
        await fake.read_until(MessageType.ECHO_REQUEST)
        reason, _ = await controller.end()
        assert reason.startswith("silent for 0.4")
        await fake.close()


async def test_echo_requests_of_a_switch_are_answered(tmp_path):
    async with Controller(tmp_path) as controller:
        fake, _ = await controller.switch()
        fake.send(encode_message(MessageType.ECHO_REQUEST, b"payload", xid=0x9000_0000))
        reply = await fake.read_until(MessageType.ECHO_REPLY)
        assert reply[8:] == b"payload"
        assert decode_header(reply).xid == 0x9000_0000
        await fake.close()


async def test_what_osken_cannot_decode_is_counted_and_the_connection_lives(tmp_path, caplog):
    async with Controller(tmp_path) as controller:
        fake, datapath = await controller.switch()
        fake.send(encode_message(MessageType.PACKET_IN, b"\xff"), encode_message(99, b"unknown"), PACKET_IN)
        await controller.until(lambda: controller.app.messages)
        assert datapath.undecodable == 2
        assert "cannot decode message type 99, 15 bytes" in caplog.text
        assert len(controller.app.messages) == 1
        await fake.close()


async def test_a_mistake_in_a_handler_is_logged_and_ends_nothing(tmp_path, caplog):
    async with Controller(tmp_path) as controller:
        fake, _ = await controller.switch()
        controller.app.fail = True
        fake.send(PACKET_IN, PACKET_IN)
        await controller.until(lambda: len(controller.app.messages) == 2)
        assert "a mistake in an app" in caplog.text
        await fake.close()


async def test_apps_and_session_share_a_connection(tmp_path):
    async with Controller(tmp_path) as controller:
        fake, datapath = await controller.switch()
        datapath.send_barrier()
        request = await fake.read_until(MessageType.BARRIER_REQUEST)
        assert not claims(encode_message(MessageType.BARRIER_REPLY, xid=decode_header(request).xid))
        applying = asyncio.create_task(datapath.switch.apply([Bundle([encode_message(14, b"flow")])]))
        model = OvsModel()
        fake.send(encode_message(MessageType.BARRIER_REPLY, xid=decode_header(request).xid))
        while not applying.done():
            reading = asyncio.create_task(fake.read())
            await asyncio.wait((reading, applying), return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                reading.cancel()
                break
            fake.send(*model.receive(reading.result()))
        assert await applying == Applied()
        # The app got its own barrier reply; those of the session never became objects.
        assert [message.xid for message in controller.app.messages] == [decode_header(request).xid]
        await fake.close()


async def test_a_switch_that_does_not_read_holds_nothing_up(tmp_path):
    async with Controller(tmp_path) as controller:
        fake, datapath = await controller.switch()
        other, second = await controller.switch(dpid=2)
        flows = [encode_message(14, bytes(1_000))] * 10_000
        applying = asyncio.create_task(datapath.switch.apply([Bundle(flows)]))
        await asyncio.sleep(0.1)
        transport = datapath._channel._transport
        # Ten megabytes wait in the session, not in asyncio's buffer.
        assert transport.get_write_buffer_size() < 2 * HIGH_WATER
        second.send_barrier()
        await asyncio.wait_for(other.read_until(MessageType.BARRIER_REQUEST), 1)
        model = OvsModel()
        while not applying.done():
            answers = model.receive(await fake.read())
            fake.send(*answers)
            if answers and answers[0][1] == MessageType.BUNDLE_CONTROL and answers[0][13] == 5:
                break
        assert await asyncio.wait_for(applying, 5) == Applied()
        assert len(model.installed) == 10_000
        await fake.close()
        await other.close()


async def test_an_app_that_floods_a_switch_that_does_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(channel_module, "MAX_UNSENT", 1_000_000)
    async with Controller(tmp_path) as controller:
        fake, datapath = await controller.switch()
        sent = 0
        while datapath.send(encode_message(13, bytes(60_000))):
            sent += 1
        assert sent < 40
        assert "unread" in (await controller.end())[0]
        fake.cut()


async def test_closing_does_not_wait_for_a_switch_that_does_not_read(tmp_path):
    async with Controller(tmp_path, Timing(close=0.1)) as controller:
        fake, datapath = await controller.switch()
        for _ in range(30):
            datapath.send(encode_message(13, bytes(60_000)))
        datapath.close()
        assert (await controller.end())[0] == "closed by an app"
        fake.cut()


async def test_an_unmodified_app_runs_in_its_own_thread(tmp_path):
    before = threading.active_count()
    async with Controller(tmp_path) as controller:
        threaded = controller.host.add(Threaded)
        fake, _ = await controller.switch()
        request = await fake.read_until(MessageType.BARRIER_REQUEST)
        fake.send(encode_message(MessageType.BARRIER_REPLY, xid=decode_header(request).xid))
        assert await asyncio.to_thread(threaded.answered.wait, 5)
        assert threading.get_ident() not in threaded.threads_seen
        await fake.close()
    # What is left is asyncio's own worker thread for `to_thread`.
    await asyncio.get_running_loop().shutdown_default_executor()
    assert threading.active_count() == before


async def test_apps_are_loaded_by_module_name_with_our_handler_in_place(tmp_path):
    async with Controller(tmp_path) as controller:
        controller.host.load("tests.functional.openflow.threaded_app")
        fake, _ = await controller.switch()
        await fake.read_until(MessageType.BARRIER_REQUEST)
        assert [thread for thread in threading.enumerate() if "server_loop" in thread.name] == []
        await fake.close()


async def test_a_slow_app_holds_nobody_up(tmp_path):
    class Slow(OSKenApp):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.go, self.got = threading.Event(), 0

    def on_packet_in(event):
        slow.go.wait(10)
        slow.got += 1

    async with Controller(tmp_path) as controller:
        slow = controller.host.add(Slow)
        from os_ken.controller import ofp_event

        slow.register_handler(ofp_event.EventOFPPacketIn, on_packet_in)
        controller.host.handler.register_observer(ofp_event.EventOFPPacketIn, slow.name)
        fake, _ = await controller.switch()
        fake.send(*[PACKET_IN] * 500)
        await controller.until(lambda: len(controller.app.messages) == 500)
        slow.go.set()
        await controller.until(lambda: slow.got == 500)
        await fake.close()


async def test_an_app_for_another_version_is_refused(tmp_path):
    class Old(OSKenApp):
        OFP_VERSIONS = [4]

    async with Controller(tmp_path) as controller:
        with pytest.raises(NotSupported, match="Old"):
            controller.host.add(Old)


async def test_requests_that_would_stop_the_loop_are_refused(tmp_path):
    async with Controller(tmp_path) as controller:
        with pytest.raises(RuntimeError, match="send_event"):
            controller.app.send_request(None)


async def test_a_switch_that_listens_is_dialled_again_and_again(tmp_path):
    path, calls = tmp_path / "br0.mgmt", asyncio.Queue()

    async def answer(reader, writer):
        fake = FakeSwitch(reader, writer)
        await fake.handshake()
        await calls.put(fake)

    async with Controller(tmp_path) as controller:
        dialler = controller.server.dial_unix(path)
        await asyncio.sleep(0.15)  # nobody there yet
        for _ in range(2):  # a vswitchd that restarts
            switch = await asyncio.start_unix_server(answer, path)
            fake = await asyncio.wait_for(calls.get(), 5)
            assert (await controller.ready()).id == 1
            switch.close()
            await fake.close()
            await controller.end()
        await dialler.close()
        assert not controller.server.connections


WAYS_TO_LEAVE = [
    "at once",
    "4 bytes",
    "8 bytes",
    "hello",
    "features",
    "main",
    "reset",
    "garbage",
    "other",
    "writing",
]


async def leave(controller: Controller, way: str, over: str) -> None:
    fake = await controller.connect(over)
    if way == "4 bytes":
        fake.send(encode_hello()[:4])
    elif way == "8 bytes":
        fake.send(encode_hello()[:8])
    elif way in ("hello", "features"):
        fake.send(encode_hello())
        await fake.read_until(MessageType.FEATURES_REQUEST)
        fake.send(features(7)[: 32 if way == "features" else 5])
    elif way in ("main", "reset", "writing"):
        await fake.handshake()
        datapath = await controller.ready()
        if way == "writing":
            datapath.send(encode_message(13, bytes(60_000)))
            applying = asyncio.create_task(
                datapath.switch.apply([Bundle([encode_message(14, bytes(500))] * 2_000)])
            )
            await fake.read_until(MessageType.BUNDLE_ADD_MESSAGE)
            fake.cut()
            with pytest.raises(ConnectionLost):
                await applying
    elif way == "garbage":
        fake.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    elif way == "other":
        fake.send(encode_hello(versions=(4,)))
    if way == "reset":
        fake.cut()
    await fake.close()


@pytest.mark.parametrize("over", ["unix", "tcp"])
async def test_a_thousand_switches_come_and_go_and_leave_nothing(tmp_path, caplog, over):
    caplog.set_level(logging.CRITICAL)
    loop = asyncio.get_running_loop()
    async with Controller(tmp_path) as controller:
        for way in WAYS_TO_LEAVE:
            await leave(controller, way, over)
        await controller.until(lambda: not controller.server.connections)
        await controller.until(lambda: len(asyncio.all_tasks(loop)) == 1)
        gc.collect()
        before = (threading.active_count(), len(os.listdir("/proc/self/fd")))
        for _ in range(100):
            await asyncio.gather(*[leave(controller, way, over) for way in WAYS_TO_LEAVE])
        await controller.until(lambda: not controller.server.connections)
        states = controller.app.states
        assert states[HANDSHAKE_DISPATCHER] == states[DEAD_DISPATCHER] == len(controller.app.ended) == 1_010
        assert controller.app.died_twice == 0
        assert states[MAIN_DISPATCHER] == 303
        await controller.until(lambda: len(asyncio.all_tasks(loop)) == 1)
        await asyncio.sleep(0)
        gc.collect()
        assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before
        assert [_alive(kind) for kind in (LoopDatapath, Channel, Session)] == [0, 0, 0]
        assert not [handle for handle in loop._scheduled if not handle.cancelled()]


def _alive(kind: type) -> int:
    return sum(isinstance(each, kind) for each in gc.get_objects())
