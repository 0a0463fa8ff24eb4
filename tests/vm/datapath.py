# SPDX-License-Identifier: Apache-2.0
"""The kernel's datapath as its dumps show it, and ovs-vswitchd started in other ways than the lab does."""

from __future__ import annotations

import re
import time

from controller.lab import LabHost
from tests.patience import patient


def dump(host: LabHost) -> list[str]:
    """Return the megaflows of a host, all they match on, as printed."""
    return host.appctl("dpctl/dump-flows", "-m", "type=ovs").splitlines()


def megaflow(host: LabHost, *parts: str) -> str:
    """Return the first megaflow that has all of these parts, without what it does not match on."""
    end = time.monotonic() + patient(2)
    while True:
        lines = dump(host)
        for line in lines:
            if all(part in line for part in parts):
                return terse(line)
        assert time.monotonic() < end, f"{host.name}: no megaflow with {parts} among\n" + "\n".join(lines)
        time.sleep(0.2)


def terse(line: str) -> str:
    """Leave out the name of a megaflow, its counters and what it does not match on."""
    line = re.sub(r"^ufid:[0-9a-f-]+, |, packets:.*(?=, actions:)", "", line)
    line = re.sub(r"[a-z_0-9]+=[^,(){}]+/[0:.x]+(?=[,)]),?", "", line)
    return re.sub(r"[a-z0-9_]+\((?:[^(){}]*/[0x ]+)?\),", "", line)


def start_vswitchd_by(host: LabHost, *words: str) -> None:
    """Start a host's ovs-vswitchd by these words; `host.kill_vswitchd` ends it as any."""
    file = host.directory / "ovs-vswitchd"
    files = (f"--pidfile={file}.pid", f"--unixctl={file}.ctl", f"--log-file={file}.log")
    host.run(*words, host.ovsdb, "--detach", "--no-chdir", *files, timeout=patient(20))
