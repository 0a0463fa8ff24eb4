# SPDX-License-Identifier: Apache-2.0
"""A host without Open vSwitch, and the agent that keeps its kernel as a controller says.

    lx1                                               fabric
      u0 (10.9.0.241 or fd09::f1)                ──── switch "underlay"
      c0 (10.8.0.241)                            ──── switch "control"
      w-PORT, with the alias that its port's interface_id is ── workload
      ovs-geneve agent (DIR/agent.log), for who wants it

Everything else that appears there is the agent's.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from controller.lab import commands
from controller.lab.errors import LabError
from controller.lab.machine import Machine
from controller.lab.settings import FIRST_LINUX_NUMBER
from ovs_geneve.kernel import facts
from ovs_geneve.kernel.netlink import Netlink

_STOP_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LinuxHost(Machine):
    """A host of the lab without Open vSwitch; `directory` has what its agent keeps, and its log."""

    prefix = "lx"

    @property
    def address_number(self) -> int:
        """The last part of its addresses."""
        return FIRST_LINUX_NUMBER + self.number - 1


class HostAgent:
    """`ovs-geneve agent` of a Linux host, as a process of its own; `rest` is the controller's address."""

    def __init__(self, host: LinuxHost, rest: str) -> None:
        self.host = host
        self._rest = rest
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Where it logs."""
        return self.host.directory / "agent.log"

    @property
    def runs(self) -> bool:
        """Tell whether it was started, and neither stopped nor killed."""
        return self._process is not None

    def start(self) -> None:
        """Start it; whether it gets anywhere its host's conditions tell."""
        if self._process is not None:
            raise LabError(f"{self.host.name}: the agent runs already")
        line = [sys.executable, "-m", "controller", "agent", "-v", "--host", self.host.name]
        line += ["--controller", self._rest, "--state", str(self.host.directory)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                commands.argv(line, self.host.namespace),
                env=commands.variables(None),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        """End it and wait; harmless when it does not run."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            os.kill(process.pid, signal_number)
            process.wait(_STOP_SECONDS)

    def kill(self) -> None:
        """End it as a crash would: no goodbye, no last write."""
        self.stop(signal.SIGKILL)


def require_modules() -> None:
    """Raise LabError unless this kernel has what hosts without Open vSwitch are made of."""
    with Netlink() as netlink:
        missing = facts.missing_modules(netlink)
    if missing:
        raise LabError(
            f"kernel {facts.kernel_release()} has no {', '.join(missing)}: it carries no Linux hosts",
            "make test-vm boots a kernel that does",
        )
