# SPDX-License-Identifier: Apache-2.0
"""What a run proves of a network, healthy and broken; how fast it goes."""

from collections import Counter
from dataclasses import replace
from ipaddress import ip_address

import pytest

from controller.prober.model import Sighting, Verdict
from controller.prober.pace import Limits
from controller.prober.run import ProbeRun
from ovs_geneve.geneve.probe import ETHERNET_HEADER, MIN_SIZE, Pattern, Probe, decode, encode
from tests.unit.prober.network import PLAIN, RUN, Network, by_pair, leg, mesh


def only(network: Network, **what):
    (result,) = network.run([leg()], **what)
    return result


def test_a_healthy_network_is_proved_with_two_probes_a_leg():
    network = Network()
    results = network.run(mesh(3))
    assert [one.verdict for one in results] == [Verdict.OK] * 6
    for one in results:
        assert (one.sent, one.seen, one.echoes, one.lost) == (2, 2, 2, 0)
        assert [(each.option, each.verified) for each in one.options] == [("context", True), ("trail", True)]
        assert one.proved_mtu == 1426
        assert one.rtt_min == pytest.approx(2 * network.latency)
        assert one.reason == ""
    patterns = {(shot.pattern, shot.size) for _, shot in network.sent}
    assert patterns == {(Pattern.VALUE, 1426 + ETHERNET_HEADER), (Pattern.COMPLEMENT, MIN_SIZE)}
    assert network.now < 100.1


def test_a_network_without_options_is_proved_as_well():
    (result,) = Network().run([leg(target=PLAIN)])
    assert (result.verdict, result.options, result.proved_mtu) == (Verdict.OK, (), 1450)


def test_nothing_arrives():
    result = only(Network(passes=lambda shot: False))
    assert result.verdict is Verdict.UNREACHABLE
    assert "none of 6 probes from hv1 (192.0.2.1) to 192.0.2.2 arrives at hv2" in result.reason
    assert (result.seen, result.proved_mtu, result.rtt_min) == (0, None, None)
    assert not any(one.verified for one in result.options)


def test_one_direction_only():
    network = Network(passes=lambda shot: shot.leg.source == "hv2", comes_back=lambda shot: False)
    there, back = network.run([leg(), leg("hv2", "hv1")])
    assert there.verdict is Verdict.UNREACHABLE
    assert "though the other way works" in there.reason
    assert (back.verdict, back.echoes, back.rtt_min) == (Verdict.OK, 0, None)


@pytest.mark.parametrize("passes", [50, 51, 576, 1300, 1424, 1425])
def test_the_largest_size_that_passes_is_found(passes):
    network = Network(passes=lambda shot: shot.size <= passes + ETHERNET_HEADER)
    result = only(network)
    assert (result.verdict, result.proved_mtu) == (Verdict.MTU, passes)
    # 14 bytes of Ethernet, 20 of IPv4, 8 of UDP, 8 of GENEVE, 8 + 16 of options around a packet
    assert f"packets of up to {passes} bytes pass ({passes + 74} on the underlay" in result.reason
    assert "those of 1426 (1500) do not" in result.reason
    assert len(network.sent) <= 50
    assert all(one.verified for one in result.options)
    assert result.lost == 0


def test_a_size_that_just_fits_needs_no_search():
    network = Network(passes=lambda shot: shot.size <= 1426 + ETHERNET_HEADER)
    assert (only(network).verdict, len(network.sent)) == (Verdict.OK, 2)


def test_a_lost_probe_is_sent_again():
    network = Network(passes=lambda shot: shot.sequence != 0)
    result = only(network)
    assert (result.verdict, result.sent, result.seen, result.lost) == (Verdict.LOSSY, 3, 2, 1)
    assert result.reason == "1 of 3 probes were lost"
    assert not result.verdict.failed


def slots(**changes):
    """Make what the far end reports wrong."""

    def alter(shot, sighting: Sighting) -> Sighting:
        options = {**sighting.options}
        for slot, change in changes.items():
            number = int(slot[1:])
            data = change(options) if callable(change) else change
            options.pop(number, None)
            if data is not None:
                options[number] = data
        return replace(sighting, options=options)

    return alter


def problems(result):
    return {one.option: one.problem for one in result.options if not one.verified}


def test_an_option_is_absent():
    result = only(Network(alter=slots(s0=None)))
    assert result.verdict is Verdict.OPTIONS
    assert problems(result) == {
        "context": "not seen at hv2: its TLV map, or that of the sender, lacks tun_metadata0"
    }
    assert "context: not seen" in result.reason


def test_an_option_is_in_another_slot():
    result = only(Network(alter=slots(s9=lambda options: options[0], s0=None)))
    said = "arrives in tun_metadata9, want tun_metadata0: the TLV map of hv2 is not ours"
    assert problems(result) == {"context": said}
    assert "not sent" not in result.reason


def test_two_options_changed_places():
    result = only(Network(alter=lambda _, s: replace(s, options={0: s.options.get(3), 3: s.options.get(0)})))
    assert set(problems(result)) == {"context", "trail"}


def test_an_option_has_another_length():
    result = only(Network(alter=slots(s3=lambda options: options[3][:8])))
    assert problems(result) == {"trail": "8 bytes in tun_metadata3 at hv2: want 12"}


def test_a_field_is_changed():
    def one_bit(options):
        return (int.from_bytes(options[0]) ^ 0x0000_0100).to_bytes(4)

    said = problems(only(Network(alter=slots(s0=one_bit))))
    assert set(said) == {"context"}
    assert "zone: want " in said["context"]
    assert "tier" not in said["context"]


