# SPDX-License-Identifier: Apache-2.0
"""What every host of the lab is: a namespace with a leg in the underlay and one in the control network."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_interface
from pathlib import Path
from typing import ClassVar

from controller.lab import commands, links, namespaces
from controller.lab.errors import LabError
from controller.lab.settings import (
    Datapath,
    Underlay,
    control_address,
    control_prefix,
    endpoint_address,
    endpoint_mac,
    host_namespace,
    underlay_network,
)

UNDERLAY_LINK = "u0"
CONTROL_LINK = "c0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A host of the lab, running or not; two values for the same host are equal."""

    prefix: ClassVar[str]
    "Of the names of hosts of this kind."

    lab: str
    number: int
    "1 for hv1 or lx1."
    directory: Path
    "What its programs write."
    underlay: Underlay
    datapath: Datapath
    "Of hosts with Open vSwitch; it also says whether workloads have to finish their packets."
    mtu: int
    "Of the underlay."

    @property
    def name(self) -> str:
        """The host's name."""
        return f"{self.prefix}{self.number}"

    @property
    def address_number(self) -> int:
        """The last part of its addresses."""
        return self.number

    @property
    def namespace(self) -> str:
        """The network namespace."""
        return host_namespace(self.lab, self.name)

    @property
    def endpoint(self) -> IPv4Address | IPv6Address:
        """The tunnel endpoint's address in the underlay."""
        return endpoint_address(self.underlay, self.address_number)

    @property
    def endpoint_mac(self) -> str:
        """The MAC address behind the tunnel endpoint."""
        return endpoint_mac(self.address_number)

    @property
    def endpoint_link(self) -> str:
        """The interface that carries the endpoint's address."""
        return UNDERLAY_LINK

    @property
    def environment(self) -> dict[str, str]:
        """What makes programs talk to this host's daemons."""
        return {}

    def run(self, *arguments: str, timeout: float = 30.0) -> str:
        """Run a program on the host and return what it prints. Raises LabError when it fails."""
        try:
            return commands.run(
                arguments, namespace=self.namespace, environment=self.environment, timeout=timeout
            ).stdout
        except LabError as error:
            raise LabError(f"{self.name}: {error.message}", error.hint) from error

    def build(self) -> None:
        """Give the host its addresses, in a namespace that the fabric has prepared, and what else it has."""
        self.directory.mkdir(exist_ok=True)
        namespaces.inside(self.namespace, self._legs)
        self.equip()

    def equip(self) -> None:
        """Start what runs on it."""

    def address_endpoint(self) -> None:
        """Give the endpoint its address; to be called inside the host's namespace."""
        link = self.endpoint_link
        if self.underlay is Underlay.IPV6:
            links.enable_ipv6(link)
        links.set_up(link)
        links.add_addresses(
            link, [ip_interface(f"{self.endpoint}/{underlay_network(self.underlay).prefixlen}")]
        )

    def _legs(self) -> None:
        control = ip_interface(f"{control_address(self.address_number)}/{control_prefix()}")
        links.add_addresses(CONTROL_LINK, [control])
        links.set_up(CONTROL_LINK)
        links.set_up(UNDERLAY_LINK)
        if self.endpoint_link == UNDERLAY_LINK:
            self.address_endpoint()
