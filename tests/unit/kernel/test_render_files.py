# SPDX-License-Identifier: Apache-2.0
"""Files that a host reads when it boots."""

from __future__ import annotations

import pytest

from controller.intent.model import Payload, TunnelStyle
from ovs_geneve.errors import EncodeError
from ovs_geneve.kernel.objects import KernelState, joined
from ovs_geneve.kernel.render import commands, removal
from ovs_geneve.kernel.render_files import ifupdown, networkd
from tests.unit.linux.test_fixed import small


def state_of(style: TunnelStyle, payload: Payload = Payload.ETHERNET) -> KernelState:
    parts = small(style, payload).held["lx1"].values()
    return joined(part.state for part in parts)


def test_ifupdown_has_every_command() -> None:
    state = state_of(TunnelStyle.METADATA)
    lines = ifupdown(state).splitlines()
    assert lines[:2] == ["auto og-b000064", "iface og-b000064 inet manual"]
    assert lines[2:] == [
        *(f"    pre-up {line}" for line in commands(state)),
        *(f"    post-down {line} || true" for line in removal(state)),
    ]
    assert ifupdown(KernelState()) == ""


def test_networkd_has_devices_entries_and_the_rest_as_a_service() -> None:
    files = networkd(state_of(TunnelStyle.FIXED))
    folder = "/etc/systemd/network/60-"
    assert files[f"{folder}og-b000064.netdev"] == (
        "# ovs-geneve network blue\n[NetDev]\nName=og-b000064\nMTUBytes=65000\nMACAddress=0a:6f:67:00:00:64\n"
        "Kind=bridge\n\n[Bridge]\nSTP=no\nMulticastSnooping=no\nVLANFiltering=no\n"
    )
    (peer,) = [text for path, text in files.items() if "Remote=192.0.2.2\n" in text]
    assert "Kind=geneve\n\n[GENEVE]\nId=100\nRemote=192.0.2.2\nDestinationPort=6081\nTTL=0\nTOS=0\n" in peer
    assert "IPDoNotFragment=yes\nUDPChecksum=yes\nUDP6ZeroChecksumTx=no\n" in peer
    name = next(path for path, text in files.items() if text is peer).replace(".netdev", ".network")
    assert "Bridge=og-b000064\n" in files[name]
    assert "Isolated=yes\n" in files[name]
    assert "[BridgeFDB]\nMACAddress=02:00:00:00:00:03\n" in files[name]
    workload = files[f"{folder}if-a1.network"]
    assert "NeighborSuppression=no\nIsolated=no\n" in workload
    assert (
        "[Neighbor]\nAddress=10.0.0.3\nLinkLayerAddress=02:00:00:00:00:03\n"
        in files[f"{folder}og-b000064.network"]
    )
    service = files["/etc/systemd/system/ovs-geneve-filters.service"]
    assert "tc filter replace dev if-a1 ingress" in service
    assert all(line.count("'") == 2 for line in service.splitlines() if line.startswith("ExecStart="))


@pytest.mark.parametrize(
    ("style", "payload"),
    [(TunnelStyle.METADATA, Payload.ETHERNET), (TunnelStyle.FIXED, Payload.IP)],
)
def test_networkd_is_refused_what_it_can_not_do(style: TunnelStyle, payload: Payload) -> None:
    with pytest.raises(EncodeError, match="want --format commands"):
        networkd(state_of(style, payload))
