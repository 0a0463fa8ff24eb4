# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovs_geneve.errors import DecodeError
from ovs_geneve.openflow import session as session_module
from ovs_geneve.openflow.events import (
    Answered,
    Applied,
    Bundle,
    Event,
    MapTlv,
    Observed,
    ObserveRefused,
    PacketRefused,
    Refused,
    RequestRefused,
    SetMeters,
    UnmapTlv,
    Unrelated,
)
from ovs_geneve.openflow.messages import MessageType, encode_barrier, encode_message, stamp
from ovs_geneve.openflow.meters import MeterCommand, MeterEntry, encode_meter, encode_meter_delete
from ovs_geneve.openflow.part import MAX_REFUSALS
from ovs_geneve.openflow.session import (
    FIRST_XID,
    LAST_XID,
    MAX_PACKETS,
    PACKET_XID,
    Session,
    State,
    claims,
)
from ovs_geneve.openflow.tlv_table import TlvMap
from tests.unit.openflow.ovs_model import FAILS, REFUSED, OvsModel, message

MAP = TlvMap(0x104, 0x10, 4, 0)
OTHER_MAP = TlvMap(0x104, 0x11, 8, 1)


def settle(session: Session, switch: OvsModel) -> tuple[list[Event], int]:
    """Let both sides talk until nobody has anything to say; return the events and the round trips."""
    events: list[Event] = []
    trips = 0
    while data := session.data_to_send():
        while more := session.data_to_send():
            data += more
        trips += 1
        for answer in switch.receive(data):
            events += session.receive(answer)
    return events, trips


def apply(session: Session, switch: OvsModel, *steps):
    return session.apply(steps) + settle(session, switch)[0]


def messages(count: int) -> list[bytes]:
    return [message(b"%d" % number) for number in range(count)]


def test_nothing_to_do_sends_nothing():
    session = Session()
    assert session.apply([]) == [Applied()]
    assert session.apply([Bundle([]), MapTlv(())]) == [Applied()]
    assert session.data_to_send() == b""


def test_a_small_bundle_takes_two_round_trips():
    session, switch = Session(), OvsModel()
    assert session.apply([Bundle(messages(3))]) == []
    events, trips = settle(session, switch)
    assert (events, trips) == ([Applied()], 2)
    assert switch.installed == [b"0", b"1", b"2"]
    assert session.state is State.IDLE


def test_a_bundle_that_is_committed_at_once_takes_one_round_trip():
    session, switch = Session(), OvsModel()
    assert session.apply([Bundle(messages(3), at_once=True)]) == []
    events, trips = settle(session, switch)
    assert (events, trips) == ([Applied()], 1)
    assert switch.installed == [b"0", b"1", b"2"]


def test_what_is_refused_of_a_bundle_committed_at_once_is_left_out():
    session, switch = Session(), OvsModel()
    (refused,) = apply(
        session, switch, Bundle([*messages(2), message(REFUSED), message(b"after")], at_once=True)
    )
    assert isinstance(refused, Refused)
    assert [(refusal.index, refusal.message) for refusal in refused.refusals] == [(2, message(REFUSED))]
    assert switch.installed == [b"0", b"1", b"after"]
    (refused,) = apply(session, switch, Bundle([*messages(2), message(FAILS)], at_once=True), MapTlv((MAP,)))
    assert [(refusal.name, refusal.index) for refusal in refused.refusals] == [("OFPFMFC_TABLE_FULL", 2)]
    assert len(switch.installed) == 3
    assert switch.mapped == []
    assert (switch.bundles, session.state) == ({}, State.IDLE)


def test_long_steps_committed_at_once_go_one_after_another():
    session, switch = Session(bundle_limit=4, chunk=100), OvsModel()
    assert apply(session, switch, Bundle(messages(10), at_once=True)) == [Applied()]
    assert switch.installed == [b"%d" % number for number in range(10)]


def test_the_map_is_acknowledged_before_the_flows_leave():
    session, switch = Session(), OvsModel()
    session.apply([MapTlv((MAP,)), Bundle(messages(1))])
    first = session.data_to_send()
    assert session.data_to_send() == b""
    for answer in switch.receive(first):
        session.receive(answer)
    assert switch.seen == [MessageType.EXPERIMENTER, MessageType.BARRIER_REQUEST]
    assert settle(session, switch) == ([Applied()], 2)


