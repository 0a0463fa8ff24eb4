# SPDX-License-Identifier: Apache-2.0
"""The data file of NICs: complete, and every limit with its source."""

from __future__ import annotations

import pytest

from ovs_geneve.offload.families import SOFTWARE, Family, families, family_of

ALL = list(families().values())


def test_the_families_there_are() -> None:
    assert list(families()) == ["tc", "mlx5", "ice", "bnxt", "nfp"]
    assert [one.name for one in ALL if not one.hardware] == [SOFTWARE]


@pytest.mark.parametrize("family", ALL, ids=lambda one: one.name)
def test_every_limit_says_what_and_where_it_was_read(family: Family) -> None:
    assert family.limits
    for name, limit in family.limits.items():
        assert limit.says, name
        assert limit.source.startswith(
            ("drivers/net/ethernet/", "include/", "Open vSwitch ", "measured: ")
        ), name
        assert ".c: " in limit.source or ".h: " in limit.source or limit.source.startswith("measured: "), name


@pytest.mark.parametrize("family", ALL, ids=lambda one: one.name)
def test_limits_are_of_their_kind(family: Family) -> None:
    numbers = {
        "set_bytes",
        "set_header",
        "matches",
        "match_data",
        "match_bytes_v4",
        "match_bytes_v6",
        "udp_port",
    }
    for name, limit in family.limits.items():
        assert limit.value is None or isinstance(limit.value, bool) == (name not in numbers), name


def test_no_driver_is_of_two_families() -> None:
    drivers = [driver for family in ALL for driver in family.drivers]
    assert len(drivers) == len(set(drivers))


@pytest.mark.parametrize(
    ("driver", "name"),
    [("mlx5_core", "mlx5"), ("mlx5e_rep", "mlx5"), ("bnxt_en", "bnxt"), ("ice", "ice"), ("nfp", "nfp")],
)
def test_a_driver_is_known(driver: str, name: str) -> None:
    found = family_of(driver)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("driver", ["", "veth", "standin_nic", "netdevsim", "virtio_net"])
def test_nobody_read_the_driver(driver: str) -> None:
    assert family_of(driver) is None
