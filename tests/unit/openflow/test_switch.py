# SPDX-License-Identifier: Apache-2.0
import asyncio

import pytest

from ovs_geneve.errors import ConnectionLost, OpenFlowError
from ovs_geneve.openflow.events import Applied, Bundle, MapTlv, Refused
from ovs_geneve.openflow.messages import MessageType, encode_message
from ovs_geneve.openflow.observation import XIDS
from ovs_geneve.openflow.session import FIRST_XID, Session
from ovs_geneve.openflow.switch import Switch
from ovs_geneve.openflow.tlv_table import TlvMap
from tests.unit.openflow.ovs_model import REFUSED, OvsModel, message

MAP = TlvMap(0x104, 0x10, 4, 0)


class Wire:
    """Carries bytes between a Switch and the model of OVS, a turn of the loop at a time, unless it is cut."""

    def __init__(self):
        self.model = OvsModel()
        self.held = False
        self.switch = Switch(Session(), self.wake)

    def wake(self):
        asyncio.get_running_loop().call_soon(self.turn)

    def turn(self):
        while not self.held and (data := self.switch.data_to_send()):
            for answer in self.model.receive(data):
                assert self.switch.receive(answer) is None


async def test_steps_observations_and_requests_run_together():
    wire = Wire()
    applied, observed, replies, again = await asyncio.gather(
        wire.switch.apply([MapTlv((MAP,)), Bundle([message(b"flow")])]),
        wire.switch.observe(),
        wire.switch.request(encode_message(MessageType.MULTIPART_REQUEST, bytes.fromhex("000d000000000000"))),
        wire.switch.apply([Bundle([message(b"another")])]),
    )
    assert (applied, again) == (Applied(), Applied())
    assert observed.tlv_maps == (MAP,)
    assert len(replies) == 1
    assert wire.model.installed == [b"flow", b"another"]


async def test_what_is_applied_at_once_lets_the_next_in():
    wire = Wire()
    assert await asyncio.gather(*[wire.switch.apply([]) for _ in range(3)]) == [Applied()] * 3


async def test_refusals_are_results_for_steps_and_raised_for_requests():
    wire = Wire()
    result = await wire.switch.apply([Bundle([message(REFUSED)])])
    assert isinstance(result, Refused)
    with pytest.raises(OpenFlowError, match="NXFMFC_INVALID_TLV_FIELD"):
        await wire.switch.request(encode_message(16, REFUSED))


async def test_a_cancelled_caller_does_not_disturb_the_next():
    wire = Wire()
    wire.held = True
    first = asyncio.create_task(wire.switch.apply([Bundle([message(b"first")])]))
    second = asyncio.create_task(wire.switch.apply([Bundle([message(b"second")])]))
    third = asyncio.create_task(wire.switch.apply([Bundle([message(b"third")])]))
    rare = asyncio.create_task(wire.switch.request(encode_message(16, b"port mod")))
    await asyncio.sleep(0)
    for task in (first, second, rare):
        task.cancel()
    await asyncio.sleep(0)
    wire.held = False
    wire.wake()
    assert await third == Applied()
    # The first was under way and is carried out; the second never left.
    assert wire.model.installed == [b"first", b"third"]


async def test_a_lost_connection_ends_everything():
    wire = Wire()
    wire.held = True
    waiting = [
        asyncio.create_task(wire.switch.apply([Bundle([message(b"flow")])])),
        asyncio.create_task(wire.switch.observe()),
        asyncio.create_task(wire.switch.request(encode_message(16, b"port mod"))),
    ]
    await asyncio.sleep(0)
    wire.switch.lost("the cable")
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [ConnectionLost] * 3
    for late in (wire.switch.observe(), wire.switch.request(message(b"")), wire.switch.apply([])):
        with pytest.raises(ConnectionLost, match="the cable"):
            await late
    assert wire.switch.data_to_send() == b""


async def test_a_refused_observation_is_raised():
    wire = Wire()
    wire.held = True
    observing = asyncio.create_task(wire.switch.observe())
    await asyncio.sleep(0)
    for xid in range(FIRST_XID, FIRST_XID + XIDS):
        wire.switch.receive(encode_message(MessageType.ERROR, bytes.fromhex("00010003"), xid=xid))
    with pytest.raises(OpenFlowError, match="OFPBRC_BAD_VENDOR"):
        await observing


async def test_strange_messages_come_back():
    wire = Wire()
    packet_in = encode_message(MessageType.PACKET_IN, b"packet")
    assert wire.switch.receive(packet_in) == packet_in
