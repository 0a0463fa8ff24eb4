# SPDX-License-Identifier: Apache-2.0
"""Which NICs can be hoped to match and set a set of options in hardware: a first verdict, from lengths alone.

NICs parse few words of options, each of them of its own kind; a set that is not within what a family of them parses is
carried by the host's processors. What a given NIC really takes is told by that NIC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

ANY_NIC_BYTES = 4
"One option of one word: what mlx5 matched from the first (DPDK: rte_flow GENEVE option, one DW)."

LARGE_BYTES = 28
"Seven words in all: mlx5 with FLEX_PARSER_PROFILE_ENABLE=8 (DPDK guides/nics/mlx5.rst)."


class Offload(StrEnum):
    """Where packets with a set of options can be handled."""

    ANY_NIC = "any-nic"
    SOME_NICS = "some-nics"
    SOFTWARE = "software"


@dataclass(frozen=True, slots=True)
class OffloadProfile:
    """A verdict, and why."""

    verdict: Offload
    reason: str


def profile_of(lengths: Sequence[int]) -> OffloadProfile:
    """Judge options by the lengths of their data, in bytes."""
    total = sum(lengths)
    if total <= ANY_NIC_BYTES and len(lengths) <= 1:
        return OffloadProfile(Offload.ANY_NIC, "one option of at most 4 bytes")
    if total <= LARGE_BYTES:
        said = f"{len(lengths)} options" if len(lengths) > 1 else "one option"
        reason = (
            f"{said} with {total} bytes of data: NICs with a flexible parser take up to {LARGE_BYTES} bytes"
        )
        return OffloadProfile(Offload.SOME_NICS, reason)
    return OffloadProfile(
        Offload.SOFTWARE, f"{total} bytes of data: no NIC is known to parse over {LARGE_BYTES}"
    )