def test_unmapping_is_a_step_too():
    session, switch = Session(), OvsModel()
    apply(session, switch, MapTlv((MAP, OTHER_MAP)))
    assert apply(session, switch, UnmapTlv((MAP,))) == [Applied()]
    session.observe()
    ((observed,), _) = settle(session, switch)
    assert isinstance(observed, Observed)
    assert observed.tlv_maps == (OTHER_MAP,)


def test_a_refused_map_stops_what_comes_after():
    session, switch = Session(), OvsModel()
    apply(session, switch, MapTlv((MAP,)))
    (refused,) = apply(session, switch, Bundle(messages(1)), MapTlv((MAP,)), Bundle(messages(1)))
    assert isinstance(refused, Refused)
    assert (refused.step, refused.committed) == (1, 0)
    assert [refusal.name for refusal in refused.refusals] == ["NXTTMFC_ALREADY_MAPPED"]
    assert switch.installed == [b"0"]


def test_one_refused_message_leaves_nothing_of_its_bundle():
    session, switch = Session(), OvsModel()
    bad = message(REFUSED)
    (refused,) = apply(session, switch, Bundle([*messages(2), bad, message(b"after")]))
    assert isinstance(refused, Refused)
    (refusal,) = refused.refusals
    assert (refusal.index, refusal.message) == (2, bad)
    assert (refusal.name, refusal.error_type, refusal.code) == ("NXFMFC_INVALID_TLV_FIELD", 0xFFFF, 37)
    assert (switch.installed, switch.bundles) == ([], {})
    assert session.state is State.IDLE


def test_every_refused_message_is_named():
    session, switch = Session(), OvsModel()
    (refused,) = apply(session, switch, Bundle([message(REFUSED), *messages(2), message(REFUSED)]))
    assert isinstance(refused, Refused)
    assert [refusal.index for refusal in refused.refusals] == [0, 3]


def test_refusals_are_bounded():
    session, switch = Session(), OvsModel()
    (refused,) = apply(session, switch, Bundle([message(REFUSED)] * (MAX_REFUSALS + 5)))
    assert isinstance(refused, Refused)
    assert len(refused.refusals) == MAX_REFUSALS


def test_a_commit_that_fails_names_the_message():
    session, switch = Session(), OvsModel()
    (refused,) = apply(session, switch, Bundle([*messages(2), message(FAILS)]), Bundle(messages(1)))
    assert isinstance(refused, Refused)
    assert [(refusal.name, refusal.index) for refusal in refused.refusals] == [("OFPFMFC_TABLE_FULL", 2)]
    assert (switch.installed, switch.bundles) == ([], {})


def test_a_commit_of_a_bundle_that_is_gone():
    session, switch = Session(), OvsModel()
    session.apply([Bundle(messages(1))])
    events = [event for answer in switch.receive(session.data_to_send()) for event in session.receive(answer)]
    assert events == []
    assert session.state is State.COMMITTING
    switch.bundles.clear()  # as after other_config:bundle-idle-timeout
    ((refused,), _) = settle(session, switch)
    assert [refusal.name for refusal in refused.refusals] == ["OFPBFC_BAD_ID"]
    assert refused.refusals[0].index is None


def test_a_long_step_is_several_bundles():
    session, switch = Session(bundle_limit=4), OvsModel()
    assert apply(session, switch, Bundle(messages(10))) == [Applied()]
    assert switch.installed == [b"%d" % number for number in range(10)]
    # Three bundles, each opened and committed.
    assert switch.seen.count(MessageType.BUNDLE_CONTROL) == 6


def test_a_long_step_tells_how_far_it_came():
    session, switch = Session(bundle_limit=4), OvsModel()
    (refused,) = apply(session, switch, Bundle([*messages(5), message(REFUSED), *messages(6)]))
    assert isinstance(refused, Refused)
    assert (refused.step, refused.committed, refused.refusals[0].index) == (0, 4, 5)
    assert len(switch.installed) == 4


