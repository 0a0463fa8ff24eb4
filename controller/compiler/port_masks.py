# SPDX-License-Identifier: Apache-2.0
"""Ranges of ports as terms of matches, a flow each. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from controller.intent.port_masks import port_masks
from controller.intent.rules import PortRange
from ovs_geneve.openflow.fields import Field
from ovs_geneve.openflow.flow import TermLike


def port_terms(field: Field, ranges: tuple[PortRange, ...]) -> Iterator[tuple[TermLike, ...]]:
    """Yield what to match a field on for each flow that these ports take; nothing in one where all ports are meant."""
    for value, mask in port_masks(ranges):
        yield ((field, value, mask),) if mask else ()
