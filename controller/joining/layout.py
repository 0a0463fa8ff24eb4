# SPDX-License-Identifier: Apache-2.0
"""The files that a join writes on a host: where they are, what is in them. Pure."""

from __future__ import annotations

import shlex

from controller.errors import SetupError
from controller.intent.model import HostKind
from controller.joining.facts import Joined

RECORD = "/etc/ovs-geneve/host.env"
"What was joined, and the environment of the agent's unit."

UNIT = "/etc/systemd/system/ovs-geneve-agent.service"
"The agent's unit where no package brought one."

BOOT_WAIT = "/etc/systemd/system/ovs-vswitchd.service.d/ovs-geneve.conf"

AGENT_SERVICE = "ovs-geneve-agent.service"

FILES = (RECORD, UNIT, BOOT_WAIT)

PACKAGED_COMMAND = "/opt/ovs-geneve/bin/ovs-geneve"

MADE_BY_JOIN = "# Written by `ovs-geneve host join`; `ovs-geneve host leave` removes it.\n"

BOOT_WAIT_TEXT = (
    MADE_BY_JOIN
    + """# Started within 10 s of boot, ovs-vswitchd 3.1.0 counts no cores, and then handles no packet.
[Service]
ExecStartPre=/bin/sh -c 'while [ "$(cut -d. -f1 /proc/uptime)" -lt 11 ]; do sleep 0.2; done'
"""
)


def render_record(joined: Joined) -> str:
    """Return the record of a join."""
    values = {
        "OVS_GENEVE_HOST": joined.host,
        "OVS_GENEVE_CONTROLLER": joined.rest,
        "OVS_GENEVE_KIND": joined.kind.value,
        "OVS_GENEVE_MANAGER": joined.manager,
        "OVS_GENEVE_SYSTEM_ID": "ours" if joined.set_system_id else "",
    }
    if joined.ca:
        values["OVS_GENEVE_CA"] = joined.ca
    return MADE_BY_JOIN + "".join(f"{key}={shlex.quote(value)}\n" for key, value in values.items())


def parse_record(text: str) -> Joined:
    """Read the record of a join; SetupError when it is not one."""
    lines = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    try:
        values = {key: "".join(shlex.split(value)) for key, _, value in lines}
        return Joined(
            host=values["OVS_GENEVE_HOST"],
            kind=HostKind(values["OVS_GENEVE_KIND"]),
            rest=values["OVS_GENEVE_CONTROLLER"],
            manager=values["OVS_GENEVE_MANAGER"],
            set_system_id=values["OVS_GENEVE_SYSTEM_ID"] == "ours",
            ca=values.get("OVS_GENEVE_CA", ""),
        )
    except (KeyError, ValueError) as error:
        raise SetupError(
            f"{RECORD} is not as a join writes it: {error}", "move it away and join again"
        ) from error


def unit_for(command: str, packaged: str) -> str:
    """Return the agent's unit for a command that is elsewhere than the package's."""
    return MADE_BY_JOIN + packaged.replace(PACKAGED_COMMAND, command)
