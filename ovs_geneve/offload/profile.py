# SPDX-License-Identifier: Apache-2.0
"""Which NICs can be hoped to take packets with a set of options, in a word and in remarks for whoever lays options out.
Pure.

An option alone is taken to be read by some policy: where none reads it, its network says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ovs_geneve.geneve.lint import Finding, Severity
from ovs_geneve.offload.families import Family, families
from ovs_geneve.offload.verdict import (
    NetworkUse,
    Reason,
    Verdict,
    described,
    receiving,
    sending,
    verdict_of,
)


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


def profile_of(use: NetworkUse) -> OffloadProfile:
    """Judge a network's packets by all families of NICs: both ends have to take them."""
    refused = {family.name: _refusals(family, use) for family in families().values() if family.hardware}
    takers = [name for name, reasons in refused.items() if not reasons]
    why = "; ".join(f"{name} does not: {described(reasons)}" for name, reasons in refused.items() if reasons)
    if not takers:
        return OffloadProfile(Offload.SOFTWARE, f"no NIC is known to take them: {why}")
    if not why:
        return OffloadProfile(Offload.ANY_NIC, "all NICs that are known may take them")
    return OffloadProfile(Offload.SOME_NICS, f"{', '.join(takers)} may take them; {why}")


def lint_offload(use: NetworkUse, what: str) -> tuple[Finding, ...]:
    """Say which families will not take packets because of their options; `what` is what is remarked on."""
    return tuple(_findings(use, what))


def _findings(use: NetworkUse, what: str) -> Iterator[Finding]:
    bare = NetworkUse(underlay=use.underlay, udp_port=use.udp_port)
    for family in families().values():
        otherwise = {reason.code for reason in _refusals(family, bare)}
        reasons = [reason for reason in _refusals(family, use) if reason.code not in otherwise]
        if "no-geneve" in otherwise or not reasons:
            continue
        said = f"{family.title} ({family.name})"
        changes = "; ".join(dict.fromkeys(reason.change for reason in reasons if reason.change))
        message = f"{what} will not offload on {said}: {described(reasons)}" + (
            f" ({changes})" if changes else ""
        )
        yield Finding(code=f"offload-{family.name}", severity=Severity.INFO, message=message)


def _refusals(family: Family, use: NetworkUse) -> list[Reason]:
    both = dict.fromkeys((*sending(family, use), *receiving(family, use)))
    return [reason for reason in both if verdict_of([reason]) is Verdict.NO]
