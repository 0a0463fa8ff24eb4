# SPDX-License-Identifier: Apache-2.0
"""What the API asks of the controller behind it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from controller.compiler.cookies import Feature
from controller.compiler.recompute import Recomputation
from controller.events import Event
from controller.intent.commands import Delete, Put
from controller.intent.intent import Intent
from controller.intent.model import AnyObject
from controller.intent.service import Result
from controller.kernels.hosts import LinuxHosts
from controller.offload.live import Eyes
from controller.prober.prober import Prober
from controller.proof.report import Proof
from controller.reconciler.status import Condition, HostProgress, Work
from controller.southbound.ports import HostReport, WaitingHost
from ovs_geneve.openflow.stats import Count


class Controller(Protocol):
    """The running controller (`controller.process.ControllerProcess`)."""

    version: str
    prober: Prober
    eyes: Eyes
    tunnel_port: int
    linux: LinuxHosts

    @property
    def intent(self) -> Intent:
        """The intent as committed last."""

    async def submit(self, command: Put | Delete) -> Result:
        """Decide on a command and store what it changes; IntentError or StoreUnavailable otherwise."""

    async def submit_all(self, commands: Sequence[Put]) -> Sequence[Result | BaseException]:
        """Decide on commands in their order, each for itself; a result or the error of each."""

    def guards(self, host: str) -> bool:
        """Tell whether a host's datapath is watched for bad options."""

    def events(self, since: int, limit: int) -> Sequence[Event]:
        """Return what happened after an event, oldest first."""

    def conditions(self, held: AnyObject) -> tuple[Condition, ...]:
        """Say how an object stands."""

    def hosts_concerned(self, held: AnyObject) -> frozenset[str]:
        """Return the hosts whose bridges hold something because of an object."""

    async def acknowledged(self, hosts: Iterable[str], revision: int, object_key: int) -> None:
        """Return once bridges have acknowledged a revision, or one has refused the object."""

    async def rolled_out(self, network: str) -> None:
        """Return once no option is on its way into or out of a network; one that was rolled back is not."""

    def report(self, host: str) -> HostReport:
        """Return what a host's OVSDB tells."""

    def progress(self, host: str) -> HostProgress:
        """Return how far the programming of a host is."""

    def network_mtu(self, network: str) -> int | None:
        """Return the largest IP packet that a network carries; None while no host is declared."""

    async def counters(self, held: AnyObject, feature: Feature) -> dict[str, Count | None]:
        """Return what the flows that an object has for a feature counted, by connected host; None: no answer."""

    def work(self) -> Work:
        """Return what changes cost."""

    async def recompute(self) -> Recomputation:
        """Compile everything from nothing, and compare with what is kept."""

    async def prove(self) -> tuple[Proof, float]:
        """Prove that what is compiled keeps networks apart; return how many seconds that took, too."""

    def waiting_hosts(self) -> tuple[WaitingHost, ...]:
        """Return strangers that called in."""

    def ready(self) -> tuple[bool, str]:
        """Say whether requests can be served, and why not."""
