# SPDX-License-Identifier: Apache-2.0
"""`flow-restore-wait`: an ovs-vswitchd that was started anew leaves its datapath as it is until it has its flows. Pure.

While other_config:flow-restore-wait is true ovs-vswitchd flushes no datapath, takes no packet from it and calls no
controller, but listens on the bridges' own sockets (ovs-vswitchd.conf.db(5); OVS vswitchd/bridge.c,
bridge_configure_remotes; ofproto/ofproto-dpif.c, open_dpif_backer and type_run). Megaflows of the kernel's
datapath go on meanwhile.
"""

from __future__ import annotations

from ovs_geneve.ovsdb.operations import Mutate, Mutation, Operation, where_uuid
from ovs_geneve.ovsdb.rows import OpenVSwitch

WAIT_KEY = "flow-restore-wait"
"The key of other_config of Open_vSwitch."


def waits_for_flows(root: OpenVSwitch) -> bool:
    """Tell whether a database says that ovs-vswitchd is to wait."""
    # OVS lib/smap.c, smap_get_bool: "true" is true, in any case.
    return root.other_config.get(WAIT_KEY, "false").lower() == "true"


def end_waiting(root: OpenVSwitch) -> Operation:
    """Give the operation that says that the flows are back."""
    return Mutate("Open_vSwitch", where_uuid(root.uuid), (Mutation("other_config", "delete", {WAIT_KEY}),))
