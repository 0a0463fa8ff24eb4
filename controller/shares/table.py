# SPDX-License-Identifier: Apache-2.0
"""The tables of controllers and leases (`intent/schema.ovsschema`) as values, and operations on them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast
from uuid import UUID

from controller.shares.decide import Lease
from ovs_geneve.ovsdb.operations import (
    Delete,
    Input,
    Insert,
    Mutate,
    Mutation,
    Operation,
    Update,
    Wait,
    where_uuid,
)
from ovs_geneve.ovsdb.replica import Replica, Row, RowChange

CONTROLLER = "Controller"
LEASE = "Lease"

PROGRESS = ("acknowledged", "behind", "agents")
"What a controller tells of how far it is."

MONITORED = {
    CONTROLLER: ("name", "beat", "dedicated", *PROGRESS),
    LEASE: ("host", "controller", "generation"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the hosts of one controller are."""

    acknowledged: int = 0
    "The revision that all its hosts have, except those in `behind`."
    behind: frozenset[str] = frozenset()
    agents: Mapping[str, str] = field(default_factory=dict)
    "The hosts without Open vSwitch whose agent it hears, each with what is wrong there, in the agent's words."


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerRow:
    """One controller, as it last told."""

    uuid: UUID
    name: str
    beat: int
    dedicated: frozenset[str]
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRow:
    """One lease and the row it is in."""

    uuid: UUID
    lease: Lease
    controller: UUID | None


def controllers(replica: Replica) -> Iterator[ControllerRow]:
    """Yield the controllers."""
    for row in replica.rows(CONTROLLER).values():
        yield ControllerRow(
            uuid=row.uuid,
            name=str(row["name"]),
            beat=_number(row, "beat"),
            dedicated=_texts(row, "dedicated"),
            progress=Progress(
                acknowledged=_number(row, "acknowledged"),
                behind=_texts(row, "behind"),
                agents=cast("Mapping[str, str]", row["agents"]),
            ),
        )


def leases(replica: Replica) -> Iterator[LeaseRow]:
    """Yield the leases."""
    for row in replica.rows(LEASE).values():
        controller = cast("UUID | None", row["controller"])
        holder = None if controller is None else replica.get(CONTROLLER, controller)
        lease = Lease(
            host=str(row["host"]),
            holder=None if holder is None else str(holder["name"]),
            generation=_number(row, "generation"),
        )
        yield LeaseRow(uuid=row.uuid, lease=lease, controller=controller)


def differs(change: RowChange, *columns: str) -> bool:
    """Tell whether a controller's columns are new."""
    old, new = change.old, change.new
    if change.table != CONTROLLER or new is None:
        return False
    return old is None or any(old[column] != new[column] for column in columns)


def moves_hosts(change: RowChange) -> bool:
    """Tell whether hosts may have changed hands, or come further."""
    gone = change.table == CONTROLLER and change.new is None
    return change.table == LEASE or gone or differs(change, *PROGRESS)


def is_news(change: RowChange) -> bool:
    """Tell whether a controller that was there tells something, which changes nobody's share."""
    return change.table == CONTROLLER and None not in (change.old, change.new)


def open_session(name: str, beat: int, dedicated: Iterable[str], replacing: UUID | None) -> list[Operation]:
    """Make a controller's row, in place of what an earlier process of the name left."""
    row: dict[str, Input] = {"name": name, "beat": beat, "dedicated": frozenset(dedicated)}
    stale = [] if replacing is None else [Delete(CONTROLLER, where_uuid(replacing))]
    return [*stale, Insert(CONTROLLER, row)]


def close_session(controller: UUID) -> list[Operation]:
    """Delete a controller's row; its leases are free then."""
    return [Delete(CONTROLLER, where_uuid(controller))]


def beat(controller: UUID) -> list[Operation]:
    """Show that a controller lives."""
    return [Mutate(CONTROLLER, where_uuid(controller), (Mutation("beat", "+=", 1),))]


def expire(dead: ControllerRow) -> list[Operation]:
    """Delete a controller's row, unless it has beaten meanwhile."""
    seen = Wait(CONTROLLER, where_uuid(dead.uuid), ("beat",), "==", ({"beat": dead.beat},))
    return [seen, *close_session(dead.uuid)]


def tell(controller: UUID, progress: Progress) -> list[Operation]:
    """Say how far a controller's hosts are, and which agents it hears."""
    row: dict[str, Input] = {
        "acknowledged": progress.acknowledged,
        "behind": progress.behind,
        "agents": dict(progress.agents),
    }
    return [Update(CONTROLLER, where_uuid(controller), row)]


def take(
    controller: UUID, hosts: Iterable[str], rows: Mapping[str, LeaseRow], first: Mapping[str, int]
) -> list[Operation]:
    """Take hosts that nobody holds, all or none; `first` gives the generations of leases that are made."""
    operations = list[Operation]()
    for host in sorted(hosts):
        if host in rows:
            operations += give(rows[host], controller)
        else:
            row: dict[str, Input] = {"host": host, "controller": controller, "generation": first[host]}
            operations.append(Insert(LEASE, row))  # the index on host refuses a second one
    return operations


def give(row: LeaseRow, controller: UUID | None) -> list[Operation]:
    """Change the holder of a lease, unless it has changed meanwhile."""
    return [
        _unchanged(row),
        Update(
            LEASE, where_uuid(row.uuid), {"controller": controller, "generation": row.lease.generation + 1}
        ),
    ]


def drop(row: LeaseRow) -> list[Operation]:
    """Delete a lease, unless it has changed meanwhile."""
    return [_unchanged(row), Delete(LEASE, where_uuid(row.uuid))]


def _unchanged(row: LeaseRow) -> Wait:
    seen: dict[str, Input] = {"controller": row.controller, "generation": row.lease.generation}
    return Wait(LEASE, where_uuid(row.uuid), ("controller", "generation"), "==", (seen,))


def _number(row: Row, column: str) -> int:
    return cast("int", row[column])


def _texts(row: Row, column: str) -> frozenset[str]:
    return cast("frozenset[str]", row[column])
