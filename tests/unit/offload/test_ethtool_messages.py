# SPDX-License-Identifier: Apache-2.0
"""What is asked of ethtool's netlink family, and what is read of its answers."""

from __future__ import annotations

from ovs_geneve.kernel.wire import Message, attribute, be16, nested, text, u32
from ovs_geneve.offload import ethtool_messages as messages
from ovs_geneve.offload.nic import FEATURES, HW_TC, Feature, Nic, TunnelPort, standing_in_the_way
from ovs_geneve.offload.verdict import Verdict


def bit(name: str, *, value: bool = False) -> bytes:
    return nested(1, u32(1, 7), text(2, name), *([attribute(3, b"")] if value else []))


def features(*attributes: bytes) -> Message:
    return Message(20, bytes(4) + nested(1, text(2, "u1")) + b"".join(attributes))


def test_a_question_names_its_device() -> None:
    asked = messages.request(21, messages.TUNNEL_INFO_GET, "u1")
    assert asked.type == 21
    assert asked.body == bytes([28, 1, 0, 0]) + nested(1, text(2, "u1"))


def test_the_family_is_found_by_name() -> None:
    assert messages.family_request().body.endswith(b"ethtool\0")
    answer = Message(16, bytes(4) + text(2, "ethtool") + attribute(1, (21).to_bytes(2, "little")))
    assert messages.family_id(answer) == 21


def test_features_that_are_on_or_fixed() -> None:
    hardware = nested(
        2, nested(3, bit(FEATURES[0], value=True), bit(FEATURES[1]), bit(FEATURES[2], value=True))
    )
    active = nested(4, attribute(1, b""), nested(3, bit(FEATURES[2]), bit(FEATURES[3])))
    fixed = nested(5, attribute(1, b""), nested(3, bit("other")))
    assert messages.features(features(hardware, active, fixed), FEATURES) == {
        FEATURES[0]: Feature(active=False, fixed=False),
        FEATURES[1]: Feature(active=False, fixed=True),
        FEATURES[2]: Feature(active=True, fixed=False),
        FEATURES[3]: Feature(active=True, fixed=True),
    }


def test_the_ports_that_a_nic_was_told() -> None:
    def entry(port: int, kind: int) -> bytes:
        return nested(3, be16(1, port), u32(2, kind))

    tables = nested(1, u32(1, 4), entry(6081, 1), entry(4790, 2)), nested(1, u32(1, 4), entry(4789, 0))
    ports = messages.tunnel_ports(features(nested(2, *tables)))
    assert ports == (TunnelPort(4789, "vxlan"), TunnelPort(4790, "vxlan-gpe"), TunnelPort(6081, "geneve"))
    assert messages.tunnel_ports(features()) == ()


def test_a_feature_that_is_off_stands_in_the_way() -> None:
    def nic(feature: Feature) -> Nic:
        return Nic(device="u1", driver="mlx5_core", features={HW_TC: feature})

    (off,) = standing_in_the_way(nic(Feature(active=False, fixed=False)))
    assert (off.verdict, off.change) == (Verdict.NO, "ethtool -K u1 hw-tc-offload on")
    (lacks,) = standing_in_the_way(nic(Feature(active=False, fixed=True)))
    assert (lacks.verdict, lacks.change) == (Verdict.NO, "")
    assert standing_in_the_way(nic(Feature(active=True, fixed=False))) == ()
