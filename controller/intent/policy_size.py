# SPDX-License-Identifier: Apache-2.0
"""How many flows a policy between groups comes to on every host of its network. Pure; of the policy alone."""

from __future__ import annotations

from functools import lru_cache

from controller.intent.model import PolicySpec
from controller.intent.port_masks import port_masks
from controller.intent.rules import PortRange

MAX_POLICY_FLOWS = 256
MAX_NETWORK_FLOWS = 10_000
"Of all policies between groups of one network."

ICMP, ICMPV6 = 1, 58
"Protocols that only one version of IP has."

_TRACKING = 3
"Of stateful policies: to commit what is sent, to look at what is answered, on either side."


def flows_of(spec: PolicySpec) -> int:
    """Return the most flows that a policy adds to a host; two stateful ones may share some."""
    return _flows(spec.protocol, spec.ports, spec.stateful)


@lru_cache(maxsize=16_384)
def _flows(protocol: int | None, ports: tuple[PortRange, ...], stateful: bool) -> int:
    versions = 1 if protocol in (ICMP, ICMPV6) else 2
    of_ip = versions * len(port_masks(ports))
    if not stateful:
        return 1 if protocol is None else of_ip
    return of_ip * (1 + _TRACKING) + (protocol is None)
