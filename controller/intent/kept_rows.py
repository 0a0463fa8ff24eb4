# SPDX-License-Identifier: Apache-2.0
"""What the controller keeps beside what users declare, as rows, and back, exactly. Pure."""

from __future__ import annotations

from uuid import UUID

from controller.intent.model import CapabilitySpec, Kind, RetiredSlotSpec, RolloutSpec, RolloutStage
from controller.intent.row import Reference, Row
from ovs_geneve.openflow.tlv_table import TlvMap
from ovs_geneve.ovsdb.operations import Input, NamedUuid


def encode_capability(spec: CapabilitySpec, host: UUID | NamedUuid) -> dict[str, Input]:
    """Return the columns of what a host can do."""
    return {
        "host": host,
        "ovs_version": spec.ovs_version,
        "datapath": spec.datapath,
        "kernel": spec.kernel,
        "max_option_bytes": spec.max_option_bytes,
        "max_options": spec.max_options,
        "critical": spec.critical,
        "foreign": frozenset(map(encode_tlv_map, spec.foreign)),
        "lacks": frozenset(spec.lacks),
    }


def decode_capability(row: Row) -> CapabilitySpec:
    """Read what a host can do back."""
    return CapabilitySpec(
        ovs_version=row.text("ovs_version"),
        datapath=row.text("datapath"),
        kernel=row.text("kernel"),
        max_option_bytes=row.number("max_option_bytes"),
        max_options=row.number("max_options"),
        critical=row.truth("critical"),
        foreign=tuple(sorted(map(decode_tlv_map, row.texts("foreign")))),
        lacks=tuple(sorted(row.texts("lacks"))),
    )


def encode_rollout(spec: RolloutSpec, row_of: Reference) -> dict[str, Input]:
    """Return the columns of a rollout."""
    return {
        "network": row_of(Kind.NETWORK, spec.network),
        "schema": row_of(Kind.OPTION_SCHEMA, spec.schema),
        "incoming": spec.incoming,
        "stage": spec.stage.value,
        "reason": spec.reason,
    }


def decode_rollout(row: Row) -> RolloutSpec:
    """Read a rollout back."""
    return RolloutSpec(
        network=row.referred("network").name,
        schema=row.referred("schema").name,
        incoming=row.truth("incoming"),
        stage=RolloutStage(row.text("stage")),
        reason=row.text("reason"),
    )


def decode_retired_slot(row: Row) -> RetiredSlotSpec:
    """Read a retired slot back."""
    return RetiredSlotSpec(tlv_map=decode_tlv_map(row.text("tlv_map")))


def encode_tlv_map(one: TlvMap) -> str:
    """Return a mapping as CLASS/TYPE/LENGTH/INDEX."""
    return f"{one.option_class:#06x}/{one.option_type:#04x}/{one.length}/{one.index}"


def decode_tlv_map(text: str) -> TlvMap:
    """Read a mapping back."""
    option_class, option_type, length, index = text.split("/")
    return TlvMap(
        option_class=int(option_class, 16),
        option_type=int(option_type, 16),
        length=int(length),
        index=int(index),
    )
