# SPDX-License-Identifier: Apache-2.0
"""Who serves a host, by a lease or by its agent, as one of several controllers sees it."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from controller.shares import table
from controller.shares.decide import Lease
from controller.shares.roster import Roster
from controller.shares.table import ControllerRow, LeaseRow, Progress
from ovs_geneve.ovsdb.replica import Row, RowChange


def row(name: str, **progress) -> ControllerRow:
    told = Progress(**progress)
    return ControllerRow(uuid=uuid4(), name=name, beat=1, dedicated=frozenset(), progress=told)


def roster(*rows: ControllerRow, **leases: str | None) -> Roster:
    made = Roster("me")
    made.take_in(rows)
    made.leases = {
        host: LeaseRow(uuid=uuid4(), lease=Lease(host=host, holder=holder), controller=None)
        for host, holder in leases.items()
    }
    return made


def test_whoever_hears_an_agent_serves_its_host() -> None:
    seen = roster(row("a", acknowledged=7, agents={"lx1": ""}), row("b", acknowledged=9), hv1="b")
    assert seen.holder_of("lx1") == "a"
    assert seen.holder_of("hv1") == "b"
    assert seen.holder_of("lx2") is None
    assert not seen.is_behind("lx1", 7)
    assert seen.is_behind("lx1", 8), "what the other one acknowledged is no matter"
    assert seen.is_behind("lx2", 0), "nobody says anything of it"


def test_a_host_that_its_hearer_calls_behind_is() -> None:
    seen = roster(row("a", acknowledged=7, behind=frozenset({"lx1"}), agents={"lx1": "", "lx2": ""}))
    assert seen.is_behind("lx1", 1)
    assert not seen.is_behind("lx2", 7)


def test_of_two_that_hear_it_all_take_the_same() -> None:
    two = [row("b", agents={"lx1": "b says"}), row("a", agents={"lx1": "a says"})]
    for order in (two, two[::-1]):
        seen = roster(*order)
        assert seen.holder_of("lx1") == "a"
        assert seen.told_of("lx1") == "a says"


def test_what_comes_and_goes_is_followed() -> None:
    seen = roster(row("a", agents={"lx1": ""}))
    assert seen.heard_by_others() == {("lx1", "a")}
    seen.take_in([row("a"), row("b", agents={"lx1": "", "lx2": ""})])
    assert seen.holder_of("lx1") == "b"
    assert seen.heard_by_others() == {("lx1", "b"), ("lx2", "b")}
    seen.take_in([row("a")])
    assert seen.holder_of("lx2") is None


def test_what_our_own_row_says_of_agents_is_not_asked() -> None:
    seen = roster(row("me", acknowledged=7, agents={"lx1": ""}))
    assert seen.holder_of("lx1") is None
    assert seen.told_of("lx1") == ""


@pytest.mark.parametrize("columns", [{"agents": {"lx1": ""}}, {"acknowledged": 2}, {"behind": {"lx1"}}])
def test_what_moves_hosts(columns: dict) -> None:
    before = {"beat": 1, "acknowledged": 1, "behind": frozenset(), "agents": {}}
    uuid = UUID(int=1)

    def change(old: dict | None, new: dict | None, of: str = table.CONTROLLER) -> RowChange:
        rows = (None if one is None else Row(of, uuid, one) for one in (old, new))
        return RowChange(of, uuid, *rows)

    assert table.moves_hosts(change(before, {**before, **columns}))
    assert table.moves_hosts(change(before, None)), "it went"
    assert table.moves_hosts(change({}, {}, table.LEASE))
    assert not table.moves_hosts(change(before, {**before, "beat": 2}))
