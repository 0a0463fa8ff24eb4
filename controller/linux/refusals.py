# SPDX-License-Identifier: Apache-2.0
"""Which ports a Linux host leaves out, because it can not do what is asked of them. Pure.

Admission refuses it with the same words (`controller.intent.needs`); what is stored all the same is not half done.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.intent.intent import Intent
from controller.intent.model import HostSpec, Object, Payload, PortSpec
from controller.intent.needs import demands_of, lacked_by


def refusal_of(intent: Intent, host: Object[HostSpec], port: Object[PortSpec]) -> str | None:
    """Return why a port can not be on this host; None when it can."""
    # Modules that are missing are for the kernel to refuse: they may be there by then.
    lacked = lacked_by(host.spec.kind, host.spec.tunnels)
    for demand in demands_of(intent, port):
        if demand.need in lacked:
            return f"{demand.by} needs {demand.need.value}: {lacked[demand.need]}"
    return next(_of_ip(intent, port), None)


def _of_ip(intent: Intent, port: Object[PortSpec]) -> Iterator[str]:
    network = intent.networks[port.spec.network]
    if network.spec.payload is Payload.IP:
        if network.spec.options:
            yield f"{network.id} carries options, and tunnels of IP carry none"
        if not port.spec.addresses:
            yield f"it declares no address, and {network.id} is one of IP"
