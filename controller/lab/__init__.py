# SPDX-License-Identifier: Apache-2.0
"""Hosts in network namespaces, each with an Open vSwitch of its own: playground, demo and test fixture."""

from controller.lab.capture import Capture
from controller.lab.cleanup import Leftovers, down, find
from controller.lab.errors import LabError
from controller.lab.lab import FABRIC, Lab
from controller.lab.ovs_host import LabHost
from controller.lab.settings import Datapath, LabSettings, Underlay
from controller.lab.state import Workload

__all__ = [
    "FABRIC",
    "Capture",
    "Datapath",
    "Lab",
    "LabError",
    "LabHost",
    "LabSettings",
    "Leftovers",
    "Underlay",
    "Workload",
    "down",
    "find",
]
