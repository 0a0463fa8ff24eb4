# SPDX-License-Identifier: Apache-2.0
"""A shield: the megaflow that Open vSwitch should have made for a packet with options that it refuses. Pure.

Its own matches on no option, so it drops good packets of the peer as well (docs/decisions/0006-bad-options.md). A
shield matches on the classes, types and lengths that the bad packet has, and else on what OVS's own does: only packets
of that shape meet it, and OVS's revalidators keep it as long as they come.
"""

from __future__ import annotations

from hashlib import blake2b

from controller.guard.judge import Fault, Rules, Verdict
from ovs_geneve.megaflow import OptionHeader, TunnelMegaflow

_PREFIX = "6e677561-7264-4000-8000-"
"Of the ufid of every shield: how we know ours again."

_ANYTHING = "{class=0xffff/0x0,type=0xff/0x0,len=0/0}"
"""Four bytes, whatever they are. The values are those of an option that is refused as well, critical and unknown:
revalidators translate them, and would let in what they can make sense of."""
_NOBODYS = 0xFFFF, 0xFF

_WORD = 4


def is_shield(ufid: str) -> bool:
    """Tell whether a megaflow is one of ours."""
    return ufid.startswith(_PREFIX)


def verdict_of(flow: TunnelMegaflow) -> Verdict | None:
    """Say what a shield is against that some controller put there before; None where its options tell."""
    if is_shield(flow.ufid) and any(option[:2] == _NOBODYS for option in flow.options):
        return Verdict(Fault.MALFORMED)
    return None


def ufid_of(poison: TunnelMegaflow) -> str:
    """Return the ufid of the shield against a megaflow: the same after a restart."""
    return _PREFIX + blake2b(_key(poison).encode(), digest_size=6).hexdigest()


def shield_of(poison: TunnelMegaflow, rules: Rules) -> str | None:
    """Return what `dpctl/add-flow` takes; None where good packets cannot be told from the bad ones."""
    if poison.untold:
        return None
    if poison.malformed and (_looks_good(poison, rules) or _NOBODYS in rules.lengths):
        return None
    return f"ufid:{ufid_of(poison)},{_key(poison)}"


def _key(poison: TunnelMegaflow) -> str:
    options = "".join(_exact(option) for option in poison.options) + _ANYTHING * (poison.malformed // _WORD)
    key = poison.key.replace(f"geneve({poison.options_text})", f"geneve({options})", 1)
    # OVS matches on the outer TOS also where it is 0, and prints it only where it is not.
    tunnel = key[: key.index("geneve(")]
    return key if "tos=" in tunnel else key.replace(",ttl=", ",tos=0x0/0xff,ttl=", 1)


def _exact(option: OptionHeader) -> str:
    data = ",0x0/0x0" if option.length else ""
    return f"{{class={option.option_class:#x},type={option.option_type:#x},len={option.length}{data}}}"


def _looks_good(poison: TunnelMegaflow, rules: Rules) -> bool:
    # Of what is malformed OVS prints no bytes: all that is left to match on is how long the options are.
    length = sum(_WORD + option.length for option in poison.options) + poison.malformed
    return length == rules.good_length(poison.tun_id)
