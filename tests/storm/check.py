# SPDX-License-Identifier: Apache-2.0
"""Is a kernel as it should be: as the controller says, and as a compiler says that starts from nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import httpx
import msgspec

from controller.agent.kernel import plugged
from controller.intent.intent import Intent
from controller.kernels.report import HostKernel
from controller.linux.compile import parts_of
from ovs_geneve.kernel.canonical import canonical
from ovs_geneve.kernel.objects import KernelState, joined
from ovs_geneve.kernel.observation import Observation
from ovs_geneve.kernel.plan import plan
from ovs_geneve.kernel.steps import subject

Observe = Callable[[str, KernelState], Observation]
"Looks at the kernel of a host, given what it should hold."

_TELL_SECONDS = 5.0


def settle(
    http: httpx.Client,
    hosts: Iterable[str],
    observe: Observe,
    load: Callable[[], Intent],
    seconds: float,
    tell: Callable[[str], None] = lambda _: None,
) -> Mapping[str, HostKernel]:
    """Wait until all kernels are as they should be, and return what that is; fails with what is not.

    What is waited for is told at most every few seconds.
    """
    began = told = time.monotonic()
    while True:
        found, wrong = dict[str, HostKernel](), ""
        for host in hosts:
            said = _looked(http, host, observe, load)
            if isinstance(said, str):
                wrong = f"{host}: {said}"
                break
            found[host] = said
        if not wrong:
            return found
        now = time.monotonic()
        assert now < began + seconds, wrong
        if now > told + _TELL_SECONDS:
            tell(f"after {now - began:.0f} s {wrong}")
            told = now
        time.sleep(0.2)


def generation_of(http: httpx.Client, host: str) -> str:
    """Return what a host's kernel should hold by the name of its generation."""
    return str(_get(http, f"hosts/{host}/kernel")["generation"])


def _looked(http: httpx.Client, host: str, observe: Observe, load: Callable[[], Intent]) -> HostKernel | str:
    """Return what the kernel should hold and does, or what is wrong."""
    conditions = {one["type"]: one for one in _get(http, f"hosts/{host}")["status"]["conditions"]}
    wrong = [one for one in conditions.values() if one["type"] != "Degraded" and one["status"] != "True"]
    if wrong:
        return str(wrong)
    should = msgspec.convert(_get(http, f"hosts/{host}/kernel"), HostKernel)
    parts = should.parts
    desired = joined(parts.values())
    observed = observe(host, desired)
    if difference := _difference(canonical(desired, observed.state), observed.state):
        return difference
    if steps := plan(desired, observed):
        return "planned: " + ", ".join(map(str, steps[:5]))
    interfaces = {one.interface_id: one.name for one in plugged(observed)}
    compiled = {str(name): part.state for name, part in parts_of(host, load(), interfaces).items()}
    if compiled != parts:
        names = {*compiled, *parts}
        wrong_parts = sorted(name for name in names if compiled.get(name) != parts.get(name))
        said = _difference(joined(compiled.values()), desired)
        return f"not as compiled from nothing: {wrong_parts}: {said}"
    return should if generation_of(http, host) == should.generation else "it moved meanwhile"


def _difference(should: KernelState, held: KernelState) -> str:
    said = list[str]()
    for field in KernelState.__struct_fields__:
        missing = getattr(should, field) - getattr(held, field)
        extra = getattr(held, field) - getattr(should, field)
        said += [f"missing {subject(one)}: {one}" for one in list(missing)[:3]]
        said += [f"too much {subject(one)}: {one}" for one in list(extra)[:3]]
    return "; ".join(said)


def _get(http: httpx.Client, path: str) -> Any:
    answer = http.get(f"/v1/{path}")
    answer.raise_for_status()
    return answer.json()
