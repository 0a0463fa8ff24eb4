# SPDX-License-Identifier: Apache-2.0
"""The rows of an Open_vSwitch database that we read, as typed values (ovs-vswitchd.conf.db(5)).

Each class names its table and the columns it reads; `HOST_TABLES` is what to monitor on a host. Columns that
change all the time (statistics) are not among them: select those when somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeVar, cast
from uuid import UUID

from msgspec.structs import force_setattr

from ovs_geneve.errors import DecodeError
from ovs_geneve.ovsdb.replica import Replica, Row

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVSwitch:
    """The one row about the whole host."""

    TABLE: ClassVar[str] = "Open_vSwitch"
    COLUMNS: ClassVar[tuple[str, ...]] = (
        *("bridges", "manager_options", "external_ids", "other_config", "cur_cfg", "next_cfg"),
        *("ovs_version", "db_version", "datapath_types?", "iface_types?", "dpdk_initialized?"),
    )

    uuid: UUID
    bridges: frozenset[UUID]
    manager_options: frozenset[UUID]
    external_ids: Mapping[str, str]
    other_config: Mapping[str, str]
    cur_cfg: int
    "The `next_cfg` that ovs-vswitchd has applied."
    next_cfg: int
    ovs_version: str | None
    db_version: str | None
    datapath_types: frozenset[str]
    "Empty until ovs-vswitchd runs."
    iface_types: frozenset[str]
    dpdk_initialized: bool

    @classmethod
    def from_row(cls, row: Row) -> OpenVSwitch:
        """Read a row with these columns."""
        return cls(
            uuid=row.uuid,
            bridges=_set(row, "bridges", UUID),
            manager_options=_set(row, "manager_options", UUID),
            external_ids=_map(row, "external_ids"),
            other_config=_map(row, "other_config"),
            cur_cfg=_one(row, "cur_cfg", int),
            next_cfg=_one(row, "next_cfg", int),
            ovs_version=_optional(row, "ovs_version", str),
            db_version=_optional(row, "db_version", str),
            datapath_types=_set(row, "datapath_types", str),
            iface_types=_set(row, "iface_types", str),
            dpdk_initialized=bool(_optional(row, "dpdk_initialized", bool)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """A bridge."""

    TABLE: ClassVar[str] = "Bridge"
    COLUMNS: ClassVar[tuple[str, ...]] = (
        *("name", "datapath_id", "datapath_type", "fail_mode", "protocols", "controller", "ports"),
        *("external_ids", "other_config"),
    )

    uuid: UUID
    name: str
    datapath_id: str | None
    "The dpid in use, 16 hex digits; None until ovs-vswitchd made the bridge."
    datapath_type: str
    fail_mode: str | None
    protocols: frozenset[str]
    controller: frozenset[UUID]
    ports: frozenset[UUID]
    external_ids: Mapping[str, str]
    other_config: Mapping[str, str]

    @classmethod
    def from_row(cls, row: Row) -> Bridge:
        """Read a row with these columns."""
        return cls(
            uuid=row.uuid,
            name=_one(row, "name", str),
            datapath_id=_optional(row, "datapath_id", str),
            datapath_type=_one(row, "datapath_type", str),
            fail_mode=_optional(row, "fail_mode", str),
            protocols=_set(row, "protocols", str),
            controller=_set(row, "controller", UUID),
            ports=_set(row, "ports", UUID),
            external_ids=_map(row, "external_ids"),
            other_config=_map(row, "other_config"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A bridge's port: one interface, or several of a bond."""

    TABLE: ClassVar[str] = "Port"
    COLUMNS: ClassVar[tuple[str, ...]] = ("name", "interfaces", "external_ids", "tag")

    uuid: UUID
    name: str
    interfaces: frozenset[UUID]
    external_ids: Mapping[str, str]
    tag: int | None

    @classmethod
    def from_row(cls, row: Row) -> Port:
        """Read a row with these columns."""
        return cls(
            uuid=row.uuid,
            name=_one(row, "name", str),
            interfaces=_set(row, "interfaces", UUID),
            external_ids=_map(row, "external_ids"),
            tag=_optional(row, "tag", int),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A network device attached to a bridge, or a tunnel."""

    TABLE: ClassVar[str] = "Interface"
    COLUMNS: ClassVar[tuple[str, ...]] = (
        *("name", "type", "options", "ofport", "ofport_request", "external_ids", "mac_in_use"),
        *("admin_state", "link_state", "error", "mtu", "mtu_request?"),
    )

    uuid: UUID
    name: str
    type: str
    options: Mapping[str, str]
    ofport: int | None
    "The port's number; -1 when ovs-vswitchd could not make it, None until it tried."
    ofport_request: int | None
    external_ids: Mapping[str, str]
    mac_in_use: str | None
    admin_state: str | None
    link_state: str | None
    error: str | None
    "Why ovs-vswitchd could not make the port."
    mtu: int | None
    mtu_request: int | None

    @classmethod
    def from_row(cls, row: Row) -> Interface:
        """Read a row with these columns."""
        return cls(
            uuid=row.uuid,
            name=_one(row, "name", str),
            type=_one(row, "type", str),
            options=_map(row, "options"),
            ofport=_optional(row, "ofport", int),
            ofport_request=_optional(row, "ofport_request", int),
            external_ids=_map(row, "external_ids"),
            mac_in_use=_optional(row, "mac_in_use", str),
            admin_state=_optional(row, "admin_state", str),
            link_state=_optional(row, "link_state", str),
            error=_optional(row, "error", str),
            mtu=_optional(row, "mtu", int),
            mtu_request=_optional(row, "mtu_request", int),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """Where a bridge finds its OpenFlow controller."""

    TABLE: ClassVar[str] = "Controller"
    COLUMNS: ClassVar[tuple[str, ...]] = (
        *("target", "type", "is_connected", "connection_mode", "max_backoff", "inactivity_probe"),
        *("external_ids", "role", "status"),
    )

    uuid: UUID
    target: str
    type: str | None
    '"primary", "service", or None: primary if the bridge is to connect, service if it is to be connected to.'
    is_connected: bool
    connection_mode: str | None
    max_backoff: int | None
    "Milliseconds."
    inactivity_probe: int | None
    "Milliseconds; 0 never probes."
    external_ids: Mapping[str, str]
    role: str | None
    status: Mapping[str, str]

    @classmethod
    def from_row(cls, row: Row) -> Controller:
        """Read a row with these columns."""
        return cls(
            uuid=row.uuid,
            target=_one(row, "target", str),
            type=_optional(row, "type", str),
            is_connected=_one(row, "is_connected", bool),
            connection_mode=_optional(row, "connection_mode", str),
            max_backoff=_optional(row, "max_backoff", int),
            inactivity_probe=_optional(row, "inactivity_probe", int),
            external_ids=_map(row, "external_ids"),
            role=_optional(row, "role", str),
            status=_map(row, "status"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Manager:
    """Whom the host's ovsdb-server calls, or where it listens."""

    TABLE: ClassVar[str] = "Manager"
    COLUMNS: ClassVar[tuple[str, ...]] = (
        *("target", "is_connected", "max_backoff", "inactivity_probe", "external_ids", "status"),
    )

    uuid: UUID
    target: str
    is_connected: bool
    max_backoff: int | None
    inactivity_probe: int | None
    external_ids: Mapping[str, str]
    status: Mapping[str, str]

    @classmethod
    def from_row(cls, row: Row) -> Manager:
        """Read a row with these columns."""
        return cls(
            uuid=row.uuid,
            target=_one(row, "target", str),
            is_connected=_one(row, "is_connected", bool),
            max_backoff=_optional(row, "max_backoff", int),
            inactivity_probe=_optional(row, "inactivity_probe", int),
            external_ids=_map(row, "external_ids"),
            status=_map(row, "status"),
        )


HOST_TABLES: Mapping[str, tuple[str, ...]] = {
    kind.TABLE: kind.COLUMNS for kind in (OpenVSwitch, Bridge, Port, Interface, Controller, Manager)
}
"What to monitor on a host, so that every class here can read its table."


R = TypeVar("R", OpenVSwitch, Bridge, Port, Interface, Controller, Manager)


def typed(row: Row, kind: type[R]) -> R:
    """Read a row, once however often it is asked for: a plug must not cost a look into every other port."""
    made = row.memo
    if made is None:
        made = kind.from_row(row)
        force_setattr(row, "memo", made)
    assert isinstance(made, kind), f"a row of {row.table} is no {kind.__name__}"
    return made


def each(replica: Replica, kind: type[R]) -> Iterator[R]:
    """Yield all rows of a table, in no order."""
    for row in replica.rows(kind.TABLE).values():
        yield typed(row, kind)


def by_uuid(replica: Replica, kind: type[R], uuid: UUID) -> R | None:
    """Give one row, None when there is none."""
    row = replica.get(kind.TABLE, uuid)
    return None if row is None else typed(row, kind)


def by_name(replica: Replica, kind: type[R], name: str) -> R | None:
    """Give the Bridge, Port or Interface of this name, None when there is none; looks at every row."""
    row = next(replica.find(kind.TABLE, name=name), None)
    return None if row is None else typed(row, kind)


def _one(row: Row, column: str, kind: type[T]) -> T:
    value = row[column]
    if not isinstance(value, kind):
        raise DecodeError(f"{row.table}.{column}", f"{value!r} is no {kind.__name__}")
    return value


def _optional(row: Row, column: str, kind: type[T]) -> T | None:
    return None if row.columns.get(column) is None else _one(row, column, kind)


def _set(row: Row, column: str, kind: type[T]) -> frozenset[T]:
    value = row.columns.get(column, frozenset())
    if not isinstance(value, frozenset):
        raise DecodeError(f"{row.table}.{column}", f"{value!r} is no set")
    if all(isinstance(member, kind) for member in value):
        return cast("frozenset[T]", value)  # what is read is kept: no copies
    return frozenset(member for member in value if isinstance(member, kind))


def _map(row: Row, column: str) -> Mapping[str, str]:
    value = row.columns.get(column, {})
    if not isinstance(value, Mapping):
        raise DecodeError(f"{row.table}.{column}", f"{value!r} is no map")
    if all(isinstance(key, str) and isinstance(member, str) for key, member in value.items()):
        return cast("Mapping[str, str]", value)
    return {str(key): str(member) for key, member in value.items()}
