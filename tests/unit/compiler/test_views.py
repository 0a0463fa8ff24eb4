# SPDX-License-Identifier: Apache-2.0
"""What features see: stamps, masks, link-local addresses."""

from __future__ import annotations

from ipaddress import IPv6Address

from controller.compiler.policy_views import policy_view
from controller.compiler.views import network_view, port_view, tlv_map
from controller.intent.intent import Intent
from controller.intent.model import PolicyAction
from ovs_geneve.openflow.fields import tun_metadata
from ovs_geneve.openflow.tlv_table import TlvMap
from tests.builders import after, host, network, policy, port, put, schema


def intent(*commands) -> Intent:
    return after(
        Intent(),
        put("hv1", host("192.0.2.1")),
        put("context", schema(1)),
        put("wide", schema(2, length=8)),
        put("blue", network(100, "wide", "context", values={"context.zone": 7, "context.tier": 1})),
        *commands,
    )


def view_of(name: str, stored: Intent):
    held = stored.ports[name]
    return port_view(stored, held, network_view(stored, stored.networks[held.spec.network]))


def test_every_option_of_the_network_is_stamped_in_slot_order() -> None:
    view = view_of("web1", intent(put("web1", port("blue", 1))))
    assert view.stamps == ((tun_metadata(0, 4), 0x01000700), (tun_metadata(1, 8), 0))


def test_the_ports_own_value_wins_field_by_field() -> None:
    view = view_of("web1", intent(put("web1", port("blue", 1, values={"context.tier": 0, "wide.zone": 9}))))
    assert view.stamps == ((tun_metadata(0, 4), 0x00000700), (tun_metadata(1, 8), 9 << 40))


def test_conditions_on_one_option_are_one_match() -> None:
    matches = {"context.tier": (2, 0xFF), "context.zone": (0x10, 0xF0), "wide.tier": (1, 1)}
    stored = intent(put("rule", policy("blue", matches)))
    blue = network_view(stored, stored.networks["blue"])
    view = policy_view(stored, stored.option_policies["rule"], blue)
    assert view.matches == (
        (tun_metadata(0, 4), 0x02001000, 0xFF00F000),
        (tun_metadata(1, 8), 1 << 56, 1 << 56),
    )
    assert view.verdict is PolicyAction.ALLOW
    assert view.to_port is None


def test_tlv_map_has_every_schema_used_or_not() -> None:
    assert tlv_map(intent(put("unused", schema(3)))) == {
        TlvMap(0xFF00, 1, 4, 0),
        TlvMap(0xFF00, 2, 8, 1),
        TlvMap(0xFF00, 3, 4, 2),
    }


def test_salt_tells_options_in_the_same_slot_apart() -> None:
    def salt(option_type: int) -> bytes:
        stored = after(
            Intent(),
            put("one", schema(option_type)),
            put("blue", network(100, "one")),
            put("p", port("blue", 1)),
        )
        return view_of("p", stored).salt

    assert salt(1) != salt(2)


def test_link_local_address_is_made_from_the_mac() -> None:
    view = view_of("web1", intent(put("web1", port("blue", 0x123456, "2001:db8::1"))))
    # RFC 4291, Appendix A: 02:00:00:12:34:56 with the universal/local bit inverted and fffe in the middle.
    assert [str(IPv6Address(a)) for a in view.ipv6] == ["2001:db8::1", "fe80::ff:fe12:3456"]


def test_link_local_address_that_is_declared_is_there_once() -> None:
    view = view_of("web1", intent(put("web1", port("blue", 1, "fe80::ff:fe00:1", "10.0.0.1"))))
    assert len(view.ipv6) == 1
    assert len(view.ipv4) == 1


def test_port_without_ipv6_has_no_link_local_address() -> None:
    assert view_of("web1", intent(put("web1", port("blue", 1, "10.0.0.1")))).ipv6 == ()
