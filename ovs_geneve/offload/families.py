# SPDX-License-Identifier: Apache-2.0
"""Families of NICs and what their drivers take, each limit with its source: the data is `families.toml`. Pure."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any, Generic, TypeVar

V_co = TypeVar("V_co", bool, int, covariant=True)

SOFTWARE = "tc"
"The family that is no NIC."


@dataclass(frozen=True, slots=True)
class Limit(Generic[V_co]):
    """What a driver takes, or takes not."""

    says: str
    source: str
    "A file of the kernel and what to look for in it, or what was measured."
    value: V_co | None = None
    "None where it depends."


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """NICs with one driver. A limit that is None is not known."""

    name: str
    title: str
    hardware: bool
    drivers: frozenset[str]
    geneve: Limit[bool] | None = None
    sets_options: Limit[bool] | None = None
    set_bytes: Limit[int] | None = None
    set_header: Limit[int] | None = None
    matches: Limit[int] | None = None
    match_data: Limit[int] | None = None
    match_bytes_v4: Limit[int] | None = None
    match_bytes_v6: Limit[int] | None = None
    matches_zero: Limit[bool] | None = None
    several_kinds: Limit[bool] | None = None
    udp_port: Limit[int] | None = None
    oam: Limit[bool] | None = None
    conntrack: Limit[bool] | None = None
    conntrack_state: Limit[bool] | None = None
    mirror: Limit[bool] | None = None
    dscp: Limit[bool] | None = None
    into_bridge: Limit[bool] | None = None

    @property
    def limits(self) -> Mapping[str, Limit[bool] | Limit[int]]:
        """All that are known, by their names in the data file."""
        named = ((one.name, getattr(self, one.name)) for one in fields(self))
        return {name: value for name, value in named if isinstance(value, Limit)}


@cache
def families() -> Mapping[str, Family]:
    """Return all families by name, traffic control in software first."""
    text = files(__package__).joinpath("families.toml").read_text(encoding="utf-8")
    return {entry["name"]: _family(entry) for entry in tomllib.loads(text)["family"]}


def family_of(driver: str) -> Family | None:
    """Return the family of a driver; None for one that nobody read, and for stand-ins."""
    return next((family for family in families().values() if driver in family.drivers), None)


def _family(entry: Mapping[str, Any]) -> Family:
    limits = {name: Limit(**value) for name, value in entry.items() if isinstance(value, dict)}
    return Family(
        name=entry["name"],
        title=entry["title"],
        hardware=entry["hardware"],
        drivers=frozenset(entry["drivers"]),
        **limits,
    )
