# SPDX-License-Identifier: Apache-2.0
"""What families take of networks, by the reasons that there are."""

from __future__ import annotations

import pytest

from ovs_geneve.offload.families import families
from ovs_geneve.offload.verdict import (
    Feature,
    NetworkUse,
    OptionUse,
    Verdict,
    caveats,
    described,
    of_option,
    receiving,
    sending,
    verdict_of,
)

SMALL = OptionUse(name="context", length=4, read=True)
UNREAD = OptionUse(name="trace", length=4)
LONG = OptionUse(name="long", length=8, read=True)
LONGEST = OptionUse(name="longest", length=124, read=True)


def network(*options: OptionUse, **others: object) -> NetworkUse:
    return NetworkUse(options=options, **others)


def codes(reasons) -> dict[str, Verdict]:
    return {reason.code: reason.verdict for reason in reasons}


NO, UNKNOWN, YES = Verdict.NO, Verdict.UNKNOWN, Verdict.YES


@pytest.mark.parametrize(
    ("family", "use", "verdict", "expected"),
    [
        ("tc", network(), YES, {}),
        ("tc", network(SMALL, LONG), YES, {}),
        ("tc", network(LONGEST), YES, {}),
        ("tc", network(LONGEST, OptionUse(name="more", length=120)), YES, {}),
        ("tc", network(LONGEST, OptionUse(name="more", length=124)), NO, {"options-too-long": NO}),
        ("mlx5", network(), YES, {}),
        ("mlx5", network(SMALL), UNKNOWN, {"zero-values": UNKNOWN, "one-kind-a-nic": UNKNOWN}),
        ("mlx5", network(UNREAD), NO, {"not-read": NO, "one-kind-a-nic": UNKNOWN}),
        (
            "mlx5",
            network(LONG),
            NO,
            {"option-too-long": NO, "zero-values": UNKNOWN, "one-kind-a-nic": UNKNOWN},
        ),
        (
            "mlx5",
            network(SMALL, SMALL),
            NO,
            {"too-many-options": NO, "zero-values": UNKNOWN, "one-kind-a-nic": UNKNOWN},
        ),
        ("mlx5", network(udp_port=6099), NO, {"udp-port": NO}),
        ("mlx5", network(udp_port=6081), YES, {}),
        ("ice", network(), YES, {}),
        ("ice", network(SMALL), NO, {"too-many-options": NO}),
        ("bnxt", network(), NO, {"no-geneve": NO}),
        ("tc", network(oam=True), UNKNOWN, {"oam-bit": UNKNOWN}),
        ("mlx5", network(oam=True), NO, {"oam-bit": NO}),
        ("ice", network(oam=True), NO, {"oam-bit": NO}),
        ("nfp", network(oam=True), NO, {"oam-bit": NO}),
        ("bnxt", network(oam=True), NO, {"no-geneve": NO}),
        ("nfp", network(SMALL, OptionUse(name="b", length=20)), YES, {}),
        ("nfp", network(SMALL, OptionUse(name="b", length=24)), NO, {"options-too-long": NO}),
        ("nfp", network(SMALL, underlay=frozenset({6})), YES, {}),
        ("nfp", network(LONG, underlay=frozenset({6})), NO, {"options-too-long": NO}),
        ("nfp", network(LONG, underlay=frozenset({4})), YES, {}),
    ],
)
def test_what_arrives(family: str, use: NetworkUse, verdict: Verdict, expected: dict[str, Verdict]) -> None:
    reasons = receiving(families()[family], use)
    assert codes(reasons) == expected
    assert verdict_of(reasons) is verdict


@pytest.mark.parametrize(
    ("family", "use", "verdict", "expected"),
    [
        ("tc", network(LONGEST, LONGEST), YES, {}),
        ("mlx5", network(LONGEST, LONG), YES, {}),
        ("ice", network(), NO, {"no-encapsulation": NO}),
        ("bnxt", network(SMALL), NO, {"no-encapsulation": NO}),
        ("nfp", network(OptionUse(name="a", length=24)), YES, {}),
        ("nfp", network(OptionUse(name="a", length=28)), NO, {"options-too-long": NO}),
        ("nfp", network(SMALL, LONG), YES, {}),
        ("nfp", network(SMALL, LONG, SMALL), NO, {"options-too-long": NO}),
    ],
)
def test_what_is_sent(family: str, use: NetworkUse, verdict: Verdict, expected: dict[str, Verdict]) -> None:
    reasons = sending(families()[family], use)
    assert codes(reasons) == expected
    assert verdict_of(reasons) is verdict


@pytest.mark.parametrize(
    ("family", "feature", "verdict"),
    [
        ("tc", Feature.QUEUE, NO),
        ("mlx5", Feature.CONNTRACK, UNKNOWN),
        ("ice", Feature.CONNTRACK, NO),
        ("bnxt", Feature.CONNTRACK, NO),
        ("nfp", Feature.CONNTRACK, NO),
        ("ice", Feature.DSCP, NO),
        ("mlx5", Feature.QUEUE, NO),
        ("tc", Feature.MIRROR, YES),
        ("mlx5", Feature.MIRROR, UNKNOWN),
        ("tc", Feature.DSCP, YES),
        ("nfp", Feature.DSCP, UNKNOWN),
    ],
)
def test_what_policies_ask_for(family: str, feature: Feature, verdict: Verdict) -> None:
    use = network(features=frozenset({feature}))
    bare = {*sending(families()[family], network()), *receiving(families()[family], network())}
    for both in (sending(families()[family], use), receiving(families()[family], use)):
        reasons = [reason for reason in both if reason not in bare]
        assert verdict_of(reasons) is verdict
        assert all(reason.change or reason.verdict is UNKNOWN for reason in reasons)


def test_traffic_control_commits_connections_on_any_kernel_and_asks_about_them_on_some() -> None:
    use = network(features=frozenset({Feature.CONNTRACK}))
    assert codes(sending(families()["tc"], use)) == {}
    (reason,) = receiving(families()["tc"], use)
    assert (reason.code, reason.verdict) == ("conntrack-state", UNKNOWN)
    assert "CONFIG_NET_TC_SKB_EXT" in reason.message
    assert "stateless" in reason.change
    expected = {"conntrack": UNKNOWN, "conntrack-state": UNKNOWN}
    assert codes(receiving(families()["mlx5"], use)) == expected
    assert codes(sending(families()["mlx5"], use)) == {"conntrack": UNKNOWN}


@pytest.mark.parametrize("family", families())
def test_every_no_of_a_driver_has_its_source(family: str) -> None:
    use = network(
        LONGEST, LONGEST, UNREAD, features=frozenset(Feature), udp_port=1, underlay=frozenset({4, 6})
    )
    both = (*sending(families()[family], use), *receiving(families()[family], use))
    assert all(reason.source for reason in both if reason.verdict is NO)


def test_an_option_alone() -> None:
    reasons = of_option(families()["mlx5"], LONG)
    assert verdict_of(reasons) is NO
    first = next(reason for reason in reasons if reason.verdict is NO)
    assert (first.option, first.code) == ("long", "option-too-long")
    assert "4 at most" in first.change
    assert "long: the compared data is one field of 32 bits" in described(reasons)


def test_the_outer_df_bit_is_no_reason_but_worth_saying() -> None:
    (caveat,) = caveats(network())
    assert (caveat.code, caveat.verdict) == ("df-lost", YES)
    assert caveats(network(df=False)) == ()