@given(
    st.lists(st.sampled_from([b"good", b"good", b"good", REFUSED, FAILS]), max_size=40),
    st.integers(1, 9),
    st.integers(1, 500),
)
def test_what_took_effect_is_what_was_reported(texts, limit, chunk):
    session, switch = Session(bundle_limit=limit, chunk=chunk), OvsModel()
    (event,) = apply(session, switch, Bundle([message(text) for text in texts]))
    if isinstance(event, Refused):
        assert len(switch.installed) == event.committed
        assert all(texts[refusal.index] != b"good" for refusal in event.refusals)
    else:
        assert event == Applied()
        assert len(switch.installed) == len(texts)
    assert set(switch.installed) <= {b"good"}
    assert switch.bundles == {}
    assert session.state is State.IDLE


def test_chunks_are_about_as_long_as_asked_for():
    session = Session(chunk=1_000)
    session.apply([Bundle([message(bytes(92))] * 1_000)])
    sizes = []
    while data := session.data_to_send():
        sizes.append(len(data))
    assert max(sizes) < 1_000 + 16 * 116 + 8  # whole blocks
    assert len(sizes) > 50


def test_observing_yields_what_the_switch_has():
    session, switch = Session(), OvsModel()
    apply(session, switch, MapTlv((MAP,)))
    session.observe(cookie=0xA0 << 56, cookie_mask=0xFF << 56)
    request = session.data_to_send()
    assert (0xA0 << 56).to_bytes(8) + (0xFF << 56).to_bytes(8) in request
    events = [event for answer in switch.receive(request) for event in session.receive(answer)]
    assert events == [
        Observed(tlv_maps=(MAP,), max_option_space=256, max_fields=64, groups={}, flows={}),
    ]
    assert session.state is State.IDLE


def test_a_switch_without_tlv_maps_refuses_to_be_observed():
    session, switch = Session(), OvsModel()
    session.observe()
    request = session.data_to_send()
    unknown = encode_message(MessageType.ERROR, bytes.fromhex("00010003"), xid=FIRST_XID)
    events = session.receive(unknown)
    for answer in switch.receive(request[16:]):
        events += session.receive(answer)
    (refused,) = events
    assert isinstance(refused, ObserveRefused)
    assert refused.refusal.name == "OFPBRC_BAD_VENDOR"


def test_only_one_thing_at_a_time():
    session = Session()
    session.observe()
    with pytest.raises(RuntimeError, match="observing"):
        session.apply([])
    session.close()
    with pytest.raises(RuntimeError, match="closed"):
        session.observe()
    with pytest.raises(RuntimeError, match="closed"):
        session.request(message(b""))
    assert session.data_to_send() == b""


def test_requests_go_on_beside_a_bundle():
    session, switch = Session(), OvsModel()
    session.apply([Bundle(messages(3))])
    multipart = session.request(
        encode_message(MessageType.MULTIPART_REQUEST, bytes.fromhex("000d000000000000"))
    )
    silent = session.request(encode_message(16, b"port mod"))
    refused = session.request(encode_message(16, REFUSED))
    events, _ = settle(session, switch)
    assert Applied() in events
    by_xid = {event.xid: event for event in events if isinstance(event, Answered | RequestRefused)}
    assert [len(by_xid[xid].replies) for xid in (multipart, silent)] == [1, 0]
    answer = by_xid[refused]
    assert isinstance(answer, RequestRefused)
    assert answer.refusal.name == "NXFMFC_INVALID_TLV_FIELD"


def test_meters_are_set_in_one_round_trip_and_each_refusal_says_which():
    session = Session()
    first, second = (MeterEntry(meter_id=number, rate=5, burst=5) for number in (1, 2))
    session.apply([SetMeters(add=(first,), change=(second,), delete=(3,)), Bundle([message(b"flow")])])
    data = session.data_to_send()
    mods = [encode_meter(MeterCommand.ADD, first), encode_meter(MeterCommand.MODIFY, second)]
    mods.append(encode_meter_delete(3))
    xid = FIRST_XID
    assert data == b"".join(stamp(mod, xid) for mod in mods) + encode_barrier(xid + 1)
    unknown = bytes.fromhex("000c0003") + stamp(mods[1], xid)
    assert session.receive(encode_message(MessageType.ERROR, unknown, xid=xid)) == []
    (refused,) = session.receive(encode_message(MessageType.BARRIER_REPLY, xid=xid + 1))
    assert isinstance(refused, Refused)
    (refusal,) = refused.refusals
    assert (refused.step, refusal.index, refusal.name) == (0, 1, "OFPMMFC_UNKNOWN_METER")
    assert refusal.message == mods[1]
    assert session.data_to_send() == b""
    assert session.apply([SetMeters()]) == [Applied()]