def test_a_bit_that_is_stuck_shows_in_one_of_the_patterns():
    for stuck in range(32):
        for value in (0, 1):

            def hold(options, stuck=stuck, value=value):
                number = int.from_bytes(options[0]) & ~(1 << stuck) | value << stuck
                return number.to_bytes(4)

            assert only(Network(alter=slots(s0=hold))).verdict is Verdict.OPTIONS


def test_an_option_that_nobody_sent():
    result = only(Network(alter=slots(s7=b"\1\2\3\4")))
    assert (result.verdict, problems(result)) == (Verdict.OPTIONS, {})
    assert result.reason == "options arrive at hv2 that were not sent: tun_metadata7 (4 bytes)"


def test_only_packets_without_options_arrive():
    result = only(Network(passes=lambda shot: shot.pattern is Pattern.BARE))
    assert result.verdict is Verdict.OPTIONS
    assert "packets without options arrive at hv2, with them they do not" in result.reason
    assert set(problems(result)) == {"context", "trail"}


def test_another_vni():
    result = only(Network(alter=lambda _, s: replace(s, vni=101)))
    assert (result.verdict, result.reason) == (Verdict.ALTERED, "arrives under VNI 101: want 100")


def test_another_source():
    result = only(Network(alter=lambda _, s: replace(s, source=ip_address("198.51.100.7"))))
    assert result.verdict is Verdict.ALTERED
    assert result.reason == "arrives from 198.51.100.7, which is no tunnel endpoint of hv1"


def test_a_bridge_that_is_away_sends_nothing():
    network = Network(away=frozenset({"hv1"}))
    there, back = network.run([leg(), leg("hv2", "hv1")])
    assert (there.verdict, there.reason) == (Verdict.SKIPPED, "the bridge of hv1 is not connected")
    # The datapath of hv1 goes on without its controller: what it sends back proves the way.
    assert (back.verdict, back.seen, back.echoes) == (Verdict.OK, 2, 2)


def test_hosts_without_a_family_in_common():
    apart = replace(leg(), addresses=frozenset())
    network = Network()
    result, other = network.run([apart, leg("hv1", "hv3")])
    assert result.verdict is Verdict.UNREACHABLE
    assert result.reason == "hv1 and hv2 have no IP version of the underlay in common"
    assert other.verdict is Verdict.OK


def test_foreign_and_damaged_packets_are_not_taken_for_ours():
    network = Network(alter=lambda _, s: replace(s, frame=s.frame[:-1] + b"\0"))
    assert only(network).verdict is Verdict.UNREACHABLE
    assert network.took.unreadable == 6


def test_probes_of_another_run_are_not_taken_for_ours():
    network = Network(alter=lambda _, s: replace(s, frame=encode(replace(decode(s.frame), run=1))))
    assert only(network).verdict is Verdict.UNREACHABLE
    assert network.took.unreadable == 0


def test_a_probe_at_a_third_host():
    run = ProbeRun(RUN, [leg()], {"hv1", "hv2"}, 0.0, 60.0)
    shot, _ = run.take(0.01)
    frame = encode(Probe(run=RUN, sequence=shot.sequence, pattern=shot.pattern, size=shot.size))
    run.arrived("hv3", Sighting(frame=frame, vni=100, source=ip_address("192.0.2.1")), 0.1)
    (result,) = run.results()
    assert (result.verdict, result.reason) == (Verdict.ALTERED, "arrives at hv3: want hv2")


def test_a_run_ends_in_time():
    network = Network(passes=lambda shot: False)
    results = network.run(mesh(12), timeout=0.4)
    assert network.now == pytest.approx(100.4, abs=0.02)
    assert {one.verdict for one in results} == {Verdict.SKIPPED}
    assert results[0].reason == "the run ended before it was proved"


LIMITS = Limits(total=200, host=50, burst=10)


def test_no_host_and_not_all_of_them_get_more_than_their_rate():
    network = Network()
    began = network.now
    network.run(mesh(9), limits=LIMITS)
    took = network.now - began
    assert len(network.sent) == 2 * 72
    assert len(network.sent) <= LIMITS.total * (took + 0.05) + 10
    for moment in {at for at, _ in network.sent}:
        inside = [shot for at, shot in network.sent if moment <= at < moment + 0.5]
        assert len(inside) <= LIMITS.total * 0.55 + 1
        load = Counter(host for shot in inside for host in (shot.leg.source, shot.leg.destination))
        assert max(load.values()) <= LIMITS.host * 0.5 + LIMITS.burst


def test_the_target_of_all_is_spared():
    """Ninety-nine hosts want to be answered by one."""
    network = Network()
    network.run([leg(f"hv{number}", "hv1") for number in range(2, 101)], limits=LIMITS)
    took = network.now - 100.0
    assert len(network.sent) == 198
    assert took >= (198 - LIMITS.burst) / LIMITS.host


def test_a_hundred_hosts_take_under_thirty_seconds():
    network = Network()
    results = network.run(mesh(100))
    assert len(results) == 9900
    assert {one.verdict for one in results} == {Verdict.OK}
    assert len(network.sent) == 19_800
    assert network.now - 100.0 < 30


def test_an_underlay_that_is_too_small_everywhere_is_not_searched_everywhere():
    network = Network(passes=lambda shot: shot.size <= 1000)
    results = network.run(mesh(20))
    searched = [one for one in results if "was not looked for" not in one.reason]
    assert {one.verdict for one in results} == {Verdict.MTU}
    assert len(searched) == 200
    assert {one.proved_mtu for one in searched} == {1000 - ETHERNET_HEADER}


def test_pairs_are_answered_for_by_name():
    network = Network(passes=lambda shot: shot.leg.destination != "hv3")
    found = by_pair(network.run(mesh(3)))
    assert {pair for pair, one in found.items() if one.verdict.failed} == {("hv1", "hv3"), ("hv2", "hv3")}
