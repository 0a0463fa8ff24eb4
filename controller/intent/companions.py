# SPDX-License-Identifier: Apache-2.0
"""What a change brings along by itself. Pure.

the first group          ─► the built-in option schema that carries identities
a network's options      ─► a rollout for each option that comes or goes, if the network has ports; one that was
                            rolled back begins anew when the network is put again
a schema that goes       ─► its slot rests, if there are hosts that may have it mapped
a schema that comes back ─► the slot rests no more
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from controller.errors import Conflict
from controller.intent import identity
from controller.intent.allocate import next_key
from controller.intent.checks import option_schemas
from controller.intent.intent import Intent
from controller.intent.model import (
    AnyObject,
    Change,
    GroupSpec,
    Kind,
    NetworkSpec,
    Object,
    OptionSchemaSpec,
    RetiredSlotSpec,
    RolloutSpec,
    RolloutStage,
    Spec,
)
from ovs_geneve.openflow.tlv_table import TlvMap


def companions(intent: Intent, old: AnyObject | None, new: AnyObject | None) -> tuple[Change, ...]:
    """Return the changes that go with one that was decided on, in an order in which they can be stored."""
    held = new or old
    assert held is not None
    match held.spec:
        case GroupSpec() if new is not None and old is not new:
            made = _identity_schema(intent)
        case NetworkSpec() if old is not None and new is not None:
            made = _rollouts(intent, old, new)
        case OptionSchemaSpec() if new is None or old is None:
            made = _resting(intent, old, new)
        case _:
            return ()
    return tuple(made)


def rollout_name(network: str, schema: str) -> str:
    """Return the name of an option's rollout in a network."""
    return f"{network}:{schema}"


def tlv_map_of(schema: OptionSchemaSpec) -> TlvMap:
    """Return what maps a stored schema's option to its slot."""
    assert schema.slot is not None  # the allocator gave it one
    layout = schema.layout
    return TlvMap(
        option_class=layout.option_class,
        option_type=layout.option_type,
        length=layout.length,
        index=schema.slot,
    )


def _identity_schema(intent: Intent) -> Iterator[Change]:
    held = intent.option_schemas.get(identity.IDENTITY)
    if held is not None and held.spec.layout == identity.LAYOUT:
        return
    if held is not None:
        # Of a store older than groups, where the name was anybody's.
        reason = (
            f"{held.id} is not the option that carries identities: delete it, and declare it by another name"
        )
        raise Conflict("option-reserved", reason, holder=held.id)
    spec = option_schemas.settle(intent, identity.IDENTITY, identity.SPEC)
    yield _made(intent, Kind.OPTION_SCHEMA, identity.IDENTITY, spec, further=1)
    yield from _rest_ends(intent, spec)


def _rollouts(intent: Intent, old: AnyObject, new: AnyObject) -> Iterator[Change]:
    assert isinstance(old.spec, NetworkSpec)
    assert isinstance(new.spec, NetworkSpec)
    before, after = old.spec.options, new.spec.options
    further = count()
    come = [
        (schema, True) for schema in after if schema not in before or _is_rolled_back(intent, new, schema)
    ]
    go = [(schema, False) for schema in before if schema not in after]
    for schema, incoming in (*come, *go):
        name = rollout_name(new.name, schema)
        held = intent.rollouts.get(name)
        if held is None and not intent.ports_of(new.name):
            continue  # no packet carries it, so nobody can misread it
        spec = RolloutSpec(
            network=new.name,
            schema=schema,
            incoming=incoming,
            stage=RolloutStage.RECEIVERS if incoming else RolloutStage.SENDERS,
        )
        yield _made(intent, Kind.ROLLOUT, name, spec, further=next(further), old=held)


def _is_rolled_back(intent: Intent, network: AnyObject, schema: str) -> bool:
    held = intent.rollouts.get(rollout_name(network.name, schema))
    return held is not None and held.spec.stage is RolloutStage.ROLLED_BACK


def _resting(intent: Intent, old: AnyObject | None, new: AnyObject | None) -> Iterator[Change]:
    if new is not None:
        assert isinstance(new.spec, OptionSchemaSpec)
        yield from _rest_ends(intent, new.spec)
    elif old is not None and intent.hosts:
        assert isinstance(old.spec, OptionSchemaSpec)
        tlv_map = tlv_map_of(old.spec)
        name = f"slot-{tlv_map.index}"
        yield _made(intent, Kind.RETIRED_SLOT, name, RetiredSlotSpec(tlv_map=tlv_map))


def _rest_ends(intent: Intent, spec: OptionSchemaSpec) -> Iterator[Change]:
    rests = intent.retired_by_type(*spec.layout.key)
    if rests is not None:
        yield Change(kind=Kind.RETIRED_SLOT, name=rests, old=intent.retired_slots[rests], new=None)


def _made(
    intent: Intent, kind: Kind, name: str, spec: Spec, *, further: int = 0, old: AnyObject | None = None
) -> Change:
    # The object that was asked for has the next key, if it is new; then these.
    key = old.key if old is not None else next_key(intent, 1 + further)
    new: AnyObject = Object(kind=kind, name=name, key=key, spec=spec, revision=intent.revision + 1)
    return Change(kind=kind, name=name, old=old, new=new)