def test_a_switch_without_meters_is_observed_all_the_same():
    session, switch = Session(), OvsModel()
    session.observe()
    events = []
    error = encode_message(MessageType.ERROR, bytes.fromhex("00010002"), xid=FIRST_XID + 3)
    for answer in switch.receive(session.data_to_send()):
        events += session.receive(error if answer[4:8] == error[4:8] else answer)
    (observed,) = events
    assert isinstance(observed, Observed)
    assert observed.meters == {}


def test_packets_go_before_what_is_left_of_a_step():
    session, switch = Session(chunk=1), OvsModel()
    session.apply([Bundle(messages(30))])
    switch.receive(session.data_to_send())
    packet = encode_message(MessageType.PACKET_OUT, REFUSED)
    assert session.send_packet(packet)
    data = session.data_to_send()
    assert data == stamp(packet, PACKET_XID)
    (error,) = switch.receive(data)
    (event,) = session.receive(error)
    assert isinstance(event, PacketRefused)
    assert (event.refusal.name, event.refusal.message) == ("NXFMFC_INVALID_TLV_FIELD", data)
    assert settle(session, switch)[0] == [Applied()], "an error about a packet says nothing of the step"
    assert len(switch.installed) == 30


def test_packets_that_wait_are_bounded():
    session = Session()
    packet = encode_message(MessageType.PACKET_OUT, b"packet")
    assert [session.send_packet(packet) for _ in range(MAX_PACKETS + 1)] == [True] * MAX_PACKETS + [False]
    session.close()
    assert session.data_to_send() == b""
    with pytest.raises(RuntimeError, match="closed"):
        session.send_packet(packet)


def test_what_nobody_asked_for_is_passed_on_untouched():
    session = Session()
    packet_in = encode_message(MessageType.PACKET_IN, b"whatever", xid=0)
    assert session.receive(packet_in) == [Unrelated(packet_in)]
    stray = encode_message(MessageType.BARRIER_REPLY, xid=FIRST_XID + 77)
    assert session.receive(stray) == [Unrelated(stray)]


def test_claims_answers_only():
    assert claims(encode_message(MessageType.BARRIER_REPLY, xid=FIRST_XID))
    assert claims(encode_message(MessageType.ERROR, xid=LAST_XID))
    assert not claims(encode_message(MessageType.BARRIER_REPLY, xid=FIRST_XID - 1))
    assert not claims(encode_message(MessageType.BARRIER_REPLY, xid=LAST_XID + 1))
    # A switch counts its own echo requests as it likes.
    assert not claims(encode_message(MessageType.ECHO_REQUEST, xid=FIRST_XID))


def test_xids_begin_anew(monkeypatch):
    monkeypatch.setattr(session_module, "PACKET_XID", FIRST_XID + 20)
    session, switch = Session(), OvsModel()
    for _ in range(5):
        assert apply(session, switch, Bundle(messages(4))) == [Applied()]


def test_garbage_in_an_answer_is_the_peers_fault():
    session = Session()
    session.observe()
    with pytest.raises(DecodeError):
        session.receive(encode_message(MessageType.EXPERIMENTER, b"junk", xid=FIRST_XID))


@given(st.binary(min_size=8, max_size=100))
def test_arbitrary_messages_raise_nothing_but_decode_errors(junk):
    session = Session()
    session.observe()
    session.request(message(b""))
    junk = junk[:4] + FIRST_XID.to_bytes(4)[:3] + bytes((junk[7] % 8,)) + junk[8:]
    try:
        session.receive(junk)
    except DecodeError as error:
        assert error.reason  # noqa: PT017  refused on purpose
