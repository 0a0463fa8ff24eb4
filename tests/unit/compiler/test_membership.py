# SPDX-License-Identifier: Apache-2.0
"""A port that joins a group, or goes to another: what it costs, and whom it touches."""

from __future__ import annotations

import pytest

from controller.compiler.compile import Compiler
from controller.compiler.pipeline import Table
from controller.hoststate import HostState
from tests.builders import EMPTY, Fabric, apply_delta, bind, group, host, network, port, put


def grouped(size: int) -> Fabric:
    """A network with a port on each host, whose packets say their group; ports have none yet."""
    fabric = Fabric()
    fabric.do(put("web", group()), put("db", group()), put("blue", network(100, "identity")))
    for number in range(1, size + 1):
        fabric.do(
            put(f"hv{number}", host(f"192.0.2.{number}")),
            put(f"p{number}", port("blue", number, f"10.0.0.{number}", f"2001:db8::{number}")),
            bind(f"p{number}", f"hv{number}"),
        )
        fabric.plug(f"hv{number}", **{f"p{number}": 1})
    return fabric


def in_group(number: int, name: str | None):
    return put(f"p{number}", port("blue", number, f"10.0.0.{number}", f"2001:db8::{number}", group=name))


def states(fabric: Fabric, size: int) -> dict[str, HostState]:
    return {name: fabric.compiler.desired(name) for name in (f"hv{n}" for n in range(1, size + 1))}


@pytest.mark.parametrize("size", [3, 20])
def test_membership_touches_the_ports_host_alone(size: int) -> None:
    fabric = grouped(size)
    for name in ("web", "db", None):
        before, parts = states(fabric, size), fabric.compiler.parts_compiled
        deltas = fabric.do(in_group(2, name))
        # What all hosts have of the port (and it comes out as it was), what its own has, and that one's flood group.
        assert fabric.compiler.parts_compiled - parts == 3
        assert set(deltas) == {"hv2"}
        tables = sorted(key[0] for key in deltas["hv2"].flows)
        assert tables == [Table.STAMP, Table.FORWARD, Table.RECEIVE]
        assert len(deltas["hv2"].groups) == 1
        after = states(fabric, size)
        assert apply_delta(before.pop("hv2"), deltas["hv2"]) == after.pop("hv2")
        assert after == before


def test_group_that_is_made_anew_with_another_identity_in_one_batch() -> None:
    fabric = grouped(2)
    fabric.do(in_group(2, "db"))
    before = fabric.compiler.desired("hv2")
    deltas = fabric.do(in_group(2, None), put("db", group(77)), in_group(2, "db"))
    assert set(deltas) == {"hv2"}
    assert apply_delta(before, deltas["hv2"]) == fabric.compiler.desired("hv2")
    whole = Compiler.of(fabric.compiler.snapshot())
    assert whole.desired("hv2") == fabric.compiler.desired("hv2") != EMPTY
