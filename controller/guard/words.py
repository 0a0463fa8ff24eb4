# SPDX-License-Identifier: Apache-2.0
"""What the guard saw, in words for people. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from controller.guard.judge import Fault
from controller.guard.watch import Offence
from ovs_geneve.megaflow import OptionHeader

MAX_OPTIONS = 8
"Named of each peer, network and fault: one that tries them all must not push everything else out of memory."

_WHAT = {
    Fault.UNKNOWN_CRITICAL: "critical {option}, which nobody declared",
    Fault.WRONG_LENGTH: "{option}, declared with another length",
    Fault.MALFORMED: "options that do not fit their header",
    Fault.DUPLICATE: "{option} twice in a packet",
    Fault.NOT_CARRIED: "{option}, which the network does not carry",
    Fault.UNTOLD: "{option} that Open vSwitch refuses (the kernel does not tell which)",
    Fault.OUTDATED: "options that were not understood",
}


Called = Callable[[int, int], str | None]
"Tells what an option of a class and type is called."


def _nothing(option_class: int, option_type: int) -> None:
    """Know no names."""


class Words:
    """Describes offences, the same ones in the same words."""

    def __init__(self) -> None:
        self._named: dict[tuple[object, ...], set[OptionHeader | int]] = defaultdict(set)

    def describe(
        self, host: str, offence: Offence, peer: str, network: str, called: Called = _nothing
    ) -> str:
        """Say who sent what; `network` is a name, or says VNI where there is none; `called` knows names of options."""
        named = self._named[host, offence.source, offence.vni, offence.verdict.fault]
        seen = offence.verdict.option or offence.verdict.length
        if seen and seen not in named:
            if len(named) < MAX_OPTIONS:
                named.add(seen)
            else:
                seen = 0
        what = _WHAT[offence.verdict.fault].format(option=_name(seen, called))
        place = network if network.startswith("VNI") else f"network {network} (VNI {offence.vni})"
        return f"{peer} ({offence.source}) sent {what}, on {place}"


def _name(option: OptionHeader | int, called: Called) -> str:
    if isinstance(option, int):
        return f"{option} bytes of options" if option else "options of many kinds"
    number = f"{option.option_class:#06x}/{option.option_type:#04x}"
    name = called(option.option_class, option.option_type)
    return f"option {f'{name} ({number})' if name else number} of {option.length} bytes"
