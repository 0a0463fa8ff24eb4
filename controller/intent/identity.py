# SPDX-License-Identifier: Apache-2.0
"""The built-in option that carries the identity of the sender's group: 4 bytes, which any NIC can offload.

    0                   1                   2                   3
    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---------------------------------------------------------------+
    |           0, for what is to come          |      group        |   class 0xff6e, type 0x01, not critical
    +---------------------------------------------------------------+

It is declared when the first group is. A network carries it like any other option; 0 is a sender without a group.
"""

from __future__ import annotations

from controller.intent.model import OptionSchemaSpec
from ovs_geneve.geneve.fields import FieldKind, OptionField, OptionLayout
from ovs_geneve.values import option_class, option_type

IDENTITY = "identity"
"The name of the schema."

GROUP_FIELD = "group"

MAX_IDENTITY = 0xFFFF

LAYOUT = OptionLayout(
    name=IDENTITY,
    option_class=option_class(0xFF6E),
    option_type=option_type(0x01),
    length=4,
    fields=(OptionField(name=GROUP_FIELD, kind=FieldKind.UINT, offset=16, bits=16),),
)

SPEC = OptionSchemaSpec(layout=LAYOUT)
"As it is declared; the allocator gives it a slot."


def group_in(data: bytes) -> int:
    """Return the identity that the option's data carries; 0 where there is none."""
    return int.from_bytes(data) & MAX_IDENTITY
