# SPDX-License-Identifier: Apache-2.0
"""What families take of what forwards on hosts without Open vSwitch."""

from __future__ import annotations

import pytest

from ovs_geneve.offload import linux
from ovs_geneve.offload.families import families
from ovs_geneve.offload.linux import Forwarding
from ovs_geneve.offload.verdict import NetworkUse, OptionUse, Reason, Verdict, verdict_of

GROUP = OptionUse(name="identity", length=4, read=True)
UNREAD = OptionUse(name="trace", length=4)
LONG = OptionUse(name="long", length=8)
HARDWARE = [name for name, family in families().items() if family.hardware]
NO, UNKNOWN, YES = Verdict.NO, Verdict.UNKNOWN, Verdict.YES


def network(*options: OptionUse, **others: object) -> NetworkUse:
    return NetworkUse(options=options, **others)


def codes(reasons: tuple[Reason, ...]) -> dict[str, Verdict]:
    return {reason.code: reason.verdict for reason in reasons}


@pytest.mark.parametrize(
    ("family", "use", "sent", "arriving"),
    [
        ("tc", network(GROUP, LONG), {}, {}),
        ("mlx5", network(), {"behind-bridge": NO}, {"into-bridge": NO}),
        # No rule of such a host looks at options of which no policy speaks, so none is in the way.
        ("mlx5", network(UNREAD, LONG), {"behind-bridge": NO}, {"into-bridge": NO}),
        (
            "mlx5",
            network(GROUP, LONG),
            {"behind-bridge": NO},
            {
                "into-bridge": NO,
                "too-many-options": NO,
                "zero-values": UNKNOWN,
                "option-too-long": NO,
                "not-read": NO,
                "one-kind-a-nic": UNKNOWN,
            },
        ),
        (
            "mlx5",
            network(udp_port=6099),
            {"behind-bridge": NO, "udp-port": NO},
            {"into-bridge": NO, "udp-port": NO},
        ),
        ("ice", network(), {"behind-bridge": NO, "no-encapsulation": NO}, {"into-bridge": NO}),
        (
            "bnxt",
            network(),
            {"behind-bridge": NO, "no-encapsulation": NO},
            {"into-bridge": UNKNOWN, "no-geneve": NO},
        ),
        ("nfp", network(GROUP), {"behind-bridge": NO}, {"into-bridge": NO}),
    ],
)
def test_rules_of_one_device_for_all_tunnels(
    family: str, use: NetworkUse, sent: dict[str, Verdict], arriving: dict[str, Verdict]
) -> None:
    assert codes(linux.sending(families()[family], use, Forwarding.FILTERS)) == sent
    assert codes(linux.receiving(families()[family], use, Forwarding.FILTERS)) == arriving


@pytest.mark.parametrize("family", families())
@pytest.mark.parametrize(
    ("by", "change"), [(Forwarding.DEVICES, '"tunnels": "metadata"'), (Forwarding.ROUTES, "carry Ethernet")]
)
def test_where_nothing_is_a_rule_of_traffic_control_there_is_nothing_to_offer(
    family: str, by: Forwarding, change: str
) -> None:
    sent = linux.sending(families()[family], network(GROUP), by)
    assert sent == linux.receiving(families()[family], network(GROUP), by)
    assert sent == linux.of_option(families()[family], GROUP, by)
    (reason,) = sent
    assert (reason.code, reason.verdict) == ("no-filters", NO)
    assert "no NIC is asked" in reason.message
    assert change in reason.change


@pytest.mark.parametrize("family", HARDWARE)
@pytest.mark.parametrize("by", Forwarding)
def test_every_no_says_where_it_was_read_and_what_to_change(family: str, by: Forwarding) -> None:
    use = network(GROUP, LONG, udp_port=1, underlay=frozenset({4, 6}))
    both = (*linux.sending(families()[family], use, by), *linux.receiving(families()[family], use, by))
    assert verdict_of(both) is NO
    for reason in both:
        assert reason.source or reason.verdict is UNKNOWN
        assert reason.change or reason.code == "no-geneve" or reason.verdict is UNKNOWN


def test_an_option_alone() -> None:
    long = OptionUse(name="long", length=8, read=True)
    found = codes(linux.of_option(families()["mlx5"], long, Forwarding.FILTERS))
    assert found["option-too-long"] is NO
    assert codes(linux.of_option(families()["mlx5"], LONG, Forwarding.FILTERS)) == {}
    assert codes(linux.of_option(families()["tc"], long, Forwarding.FILTERS)) == {}
