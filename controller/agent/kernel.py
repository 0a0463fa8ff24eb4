# SPDX-License-Identifier: Apache-2.0
"""The kernel of a network namespace, for an event loop: looked at and changed on one thread that lives in there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, TypeVar

from pyroute2 import netns

from controller.agent import offload
from controller.agent.offload import OffloadState
from controller.agent.underlay import path_mtu, too_narrow
from controller.errors import SetupError
from controller.kernels.report import KernelProblem, PluggedInterface
from ovs_geneve.kernel import facts
from ovs_geneve.kernel.apply import apply
from ovs_geneve.kernel.errors import InTheWay, KernelRefused, ModuleMissing
from ovs_geneve.kernel.netlink import Netlink
from ovs_geneve.kernel.objects import KernelState
from ovs_geneve.kernel.observation import Observation, is_ours
from ovs_geneve.kernel.observe import observe
from ovs_geneve.kernel.plan import plan
from ovs_geneve.kernel.watch import Watch

T = TypeVar("T")

_PASSES = 4
"A device that comes or goes while steps are carried out leaves some for the next look."


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """How a kernel stands."""

    interfaces: tuple[PluggedInterface, ...]
    problems: tuple[KernelProblem, ...] = ()
    release: str = ""
    lacks: tuple[str, ...] = ()
    offload: OffloadState | None = None
    "None where nobody looked."


class Kernel(Protocol):
    """What an agent keeps."""

    async def converge(self, desired: KernelState | None) -> Sight:
        """Make it so, None for nothing at all, and say how it stands. Raises OSError when it cannot be read."""


class NamespaceKernel:
    """The real kernel, seen from a network namespace: a named one, or our own. An asynchronous context."""

    def __init__(self, namespace: str | None, changed: Callable[[], None]) -> None:
        self._namespace = namespace
        self._changed = changed
        self._thread = ThreadPoolExecutor(1, "kernel", self._enter)
        self._lacks: tuple[str, ...] = ()

    async def __aenter__(self) -> Self:
        try:
            self._netlink = await self._inside(Netlink)
        except (
            RuntimeError
        ) as error:  # concurrent.futures.thread.BrokenThreadPool: the thread could not enter
            self._thread.shutdown()
            raise SetupError(f"there is no network namespace {self._namespace}") from error
        self._watch = await self._inside(Watch)
        self._lacks = await self._inside(lambda: facts.missing_modules(self._netlink))
        asyncio.get_running_loop().add_reader(self._watch.fileno(), self._told)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._watch.fileno())
        self._thread.shutdown()
        self._watch.close()
        self._netlink.close()

    async def converge(self, desired: KernelState | None) -> Sight:
        """Make it so, and say how it stands."""
        return await self._inside(lambda: self._converge(desired))

    async def _inside(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    def _enter(self) -> None:
        if self._namespace is not None:
            netns.setns(self._namespace)

    def _told(self) -> None:
        self._watch.drain()
        self._changed()

    def _converge(self, desired: KernelState | None) -> Sight:
        paths = () if desired is None else tuple(one.path for one in desired.settings)
        observed = observe(self._netlink, settings=paths)
        refused: tuple[KernelRefused, ...] = ()
        for _ in range(_PASSES if desired is not None else 0):
            assert desired is not None
            steps = plan(desired, observed)
            refused = apply(self._netlink, steps, observed)
            if not steps:
                break
            observed = observe(self._netlink, settings=paths)
            if refused:
                break  # again, but not at once
        narrow = () if desired is None else too_narrow(desired, path_mtu)
        return Sight(
            interfaces=plugged(observed),
            problems=(*map(problem_of, refused), *narrow),
            release=facts.kernel_release(),
            lacks=self._lacks,
            offload=None if desired is None else offload.look(desired, observed),
        )


def plugged(observed: Observation) -> tuple[PluggedInterface, ...]:
    """Return the interfaces of others by every name they have."""
    found = {
        PluggedInterface(interface_id=interface_id, name=one.name)
        for one in observed.interfaces
        if not is_ours(one) and one.name != "lo"
        for interface_id in (one.name, one.alias, *one.altnames)
        if interface_id
    }
    return tuple(sorted(found, key=lambda one: (one.interface_id, one.name)))


def problem_of(refused: KernelRefused) -> KernelProblem:
    """Put a refusal into a report."""
    match refused:
        case ModuleMissing():
            reason = "ModuleMissing"
        case InTheWay():
            reason = "DeviceInTheWay"
        case _:
            reason = "KernelRefused"
    message = f"{refused.request}: {refused.errno_name}: {refused.reason}"
    return KernelProblem(object=refused.subject, reason=reason, message=message)
