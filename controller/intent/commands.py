# SPDX-License-Identifier: Apache-2.0
"""What is asked of the intent, and what would come of it. Nothing is changed here.

    command ── evaluate(intent, command) ──► Decision: the changes to make, and the object as it then is
                                       └──► IntentError: a code, a pointer into the document, the holder

A PUT is create-or-replace: sent twice it changes nothing the second time, and the revision stays. What a change brings
along (an option's way into a network, a slot that rests) is in `companions.py`. `Bind` and `Unbind`, `Record` and
`Forget` come from the controller's own eyes, not from users.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from controller.errors import Invalid, NotFound, PreconditionRequired, StaleRevision
from controller.intent.allocate import next_key
from controller.intent.checks import (
    abilities,
    groups,
    hosts,
    networks,
    option_policies,
    option_schemas,
    policies,
    ports,
)
from controller.intent.checks.documents import Labels, check_name, settle_labels
from controller.intent.companions import companions
from controller.intent.intent import Intent
from controller.intent.model import (
    AnyObject,
    BindingSpec,
    CapabilitySpec,
    Change,
    GroupSpec,
    HostSpec,
    Kind,
    NetworkSpec,
    Object,
    OptionPolicySpec,
    OptionSchemaSpec,
    PolicySpec,
    PortSpec,
    RetiredSlotSpec,
    RolloutSpec,
    Spec,
    object_id,
)

_KINDS: dict[type[Spec], Kind] = {
    HostSpec: Kind.HOST,
    NetworkSpec: Kind.NETWORK,
    PortSpec: Kind.PORT,
    OptionSchemaSpec: Kind.OPTION_SCHEMA,
    OptionPolicySpec: Kind.OPTION_POLICY,
    GroupSpec: Kind.GROUP,
    PolicySpec: Kind.POLICY,
}
"What users may write."

_RECORDED: dict[type[Spec], Kind] = {CapabilitySpec: Kind.CAPABILITY, RolloutSpec: Kind.ROLLOUT}
"What the controller records."

_FORGOTTEN = frozenset((Kind.ROLLOUT, Kind.RETIRED_SLOT))
"What the controller takes away when it is over."


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Make the object so, whether or not it exists."""

    kind: Kind
    name: str
    spec: Spec
    labels: Labels = ()
    if_match: int | None = None
    "The revision the object must have (If-Match)."
    if_none_match: bool = False
    "Refuse when the object exists (If-None-Match: *)."


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Take the object away."""

    kind: Kind
    name: str
    if_match: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """Record that a port is plugged into a host; it leaves the one it was on."""

    port: str
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unbind:
    """Record that a port is plugged in nowhere."""

    port: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Record what the controller found out: what a host can do, how far a rollout is."""

    name: str
    spec: CapabilitySpec | RolloutSpec
    seen: int | None = None
    "The revision of the record that this was found out from: on another one it means nothing."


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """Take away a record of something that is over: a rollout, a slot's rest."""

    kind: Kind
    name: str
    seen: int | None = None
    "The revision of the record that is over."


