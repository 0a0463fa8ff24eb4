# SPDX-License-Identifier: Apache-2.0
"""Remarks on what a decoder must accept and we never send.

RFC 8926 tells a receiver to ignore some things. A decoder that drops them in silence hides the
peer's mistakes from whoever reads a trace, so each leaves an `Oddity` instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class OddityKind(Enum):
    """What was met; the value is the text shown to people."""

    RESERVED_FLAGS = "reserved bits beside O and C are set"
    RESERVED_BYTE = "the reserved byte after the VNI is set"
    RESERVED_OPTION_BITS = "reserved bits beside the option length are set"
    C_BIT_MISSING = "the C bit is clear although an option is critical"
    C_BIT_ALONE = "the C bit is set although no option is critical"
    DUPLICATE_OPTION = "an earlier option has the same class and type"
    NOT_AN_ETHERTYPE = "the protocol type is below 0x0600"


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddity:
    """One remark on a decoded packet."""

    kind: OddityKind
    where: str
    "The field, as `DecodeError.where` names it."
    value: int
    "The bits that were found there."

    def __str__(self) -> str:
        return f"{self.where}: {self.kind.value} ({self.value:#x})"
