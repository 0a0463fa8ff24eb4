# SPDX-License-Identifier: Apache-2.0
"""One change of the kernel, as a value: what `plan` makes and `apply` carries out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ovs_geneve.kernel.objects import Filter, KernelObject, Link
from ovs_geneve.kernel.observe import Preference


class Verb(Enum):
    """What is done with an object."""

    PUT = "put"
    "Be there as described: made, or changed in place."
    RAISE = "raise"
    "A link goes up."
    REMOVE = "remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class Qdisc:
    """The clsact qdisc of a device: the place of its filters."""

    device: str


StepObject = KernelObject | Qdisc | Preference


@dataclass(frozen=True, slots=True)
class Step:
    """A change of one object."""

    verb: Verb
    object: StepObject
    new: bool = True
    "PUT of a link: made new, not changed."

    def __str__(self) -> str:
        return f"{self.verb.value} {subject(self.object)}"


def put(one: StepObject, *, new: bool = True) -> Step:
    """Return the step that makes an object be as described."""
    return Step(Verb.PUT, one, new)


def remove(one: StepObject) -> Step:
    """Return the step that ends an object."""
    return Step(Verb.REMOVE, one)


def raised(one: Link) -> Step:
    """Return the step that brings a link up."""
    return Step(Verb.RAISE, one)


def subject(one: StepObject) -> str:
    """Name an object as people would: "geneve device og-geneve"."""
    match one:
        case Link():
            return f"{type(one.kind).__struct_config__.tag} device {one.name}"
        case Qdisc():
            return f"clsact qdisc of {one.device}"
        case Preference() | Filter():
            direction = "egress" if one.egress else "ingress"
            place = f"chain {one.chain} preference {one.preference:#x}"
            handle = f" handle {one.handle:#x}" if isinstance(one, Filter) else ""
            return f"filter of {one.device} {direction} {place}{handle}"
    return _plain_subject(one)


def _plain_subject(one: StepObject) -> str:
    kind = type(one).__name__.lower()
    fields = ("name", "path", "device", "mac", "address", "prefix", "master")
    values = [str(getattr(one, field)) for field in fields if getattr(one, field, None)]
    return f"{kind} {' '.join(values)}"