Command = Put | Delete | Bind | Unbind | Record | Forget


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a command comes to."""

    changes: tuple[Change, ...] = ()
    "Empty when everything already is as asked."
    result: AnyObject | None = None
    "The object as it is afterwards; None when it is gone."
    created: bool = False


def evaluate(intent: Intent, command: Command, *, require_match: bool = False) -> Decision:
    """Decide on a command against the intent; raise an IntentError when it cannot be.

    With `require_match`, an object that exists is replaced or deleted only by who names its revision.
    """
    match command:
        case Put():
            return _put(intent, command, require_match)
        case Delete():
            return _delete(intent, command, require_match)
        case Bind():
            return _bind(intent, command)
        case Unbind():
            return _unbind(intent, command)
        case Record():
            return _record(intent, command)
        case Forget():
            return _forget(intent, command)
        case _:
            assert_never(command)


def _put(intent: Intent, command: Put, require_match: bool) -> Decision:
    if _KINDS.get(type(command.spec)) is not command.kind:
        raise Invalid("kind-mismatch", f"this is no {command.kind}", pointer="/kind")
    check_name(command.name)
    held = intent.get(command.kind, command.name)
    _check_absent(held, command)
    _check_revision(held, command, require_match)
    spec = _settle(intent, command.name, command.spec)
    labels = settle_labels(command.labels)
    if held is not None and (held.spec, held.labels) == (spec, labels):
        return Decision(changes=companions(intent, held, held), result=held)
    new = Object(
        kind=command.kind,
        name=command.name,
        key=held.key if held is not None else next_key(intent),
        spec=spec,
        revision=intent.revision + 1,
        labels=labels,
    )
    abilities.check_change(intent, held, new)
    more = companions(intent, held, new)
    return Decision(changes=(*more, _change(held, new)), result=new, created=held is None)


def _delete(intent: Intent, command: Delete, require_match: bool) -> Decision:
    held = intent.get(command.kind, command.name)
    if held is None or command.kind not in _KINDS.values():
        raise NotFound("not-found", f"there is no {object_id(command.kind, command.name)}")
    _check_revision(held, command, require_match)
    more = companions(intent, held, None)
    return Decision(changes=(*_dependent(intent, held), *more, _change(held, None)))


def _bind(intent: Intent, command: Bind) -> Decision:
    port = intent.ports.get(command.port)
    if port is None:
        raise NotFound("not-found", f"there is no {object_id(Kind.PORT, command.port)}")
    if command.host not in intent.hosts:
        raise NotFound("not-found", f"there is no {object_id(Kind.HOST, command.host)}")
    held = intent.get(Kind.BINDING, command.port)
    spec = BindingSpec(host=command.host)
    if held is not None and held.spec == spec:
        return Decision(result=held)
    abilities.check_bind(intent, command.host, port)
    new: AnyObject = Object(
        kind=Kind.BINDING, name=command.port, key=port.key, spec=spec, revision=intent.revision + 1
    )
    return Decision(changes=(_change(held, new),), result=new, created=held is None)


def _unbind(intent: Intent, command: Unbind) -> Decision:
    held = intent.get(Kind.BINDING, command.port)
    return Decision(changes=() if held is None else (_change(held, None),))


def _record(intent: Intent, command: Record) -> Decision:
    kind = _RECORDED[type(command.spec)]
    held = intent.get(kind, command.name)
    # A rollout may have ended, or its network, while something about it was being found out.
    about: AnyObject | None = intent.hosts.get(command.name) if kind is Kind.CAPABILITY else held
    if about is None:
        missing = Kind.HOST if kind is Kind.CAPABILITY else kind
        raise NotFound("not-found", f"there is no {object_id(missing, command.name)}")
    _check_seen(held, command)
    if held is not None and held.spec == command.spec:
        return Decision(result=held)
    new: AnyObject = Object(
        kind=kind,
        name=command.name,
        key=about.key,
        spec=command.spec,
        revision=intent.revision + 1,
    )
    return Decision(changes=(_change(held, new),), result=new, created=held is None)


def _forget(intent: Intent, command: Forget) -> Decision:
    held = intent.get(command.kind, command.name)
    if command.kind not in _FORGOTTEN or held is None:
        return Decision()
    _check_seen(held, command)
    return Decision(changes=(_change(held, None),))


def _check_absent(held: AnyObject | None, command: Put) -> None:
    if command.if_none_match and held is not None:
        raise StaleRevision("exists", f"{held.id} exists at revision {held.revision}", holder=held.id)


def _check_seen(held: AnyObject | None, command: Record | Forget) -> None:
    if held is not None and command.seen not in (None, held.revision):
        reason = f"{held.id} is at revision {held.revision}, not {command.seen}"
        raise StaleRevision("revision-stale", reason, holder=held.id)


def _check_revision(held: AnyObject | None, command: Put | Delete, require_match: bool) -> None:
    wanted = command.if_match
    if wanted is None:
        if require_match and held is not None:
            raise PreconditionRequired("revision-missing", f"say which revision of {held.id} to replace")
        return
    if held is None:
        raise StaleRevision("revision-stale", f"{object_id(command.kind, command.name)} does not exist")
    if held.revision != wanted:
        raise StaleRevision(
            "revision-stale", f"{held.id} is at revision {held.revision}, not {wanted}", holder=held.id
        )


def _settle(intent: Intent, name: str, spec: Spec) -> Spec:
    match spec:
        case HostSpec():
            return hosts.settle(intent, name, spec)
        case NetworkSpec():
            return networks.settle(intent, name, spec)
        case PortSpec():
            return ports.settle(intent, name, spec)
        case OptionSchemaSpec():
            return option_schemas.settle(intent, name, spec)
        case OptionPolicySpec():
            return option_policies.settle(intent, name, spec)
        case GroupSpec():
            return groups.settle(intent, name, spec)
        case PolicySpec():
            return policies.settle(intent, name, spec)
        case BindingSpec() | CapabilitySpec() | RolloutSpec() | RetiredSlotSpec():
            raise Invalid("kind-mismatch", "this is not written by users", pointer="/kind")
        case _:
            assert_never(spec)


def _dependent(intent: Intent, held: AnyObject) -> tuple[Change, ...]:
    """Return what goes with an object; raise Conflict when something in use forbids that it goes."""
    match held.kind:
        case Kind.HOST:
            hosts.check_unused(intent, held.name)
            bindings = tuple(_change(intent.bindings[port], None) for port in intent.ports_on(held.name))
            capability = intent.capabilities.get(held.name)
            return bindings if capability is None else (*bindings, _change(capability, None))
        case Kind.PORT:
            ports.check_unused(intent, held.name)
            binding = intent.bindings.get(held.name)
            return () if binding is None else (_change(binding, None),)
        case Kind.NETWORK:
            networks.check_unused(intent, held.name)
            return tuple(_change(intent.rollouts[name], None) for name in intent.rollouts_of(held.name))
        case Kind.OPTION_SCHEMA:
            option_schemas.check_unused(intent, held.name)
        case Kind.GROUP:
            groups.check_unused(intent, held.name)
        case _:
            pass
    return ()


def _change(old: AnyObject | None, new: AnyObject | None) -> Change:
    one = new or old
    assert one is not None
    return Change(kind=one.kind, name=one.name, old=old, new=new)
