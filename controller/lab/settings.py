# SPDX-License-Identifier: Apache-2.0
"""What a lab is asked to be, and the few names and numbers that follow from it. Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

from controller.lab.errors import LabError

DEFAULT_PARENT = Path("/run/ovs-geneve/lab")
"Where a lab lives unless it is told otherwise, in a folder of its name."

MAX_HOSTS = 240
"What one /24 underlay holds, less Linux hosts' addresses and the fabric's own."

FIRST_LINUX_NUMBER = MAX_HOSTS + 1
"The host part of the addresses of lx1."

MAX_LINUX_HOSTS = 13

MIN_UNDERLAY_MTU = 1280
"IPv6 refuses links below it (RFC 8200 5)."

FABRIC_NUMBER = 254
"The host part of the fabric's own addresses."

_CONTROL = IPv4Network("10.8.0.0/24")
_MAX_IFNAME = 15
# The longest socket in a host's folder is "ovs-vswitchd.ctl" below "/hv240/"; sun_path holds 107 bytes.
_MAX_DIRECTORY = 107 - len("/hv240/ovs-vswitchd.ctl")
_NAME = re.compile(r"[a-z][a-z0-9]{0,15}")
_PORT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_HOST = re.compile(r"fabric|(hv|lx)\d+")


class Underlay(StrEnum):
    """The address family between tunnel endpoints."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"


class Datapath(StrEnum):
    """Who forwards: the kernel's openvswitch module (system), ovs-vswitchd itself (netdev), the better one."""

    AUTO = "auto"
    SYSTEM = "system"
    NETDEV = "netdev"


_UNDERLAYS: dict[Underlay, IPv4Network | IPv6Network] = {
    Underlay.IPV4: IPv4Network("10.9.0.0/24"),
    Underlay.IPV6: IPv6Network("fd09::/64"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSettings:
    """What to bring up. Raises LabError for what cannot work."""

    name: str = "ovsg"
    "Prefix of every namespace: lower-case letters and digits; no dash, lest one lab's prefix begins another's."
    hosts: int = 3
    linux_hosts: int = 0
    "Without Open vSwitch, each for an agent to keep."
    underlay: Underlay = Underlay.IPV4
    datapath: Datapath = Datapath.AUTO
    directory: Path | None = None
    "Databases, sockets, logs, state; made by `up`, removed by `down`. None: a folder under DEFAULT_PARENT."
    mtu: int = 1600
    "Of the underlay: an inner MTU of 1500 then leaves 50 bytes for options on IPv4, 30 on IPv6."
    parallel: int = 4
    "How many hosts are built at once."

    def __post_init__(self) -> None:
        object.__setattr__(self, "underlay", Underlay(self.underlay))
        object.__setattr__(self, "datapath", Datapath(self.datapath))
        if not _NAME.fullmatch(self.name):
            raise LabError(
                f"{self.name!r} is no name for a lab", "use lower-case letters and digits, at most 16"
            )
        if not 0 <= self.hosts <= MAX_HOSTS:
            raise LabError(f"{self.hosts} hosts", f"a lab has 0 to {MAX_HOSTS}")
        if not 0 <= self.linux_hosts <= MAX_LINUX_HOSTS:
            raise LabError(f"{self.linux_hosts} Linux hosts", f"a lab has 0 to {MAX_LINUX_HOSTS}")
        if not MIN_UNDERLAY_MTU <= self.mtu <= 65535:
            raise LabError(f"an underlay MTU of {self.mtu}", f"use {MIN_UNDERLAY_MTU} to 65535")
        if self.parallel < 1:
            raise LabError(f"{self.parallel} hosts at once", "use 1 or more")
        if len(str(self.home)) > _MAX_DIRECTORY:
            raise LabError(
                f"{self.home} is too long for the Unix sockets in it",
                f"use a path of at most {_MAX_DIRECTORY} bytes",
            )

    @property
    def home(self) -> Path:
        """The directory, absolute."""
        return (self.directory or DEFAULT_PARENT / self.name).absolute()


def host_namespace(lab: str, host: str) -> str:
    """Name the namespace of a host, or of the fabric."""
    return f"{lab}-{host}"


def workload_namespace(lab: str, port: str) -> str:
    """Name the namespace of a workload."""
    return f"{lab}-w-{port}"


def fabric_namespace(lab: str) -> str:
    """Name the namespace that holds the fabric's switch."""
    return f"{lab}-fabric"


def owns_namespace(lab: str, namespace: str) -> bool:
    """Tell whether a namespace belongs to the lab of this name."""
    return namespace.startswith(f"{lab}-")


def underlay_network(underlay: Underlay) -> IPv4Network | IPv6Network:
    """Return the network that tunnel endpoints share."""
    return _UNDERLAYS[underlay]


def endpoint_address(underlay: Underlay, number: int) -> IPv4Address | IPv6Address:
    """Return the tunnel endpoint's address of the host with this number; FABRIC_NUMBER is the switch."""
    # Written in hexadecimal, host 16 of an IPv6 underlay is fd09::10.
    return underlay_network(underlay)[number]


def control_address(number: int) -> IPv4Address:
    """Return a host's address on the control network; FABRIC_NUMBER is where a controller listens."""
    return _CONTROL[number]


def control_prefix() -> int:
    """Return the prefix length of the control network."""
    return _CONTROL.prefixlen


def endpoint_mac(number: int) -> str:
    """Return the MAC address of a host's tunnel endpoint: fixed, so that neighbours can be told of it."""
    return f"02:09:00:00:00:{number:02x}"


def interface_name(port: str) -> str:
    """Name the host's end of a workload's link: the port's name if it fits in 15 bytes, else a hash of it."""
    name = f"w-{port}"
    return name if len(name) <= _MAX_IFNAME else f"w-{hashlib.sha256(port.encode()).hexdigest()[:13]}"


def check_port_name(port: str) -> None:
    """Raise LabError for a name that cannot be a port's: hosts are called so, or it would be no file name."""
    if not _PORT.fullmatch(port) or _HOST.fullmatch(port):
        raise LabError(
            f"{port!r} is no name for a port", "use letters, digits, '_', '.' and '-', and not a host's name"
        )
