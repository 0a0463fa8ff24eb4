# SPDX-License-Identifier: Apache-2.0
"""What a kernel must be able to load for the tests here."""

from __future__ import annotations

import os
import shutil
import subprocess

MODULES = ("openvswitch", "geneve", "vport_geneve", "cls_flower", "act_tunnel_key")


def lacking() -> str:
    """Say what keeps the tests from running on this kernel; "" when nothing does."""
    if os.geteuid():
        return "needs root: makes network namespaces and datapaths"
    modprobe = shutil.which("modprobe", path="/sbin:/usr/sbin")
    if modprobe is None:
        return "needs modprobe, of the package kmod"
    missing = [name for name in MODULES if subprocess.run([modprobe, "-q", name], check=False).returncode]
    release = os.uname().release
    return f"kernel {release} has no module {', '.join(missing)}: make test-vm boots one" if missing else ""
