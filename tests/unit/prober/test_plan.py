# SPDX-License-Identifier: Apache-2.0
"""Which legs a request comes to."""

import pytest

from controller.errors import Invalid, NotFound
from controller.intent.intent import Intent
from controller.intent.model import PROBE_VNI, HostKind, OffloadChoice, direct_vni
from controller.prober import plan
from controller.prober.plan import Request, legs
from tests.builders import after, bind, host, network, port, put, schema


def fabric():
    return after(
        Intent(),
        put("hv1", host("192.0.2.1", "2001:db8::1")),
        put("hv2", host("192.0.2.2", "192.0.2.22", "2001:db8::2")),
        put("hv3", host("192.0.2.3")),
        put("hv4", host("2001:db8::4")),
        put("context", schema(1)),
        put("trail", schema(2, length=8)),
        put("blue", network(100, "trail", "context")),
        put("red", network(200)),
        *(put(f"b{n}", port("blue", n)) for n in (1, 2, 3, 4)),
        *(put(f"r{n}", port("red", n)) for n in (3, 4)),
        bind("b1", "hv1"),
        bind("b2", "hv2"),
        bind("b3", "hv2"),
        bind("r3", "hv1"),
        bind("r4", "hv3"),
    )


def said(found):
    return {(one.target.network, one.source, one.destination, str(one.towards)) for one in found}


def test_hosts_that_share_a_network_over_each_family_they_share():
    assert said(legs(fabric(), Request())) == {
        ("blue", "hv1", "hv2", "192.0.2.2"),
        ("blue", "hv1", "hv2", "2001:db8::2"),
        ("blue", "hv2", "hv1", "192.0.2.1"),
        ("blue", "hv2", "hv1", "2001:db8::1"),
        ("red", "hv1", "hv3", "192.0.2.3"),
        ("red", "hv3", "hv1", "192.0.2.1"),
    }


def test_a_host_may_send_from_any_endpoint_of_the_family():
    (leg,) = (one for one in legs(fabric(), Request(network="blue")) if str(one.towards) == "192.0.2.1")
    assert {str(address) for address in leg.addresses} == {"192.0.2.2", "192.0.2.22"}


def test_one_network():
    assert {one.target.network for one in legs(fabric(), Request(network="red"))} == {"red"}


def test_pairs_that_were_named():
    found = legs(fabric(), Request(network="red", pairs=(("hv3", "hv2"),)))
    assert said(found) == {("red", "hv3", "hv2", "192.0.2.2")}


def test_all_hosts_and_those_that_cannot_meet():
    found = legs(fabric(), Request(network="red", all_hosts=True))
    assert {(one.source, one.destination) for one in found} == {
        (a, b) for a in ("hv1", "hv2", "hv3", "hv4") for b in ("hv1", "hv2", "hv3", "hv4") if a != b
    }
    assert {(one.source, one.destination) for one in found if not one.addresses} == {
        ("hv3", "hv4"),
        ("hv4", "hv3"),
    }


@pytest.mark.parametrize("choice", [OffloadChoice.ON, OffloadChoice.SKIP_HW, OffloadChoice.SKIP_SW])
def test_probes_from_and_to_hosts_that_offload_have_a_vni_of_their_own(choice):
    intent = after(fabric(), put("hv3", host("192.0.2.3", offload=choice)))
    vnis = {
        (one.source, one.destination): one.target.vni
        for one in legs(intent, Request(network="blue", all_hosts=True))
    }
    assert {vni for pair, vni in vnis.items() if "hv3" in pair} == {PROBE_VNI}
    assert {vni for pair, vni in vnis.items() if "hv3" not in pair} == {100}
    assert direct_vni(1) > PROBE_VNI, "the VNI of a port"


def test_hosts_without_open_vswitch_are_left_out():
    linux = put("lx1", host("192.0.2.77", kind=HostKind.LINUX))
    intent = after(fabric(), linux, put("red9", port("red", 99)), bind("red9", "lx1"))
    for request in (Request(network="red"), Request(network="red", all_hosts=True)):
        assert said(legs(intent, request)) == said(legs(fabric(), request))
    with pytest.raises(Invalid, match="host/lx1 has no Open vSwitch") as caught:
        legs(intent, Request(network="red", pairs=(("hv1", "lx1"),)))
    assert (caught.value.code, caught.value.pointer) == ("host-cannot-probe", "/pairs/0/1")


def test_options_in_slot_order_and_what_they_leave_for_packets():
    over = {one.towards.version: one for one in legs(fabric(), Request(network="blue"))}
    target = over[4].target
    assert target.vni == 100
    assert sorted(one.name for one in target.options) == ["context", "trail"]
    assert list(target.options) == sorted(target.options, key=lambda one: one.slot)
    # 1500 - 50 and 70 of GENEVE - 4 + 4 and 4 + 8 of options; the narrowest pair sets what ports may send
    assert (over[4].wanted_mtu, over[6].wanted_mtu) == (1410, 1410)


def test_no_more_is_asked_of_hosts_than_they_and_the_network_carry():
    intent = after(
        Intent(),
        put("hv1", host("192.0.2.1", "2001:db8::1", underlay_mtu=9000)),
        put("hv2", host("192.0.2.2", "2001:db8::2", underlay_mtu=1600)),
        put("blue", network(100)),
    )
    found = legs(intent, Request(all_hosts=True))
    assert {(one.towards.version, one.wanted_mtu) for one in found} == {(4, 1550), (6, 1530)}


def test_sources_and_destinations_take_turns():
    intent = after(
        Intent(),
        put("blue", network(1)),
        *(put(f"hv{n}", host(f"192.0.2.{n}")) for n in range(1, 6)),
    )
    found = legs(intent, Request(all_hosts=True))
    for at in range(0, len(found), 5):
        assert len({one.source for one in found[at : at + 5]}) == 5
        assert len({one.destination for one in found[at : at + 5]}) == 5


@pytest.mark.parametrize(
    ("request_", "error", "pointer"),
    [
        (Request(network="green"), NotFound, "/network"),
        (Request(pairs=(("hv1", "hv2"), ("hv1", "hv9"))), Invalid, "/pairs/1/1"),
        (Request(pairs=(("hv9", "hv1"),)), Invalid, "/pairs/0/0"),
        (Request(pairs=(("hv1", "hv1"),)), Invalid, "/pairs/0"),
    ],
)
def test_what_is_not_there_is_refused(request_, error, pointer):
    with pytest.raises(error) as caught:
        legs(fabric(), request_)
    assert caught.value.pointer == pointer


def test_more_than_a_run_can_do_is_refused(monkeypatch):
    monkeypatch.setattr(plan, "MAX_LEGS", 5)
    with pytest.raises(Invalid) as caught:
        legs(fabric(), Request())
    assert caught.value.code == "too-many-pairs"
