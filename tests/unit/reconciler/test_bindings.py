# SPDX-License-Identifier: Apache-2.0
"""Where a port is, decided from where its interface is plugged."""

from __future__ import annotations

from controller.reconciler.bindings import Arrivals, seat

IF = "web1"


def arrivals(*reports: tuple[str, str]) -> Arrivals:
    """Take in reports of hosts, each with the interfaces it has then, separated by spaces."""
    made = Arrivals()
    for host, interfaces in reports:
        made.report(host, frozenset(interfaces.split()))
    return made


def test_report_tells_what_came_and_went() -> None:
    made = Arrivals()
    assert made.report("hv1", frozenset({"a", "b"})) == {"a", "b"}
    assert made.report("hv1", frozenset({"b", "c"})) == {"a", "c"}
    assert made.report("hv1", frozenset({"b", "c"})) == set()
    assert made.drop("hv1") == {"b", "c"}
    assert made.drop("hv1") == set()
    assert not made.heard_from("hv1")
    assert made.hosts_of("b") == {}


def test_unplugged_everywhere_is_nowhere() -> None:
    assert seat(IF, None, arrivals()) is None
    assert seat(IF, None, arrivals(("hv1", ""))) is None
    assert seat(IF, "hv1", arrivals(("hv1", IF), ("hv1", ""))) is None


def test_one_place_is_the_place() -> None:
    assert seat(IF, None, arrivals(("hv1", IF))) == "hv1"
    assert seat(IF, "hv2", arrivals(("hv2", ""), ("hv1", IF))) == "hv1"


def test_the_last_arrival_wins() -> None:
    both = [("hv1", ""), ("hv2", ""), ("hv1", IF), ("hv2", IF)]
    assert seat(IF, "hv1", arrivals(*both)) == "hv2"
    assert seat(IF, "hv2", arrivals(*both, ("hv2", ""))) == "hv1", "the migration was called off"
    assert seat(IF, "hv2", arrivals(*both, ("hv2", ""), ("hv2", IF))) == "hv2"


def test_other_changes_of_a_host_are_no_arrival() -> None:
    later = arrivals(("hv1", ""), ("hv2", ""), ("hv1", IF), ("hv2", IF), ("hv1", f"{IF} other"))
    assert seat(IF, "hv2", later) == "hv2"


def test_restart_leaves_a_port_with_two_interfaces_where_it_was() -> None:
    """Of what the first reports name nobody knows which came last."""
    for order in (("hv1", "hv2"), ("hv2", "hv1")):
        found = arrivals(*((host, IF) for host in order))
        assert seat(IF, "hv1", found) == "hv1"
        assert seat(IF, "hv2", found) == "hv2"
        assert seat(IF, None, found) == "hv1", "either will do, but always the same"


def test_restart_believes_who_has_it_over_who_has_not() -> None:
    assert seat(IF, "hv1", arrivals(("hv1", ""), ("hv2", IF))) == "hv2"


def test_restart_keeps_a_port_on_a_host_that_was_not_heard_from() -> None:
    assert seat(IF, "hv1", arrivals()) == "hv1"
    assert seat(IF, "hv1", arrivals(("hv2", ""))) == "hv1"


def test_restart_moves_a_port_that_is_seen_elsewhere() -> None:
    assert seat(IF, "hv1", arrivals(("hv2", IF))) == "hv2"


def test_arrival_after_a_restart_beats_what_was_found() -> None:
    assert seat(IF, "hv1", arrivals(("hv1", IF), ("hv2", ""), ("hv2", IF))) == "hv2"


def test_port_of_another_controllers_host_stays_there_until_its_interface_turns_up_here() -> None:
    arrivals = Arrivals()
    arrivals.report("hv1", frozenset({"web1"}))
    assert seat("web1", "hv9", arrivals, elsewhere=True) == "hv9"
    assert seat("web1", "hv9", arrivals) == "hv1"
    arrivals.report("hv1", frozenset())
    arrivals.report("hv1", frozenset({"web1"}))
    assert seat("web1", "hv9", arrivals, elsewhere=True) == "hv1"
