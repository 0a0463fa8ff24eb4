# SPDX-License-Identifier: Apache-2.0
"""What fits between hosts, and what is refused because it does not."""

from __future__ import annotations

import pytest

from controller.errors import IntentError
from controller.intent.intent import Intent
from controller.intent.mtu import Underlay, network_fit
from tests.builders import after, host, network, port, put, rolled_out, schema

V4, V6 = "192.0.2.1", "2001:db8::1"


def underlay(*hosts) -> Underlay:
    intent = after(Intent(), *(put(f"hv{number}", one) for number, one in enumerate(hosts, 1)))
    return Underlay.of(intent.hosts.values())


@pytest.mark.parametrize(
    ("hosts", "mtu", "pair"),
    [
        ([host("192.0.2.1"), host("192.0.2.2")], 1450, ("hv1", "hv2")),
        ([host("2001:db8::1"), host("2001:db8::2")], 1430, ("hv1", "hv2")),
        # A dual-stack pair takes the family that the receiver prefers.
        ([host("192.0.2.1", "2001:db8::1"), host("192.0.2.2", "2001:db8::2")], 1450, ("hv1", "hv2")),
        ([host("2001:db8::1", "192.0.2.1"), host("192.0.2.2", "2001:db8::2")], 1430, ("hv2", "hv1")),
        # Hosts that cannot reach each other set no limit to each other.
        ([host("192.0.2.1"), host("192.0.2.2"), host("2001:db8::3", underlay_mtu=600)], 1450, ("hv1", "hv2")),
        # The narrower end counts.
        ([host("192.0.2.1", underlay_mtu=9000), host("192.0.2.2", underlay_mtu=1400)], 1350, ("hv1", "hv2")),
        ([host("192.0.2.1")], 1450, ("hv1", "hv1")),
    ],
)
def test_the_pair_that_carries_least(hosts, mtu, pair):
    assert underlay(*hosts).fit() == (mtu, pair)


def test_no_host_no_limit():
    assert underlay().fit() is None


def test_only_the_two_narrowest_of_a_sort_are_kept():
    hosts = [host(f"192.0.2.{number}", underlay_mtu=9000 - number) for number in range(1, 40)]
    found = underlay(*hosts)
    assert len(found.narrowest) == 2
    assert found.fit() == (9000 - 39 - 50, ("hv38", "hv39"))


def fabric(**rest) -> Intent:
    return after(
        Intent(),
        put("hv1", host("192.0.2.1")),
        put("hv2", host("192.0.2.2")),
        put("context", schema(1)),
        put("long", schema(2, length=16)),
        put("blue", network(100, "context", **rest)),
        put("web1", port("blue", 1)),
    )


def test_options_take_their_headers_and_data():
    intent = fabric()
    assert network_fit(intent, "blue", Underlay.of(intent.hosts.values())) == (1450 - 8, ("hv1", "hv2"))


def test_an_option_on_its_way_out_still_takes_its_bytes():
    intent = after(fabric(), put("blue", network(100)))
    hosts = Underlay.of(intent.hosts.values())
    assert network_fit(intent, "blue", hosts) == (1442, ("hv1", "hv2"))
    assert network_fit(after(intent, rolled_out("blue", "context")), "blue", hosts) == (1450, ("hv1", "hv2"))


@pytest.mark.parametrize(
    ("command", "pointer", "says"),
    [
        (put("blue", network(100, "context", mtu=1443)), "/mtu", "1442 fit between hosts hv1 and hv2"),
        (put("blue", network(100, "context", "long", mtu=1440)), "/mtu", "1422 fit"),
        (
            put("hv3", host("192.0.2.3", underlay_mtu=1400)),
            "/underlay_mtu",
            "1342 fit between hosts hv1 and hv3",
        ),
        (put("hv3", host("2001:db8::3", underlay_mtu=100)), "/underlay_mtu", "want 576"),
        (put("blue", network(100, mtu=575)), "/mtu", "want 576"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_pair(command, pointer, says):
    intent = fabric(mtu=1442)
    with pytest.raises(IntentError) as raised:
        after(intent, command)
    assert raised.value.code.startswith("mtu-")
    assert raised.value.pointer == pointer
    assert says in raised.value.reason


def test_what_fits_is_stored():
    assert fabric(mtu=1442).networks["blue"].spec.mtu == 1442


def test_what_is_assumed_is_told_apart():
    assert underlay(host("192.0.2.1", underlay_mtu=1500), host("192.0.2.2", underlay_mtu=9000)).is_declared
    assert not underlay(host("192.0.2.1", underlay_mtu=1500), host("192.0.2.2")).is_declared
