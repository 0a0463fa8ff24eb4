# SPDX-License-Identifier: Apache-2.0
"""Commands that make a kernel state."""

from __future__ import annotations

import re

from ovs_geneve.kernel.render import commands
from tests.kernel_states import BRIDGE, ethernet


def test_a_bridge_is_set_to_its_mtu_which_it_was_not_made_with() -> None:
    """Else the kernel takes no note that somebody did, and it has that of its narrowest port from then on."""
    lines = commands(ethernet())
    (made,) = (n for n, line in enumerate(lines) if f"ip link add {BRIDGE} " in line)
    found = re.search(r" mtu (\d+) type bridge", lines[made])
    assert found is not None
    assert found[1] != "1450"
    at = lines.index(f"ip link set dev {BRIDGE} mtu 1450")
    ports = [n for n, line in enumerate(lines) if line.endswith(f" master {BRIDGE}")]
    assert made < at < min(ports)
