# SPDX-License-Identifier: Apache-2.0
"""Everything users declared, at one revision.

An `Intent` never changes: `with_changes` returns the next one and shares with it what stayed the same, so
that a change costs what it touches and readers keep the revision they began with. It finds and counts; what
may be stored is decided in `commands.py`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import cast

from immutables import Map

from controller.intent.index import (
    NO_MEMBERS,
    Index,
    address_term,
    between_term,
    condition_term,
    decision_terms,
    size_term,
)
from controller.intent.model import (
    Address,
    AnyObject,
    BindingSpec,
    CapabilitySpec,
    Change,
    Direction,
    GroupSpec,
    HostSpec,
    Kind,
    NetworkSpec,
    Object,
    ObjectKey,
    OptionPolicySpec,
    OptionSchemaSpec,
    PolicySpec,
    PortSpec,
    RetiredSlotSpec,
    RolloutSpec,
)
from controller.intent.policy_size import MAX_POLICY_FLOWS

Table = Map[str, AnyObject]

NO_KEY = ObjectKey(0)
"No object has it: what `Intent.last_key` is before the first object."

_EMPTY: Table = Map()


def _no_tables() -> Map[Kind, Table]:
    return Map((kind, _EMPTY) for kind in Kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """The objects by kind and name, and what finds them otherwise; `Intent()` is the empty one."""

    revision: int = 0
    last_key: ObjectKey = NO_KEY
    "The highest key ever given; keys are never given twice."
    tables: Map[Kind, Table] = field(default_factory=_no_tables)
    index: Index = field(default_factory=Index)

    @classmethod
    def of(cls, objects: Iterable[AnyObject], revision: int, last_key: int) -> Intent:
        """Build the whole from its objects."""
        objects = tuple(objects)
        by_kind = dict[Kind, dict[str, AnyObject]]()
        for held in objects:
            by_kind.setdefault(held.kind, {})[held.name] = held
        return cls(
            revision=revision,
            last_key=ObjectKey(max(last_key, max((held.key for held in objects), default=0))),
            tables=_no_tables().update({kind: Map(named) for kind, named in by_kind.items()}),
            index=Index.of(objects),
        )

    def with_changes(self, changes: Iterable[Change], revision: int) -> Intent:
        """Return the intent after the changes, in the order they were decided."""
        changes = tuple(changes)
        by_kind = dict[Kind, list[Change]]()
        for change in changes:
            by_kind.setdefault(change.kind, []).append(change)
        tables = {kind: _changed(self.objects(kind), of_kind) for kind, of_kind in by_kind.items()}
        keys = (change.new.key for change in changes if change.new is not None)
        return Intent(
            revision=revision,
            last_key=max(self.last_key, max(keys, default=NO_KEY)),
            tables=self.tables.update(tables),
            index=self.index.with_changes(changes),
        )

    @property
    def hosts(self) -> Map[str, Object[HostSpec]]:
        """The hosts by name."""
        return cast("Map[str, Object[HostSpec]]", self.objects(Kind.HOST))

    @property
    def networks(self) -> Map[str, Object[NetworkSpec]]:
        """The virtual networks by name."""
        return cast("Map[str, Object[NetworkSpec]]", self.objects(Kind.NETWORK))

    @property
    def ports(self) -> Map[str, Object[PortSpec]]:
        """The logical ports by name."""
        return cast("Map[str, Object[PortSpec]]", self.objects(Kind.PORT))

    @property
    def option_schemas(self) -> Map[str, Object[OptionSchemaSpec]]:
        """The option schemas by name."""
        return cast("Map[str, Object[OptionSchemaSpec]]", self.objects(Kind.OPTION_SCHEMA))

    @property
    def option_policies(self) -> Map[str, Object[OptionPolicySpec]]:
        """The option policies by name."""
        return cast("Map[str, Object[OptionPolicySpec]]", self.objects(Kind.OPTION_POLICY))

    @property
    def bindings(self) -> Map[str, Object[BindingSpec]]:
        """Where ports are plugged, by the name of the port."""
        return cast("Map[str, Object[BindingSpec]]", self.objects(Kind.BINDING))

    @property
    def groups(self) -> Map[str, Object[GroupSpec]]:
        """The groups of ports by name."""
        return cast("Map[str, Object[GroupSpec]]", self.objects(Kind.GROUP))

    @property
    def policies(self) -> Map[str, Object[PolicySpec]]:
        """The policies between groups by name."""
        return cast("Map[str, Object[PolicySpec]]", self.objects(Kind.POLICY))

    @property
    def capabilities(self) -> Map[str, Object[CapabilitySpec]]:
        """What hosts can do, by the name of the host."""
        return cast("Map[str, Object[CapabilitySpec]]", self.objects(Kind.CAPABILITY))

    @property
    def rollouts(self) -> Map[str, Object[RolloutSpec]]:
        """The options that are on their way into a network or out of it."""
        return cast("Map[str, Object[RolloutSpec]]", self.objects(Kind.ROLLOUT))

    @property
    def retired_slots(self) -> Map[str, Object[RetiredSlotSpec]]:
        """The slots that rest before they are given again."""
        return cast("Map[str, Object[RetiredSlotSpec]]", self.objects(Kind.RETIRED_SLOT))

    def objects(self, kind: Kind) -> Table:
        """Return the objects of a kind by name, in no order."""
        return self.tables[kind]

    def get(self, kind: Kind, name: str) -> AnyObject | None:
        """Find an object by name."""
        return self.objects(kind).get(name)

    @property
    def linux_hosts(self) -> Map[str, None]:
        """The names of the hosts without Open vSwitch."""
        return self.group("linux-hosts")

    def host_by_endpoint(self, address: Address) -> str | None:
        """Find the host that has the tunnel endpoint."""
        return self._who("endpoint", *address_term(address))

    def host_by_system_id(self, system_id: str) -> str | None:
        """Find the host that calls in under this external_ids:system-id."""
        return self._who("system-id", system_id)

    def host_by_ovsdb(self, remote: str) -> str | None:
        """Find the host whose OVSDB is dialled there."""
        return self._who("ovsdb", remote)

    def network_by_vni(self, vni: int) -> str | None:
        """Find the network that has the VNI."""
        return self._who("vni", vni)

    def port_by_mac(self, network: str, mac: int) -> str | None:
        """Find the port of the network that has the MAC."""
        return self._who("mac", network, mac)

    def port_by_address(self, network: str, address: Address) -> str | None:
        """Find the port of the network that has the IP address."""
        return self._who("address", network, *address_term(address))

    def port_by_interface_id(self, interface_id: str) -> str | None:
        """Find the port that an interface with this external_ids:iface-id is."""
        return self._who("interface-id", interface_id)

    def schema_by_slot(self, slot: int) -> str | None:
        """Find the option schema that has the tun_metadata slot."""
        return self._who("slot", slot)

    def schema_by_type(self, option_class: int, option_type: int) -> str | None:
        """Find the option schema of this class and type."""
        return self._who("type", option_class, option_type)

    def policy_by_condition(self, policy: OptionPolicySpec) -> str | None:
        """Find the policy that selects and matches the same at the same priority, whatever its action."""
        return self._who(*condition_term(policy))

    def policies_deciding(self, policy: OptionPolicySpec) -> frozenset[str]:
        """Return the policies that would have a flow in common with this one: all but one of them must go."""
        found = (self._who(*term) for term in decision_terms(policy))
        return frozenset(name for name in found if name is not None)

    def flows_of_policies(self, network: str, direction: Direction, at_most: int) -> int:
        """Return how many flows a network's option policies of a direction are, none of them more than `at_most`."""
        sizes = range(1, at_most + 1)
        return sum(size * len(self.group(*size_term(network, direction, size))) for size in sizes)

    def chain_through(self, port: str) -> str | None:
        """Find the option policy that sends packets through the port and on."""
        return self._who("chain-port", port)

    def policy_between(self, policy: PolicySpec) -> str | None:
        """Find the policy between groups that speaks of the same packets at the same priority."""
        return self._who(*between_term(policy))

    def group_by_identity(self, identity: int) -> str | None:
        """Find the group that has the identity."""
        return self._who("identity", identity)

    def retired_by_slot(self, slot: int) -> str | None:
        """Find the retired slot of this number."""
        return self._who("retired", slot)

    def retired_by_type(self, option_class: int, option_type: int) -> str | None:
        """Find the retired slot of an option of this class and type."""
        return self._who("retired-type", option_class, option_type)

    def ports_of(self, network: str) -> Map[str, None]:
        """Return the names of the network's ports."""
        return self.group("ports-of", network)

    def policies_of(self, network: str) -> Map[str, None]:
        """Return the names of the network's option policies."""
        return self.group("policies-of", network)

    def policies_to(self, port: str) -> Map[str, None]:
        """Return the names of the option policies that name this port as where packets go."""
        return self.group("policies-to", port)

    def policies_from(self, port: str) -> Map[str, None]:
        """Return the names of the option policies that name this port as where packets come from."""
        return self.group("policies-from", port)

    def policies_sending_to(self, port: str) -> Map[str, None]:
        """Return the names of the option policies that mirror or steer packets to this port."""
        return self.group("policies-sending-to", port)

    def policies_naming(self, port: str) -> Map[str, None]:
        """Return the names of the option policies that speak of this port in any way."""
        return self.group("policies-naming", port)

    def option_policies_of_group(self, group: str) -> Map[str, None]:
        """Return the names of the option policies that speak of the group."""
        return self.group("option-policies-of-group", group)

    def policies_between(self, network: str) -> Map[str, None]:
        """Return the names of the network's policies between groups."""
        return self.group("policies-between", network)

    def policies_of_group(self, group: str) -> Map[str, None]:
        """Return the names of the policies that name the group, on either side."""
        return self.group("policies-of-group", group)

    def policies_to_group(self, network: str, group: str) -> Map[str, None]:
        """Return the names of the network's policies that say who may talk to the group."""
        return self.group("policies-to-group", network, group)

    def flows_between(self, network: str) -> int:
        """Return how many flows the network's policies between groups come to on a host."""
        sizes = range(1, MAX_POLICY_FLOWS + 1)
        return sum(size * len(self.group("policies-of-size", network, size)) for size in sizes)

    def members_of(self, group: str) -> Map[str, None]:
        """Return the names of the ports in a group."""
        return self.group("members-of", group)

    def rollouts_of(self, network: str) -> Map[str, None]:
        """Return the names of the rollouts under way in a network."""
        return self.group("rollouts-of", network)

    def rollouts_for(self, schema: str) -> Map[str, None]:
        """Return the names of the rollouts under way for an option schema."""
        return self.group("rollouts-for", schema)

    def schemas_replacing(self, schema: str) -> Map[str, None]:
        """Return the option schemas that call themselves the next version of this one."""
        return self.group("replacing", schema)

    def ports_on(self, host: str) -> Map[str, None]:
        """Return the names of the ports that are plugged into the host."""
        return self.group("ports-on", host)

    def networks_using(self, schema: str) -> Map[str, None]:
        """Return the names of the networks whose packets carry the option."""
        return self.group("networks-using", schema)

    def targets_on(self, host: str) -> Map[str, None]:
        """Return the names of the networks that the host is a target of."""
        return self.group("targets-on", host)

    def targets_behind(self, gateway: Address) -> Map[str, None]:
        """Return the names of the networks whose load balancer has the address."""
        return self.group("targets-behind", *address_term(gateway))

    @property
    def networks_demanding_mtu(self) -> Map[str, None]:
        """The names of the networks that say what they must carry."""
        return self.group("demanding-mtu")

    def users_of_option(self, network: str, schema: str) -> Map[str, None]:
        """Return the option policies (kind/name) whose actions speak of the option as a whole in this network."""
        return self.group("option", network, schema)

    def users_of_field(self, network: str, schema: str, field_name: str) -> Map[str, None]:
        """Return the network, ports and policies (kind/name) that speak of the field in this network."""
        return self.group("field", network, schema, field_name)

    def host_of(self, port: str) -> str | None:
        """Find the host that the port is plugged into."""
        binding = self.bindings.get(port)
        return None if binding is None else binding.spec.host

    def group(self, *term: Hashable) -> Map[str, None]:
        """Return the members of a group of the index; its size costs nothing."""
        return self.index.groups.get(term, NO_MEMBERS)

    def _who(self, *term: Hashable) -> str | None:
        return self.index.unique.get(term)


def merged(changes: Iterable[Change]) -> tuple[Change, ...]:
    """Fold changes of the same object into one; one that comes to nothing is left out.

    An object that was deleted and made again shows as a change between two keys.
    """
    folded = dict[tuple[Kind, str], Change]()
    for change in changes:
        name = change.kind, change.name
        first = folded.get(name, change)
        folded[name] = Change(kind=change.kind, name=change.name, old=first.old, new=change.new)
    return tuple(change for change in folded.values() if change.old != change.new)


def difference(before: Intent, after: Intent) -> tuple[Change, ...]:
    """Return what leads from one intent to another; costs the whole, for when nobody noted the changes."""
    return tuple(
        Change(kind=kind, name=name, old=old, new=new)
        for kind in Kind
        for name in sorted({*before.objects(kind), *after.objects(kind)})
        if (old := before.get(kind, name)) != (new := after.get(kind, name))
    )


def _changed(table: Table, changes: Iterable[Change]) -> Table:
    mutation = table.mutate()
    for change in changes:
        if change.new is not None:
            mutation.set(change.name, change.new)
        else:
            mutation.pop(change.name, None)
    return mutation.finish()
