# SPDX-License-Identifier: Apache-2.0
"""What the pipeline keeps in a packet's metadata on its way through the tables.

The virtual network is in tun_id from the stamp stage on (and from the tunnel, on arrival): the same field that goes
over the wire, so that no flow has to copy it. Options live in tun_metadata likewise, stamped before the first look-up
of a destination, so that a policy reads them in one way whether the packet crossed a tunnel or not.
"""

from __future__ import annotations

from ovs_geneve.openflow.fields import REG0, REG1, REG2

SOURCE_PORT = REG0
"Object key of the logical port that the packet came from; 0 when it came out of the tunnel."

DESTINATION_PORT = REG1
"Object key of the logical port that the packet goes to, once that is known."

DESTINATION_GROUP = REG2
"Identity of that port's group; 0 when it has none. Set wherever DESTINATION_PORT is."
