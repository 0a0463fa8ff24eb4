# SPDX-License-Identifier: Apache-2.0
"""An os-ken app that uses tun_metadata and the TLV map by os-ken's own objects, against a real vswitchd."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from os_ken.controller import ofp_event
from os_ken.controller.handler import MAIN_DISPATCHER, set_ev_cls

from ovs_geneve.openflow import osken_ext
from ovs_geneve.openflow.osken_transport import LoopApp, LoopDatapath
from ovs_geneve.openflow.tlv_table import TlvCommand, TlvMap
from tests.functional.openflow.controller import Controller

MAPS = (TlvMap(0x104, 0x10, 4, 0), TlvMap(0x104, 0x11, 16, 1))

osken_ext.install()


class OptionApp(LoopApp):
    """Puts every answer it waits for into one queue."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.answers: asyncio.Queue[Any] = asyncio.Queue()

    @set_ev_cls(
        [
            ofp_event.EventNXTTlvTableReply,
            ofp_event.EventOFPFlowDescStatsReply,
            ofp_event.EventOFPBarrierReply,
            ofp_event.EventOFPErrorMsg,
        ],
        MAIN_DISPATCHER,
    )
    def on_answer(self, ev: Any) -> None:
        self.answers.put_nowait(ev.msg)

    async def send(self, datapath: LoopDatapath, *messages: Any) -> list[Any]:
        """Send messages and a barrier; return what came before its reply."""
        for message in messages:
            datapath.send_msg(message)
        datapath.send_barrier()
        got = []
        while not isinstance(answer := await asyncio.wait_for(self.answers.get(), 5), _barrier(datapath)):
            got.append(answer)
        return got


def _barrier(datapath: LoopDatapath) -> type:
    return datapath.ofproto_parser.OFPBarrierReply


@pytest.fixture
async def controller(tmp_path):
    async with Controller(tmp_path) as running:
        yield running


@pytest.fixture
async def app(controller):
    return controller.host.add(OptionApp)


@pytest.fixture
async def datapath(controller, app, switch):
    controller.server.dial_unix(switch.vswitchd.folder / f"{switch.name}.mgmt")
    return await controller.ready()


async def test_the_tlv_map_by_objects(app, datapath, switch):
    assert await app.send(datapath, osken_ext.tlv_table_mod(datapath, TlvCommand.ADD, MAPS)) == []
    printed = switch.ofctl("dump-tlv-map")
    assert "0x104  0x10       4  tun_metadata0" in printed
    assert "0x104  0x11      16  tun_metadata1" in printed
    (reply,) = await app.send(datapath, osken_ext.tlv_table_request(datapath))
    assert (reply.max_option_space, reply.max_fields, reply.maps) == (256, 64, MAPS)
    assert await app.send(datapath, osken_ext.tlv_table_mod(datapath, TlvCommand.CLEAR)) == []
    assert "tun_metadata0" not in switch.ofctl("dump-tlv-map")


async def test_refusals_have_names(app, datapath):
    parser = datapath.ofproto_parser
    unmapped = parser.OFPFlowMod(datapath, match=parser.OFPMatch(tun_metadata5=1))
    twice = osken_ext.tlv_table_mod(datapath, TlvCommand.ADD, MAPS)
    await app.send(datapath, osken_ext.tlv_table_mod(datapath, TlvCommand.ADD, MAPS))
    errors = await app.send(datapath, unmapped, twice)
    assert [osken_ext.name_of_error(error) for error in errors] == [
        "NXFMFC_INVALID_TLV_FIELD",
        "NXTTMFC_ALREADY_MAPPED",
    ]


@pytest.mark.parametrize(
    ("match", "printed"),
    [
        ({"tun_metadata0": 5}, "tun_metadata0=0x5"),
        ({"tun_metadata0": (0xAD0000, 0xFF0000)}, "tun_metadata0=0xad0000/0xff0000"),
        ({"tun_metadata0": (0, 0)}, "tun_metadata0"),
        ({"tun_metadata1": bytes(15) + b"\x07"}, "tun_metadata1=0x7"),
        ({"tun_metadata1": (b"\x70" + bytes(15), b"\xf0" + bytes(15))}, "tun_metadata1=0x7" + "0" * 31),
    ],
)
async def test_flows_are_installed_dumped_and_installed_again(app, datapath, switch, match, printed):
    parser, ofproto = datapath.ofproto_parser, datapath.ofproto
    actions = [
        parser.OFPActionSetField(tun_metadata0=5),
        parser.OFPActionSetField(tun_metadata0=(0x100, 0xFF00)),
        parser.OFPActionSetField(tun_metadata1=bytes(16)),
        parser.OFPActionOutput(10),
    ]
    instructions = [parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, actions)]
    flow = parser.OFPFlowMod(
        datapath,
        table_id=2,
        priority=7,
        match=parser.OFPMatch(in_port=10, **match),
        instructions=instructions,
    )
    assert await app.send(datapath, osken_ext.tlv_table_mod(datapath, TlvCommand.ADD, MAPS), flow) == []
    dumped = switch.ofctl("dump-flows")
    assert printed in dumped

    (reply,) = await app.send(datapath, parser.OFPFlowDescStatsRequest(datapath))
    (entry,) = reply.body
    assert set(entry.match.iteritems()) >= {("in_port", 10)}
    sets = [action for action in entry.instructions[0].actions if hasattr(action, "key")]
    # OVS strips leading zeros: 5 came back in one byte, sixteen zero bytes in one.
    assert [(action.key, action.value) for action in sets] == [
        ("tun_metadata0", 5),
        ("tun_metadata0", (0x100, 0xFF00)),
        ("tun_metadata1", 0),
    ]
    again = parser.OFPFlowMod(
        datapath, table_id=2, priority=8, match=entry.match, instructions=entry.instructions
    )
    assert await app.send(datapath, again) == []
    first, second = sorted(line.split("priority=")[1] for line in switch.ofctl("dump-flows").splitlines()[1:])
    assert first[1:] == second[1:]
    assert datapath.undecodable == 0


async def test_options_are_copied(app, datapath, switch):
    parser, ofproto = datapath.ofproto_parser, datapath.ofproto
    # OpenFlow 1.5 has a standard action for what NXActionRegMove is in 1.3. os-ken encodes it, and cannot
    # decode it with any field: OFPActionCopyField.parser reads on behind its end.
    copy = parser.OFPActionCopyField(
        n_bits=32, oxm_ids=[parser.OFPOxmId("tun_metadata0"), parser.OFPOxmId("reg3")]
    )
    instructions = [parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, [copy])]
    flow = parser.OFPFlowMod(datapath, match=parser.OFPMatch(), instructions=instructions)
    assert await app.send(datapath, osken_ext.tlv_table_mod(datapath, TlvCommand.ADD, MAPS), flow) == []
    assert "move:NXM_NX_TUN_METADATA0[0..31]->NXM_NX_REG3[]" in switch.ofctl("dump-flows")
