# SPDX-License-Identifier: Apache-2.0
"""Hosts in network namespaces, with an Open vSwitch of their own or without: playground, demo and test fixture."""

from controller.lab.capture import Capture
from controller.lab.cleanup import Leftovers, down, find
from controller.lab.errors import LabError
from controller.lab.lab import FABRIC, Lab
from controller.lab.linux_host import HostAgent, LinuxHost, require_modules
from controller.lab.ovs_host import LabHost
from controller.lab.settings import Datapath, LabSettings, Underlay
from controller.lab.state import Workload

__all__ = [
    "FABRIC",
    "Capture",
    "Datapath",
    "HostAgent",
    "Lab",
    "LabError",
    "LabHost",
    "LabSettings",
    "Leftovers",
    "LinuxHost",
    "Underlay",
    "Workload",
    "down",
    "find",
    "require_modules",
]
