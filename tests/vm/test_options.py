# SPDX-License-Identifier: Apache-2.0
"""Options through the kernel: set and matched in its megaflows, on the wire, over both families; what policies do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from controller.intent.model import Kind
from controller.lab import Datapath, Underlay
from ovs_geneve.geneve.packet import Packet
from tests.system.overlay import Endpoint, Overlay
from tests.system.packets import Wires, marked, token
from tests.system.test_options import CONTEXT, STAMPED, TRAIL, on_the_wire
from tests.system.test_policies import frame
from tests.vm.conftest import Prove
from tests.vm.datapath import megaflow

pytestmark = pytest.mark.system


@pytest.fixture(scope="module", params=[Underlay.IPV4, Underlay.IPV6], ids=str)
def shared(request: pytest.FixtureRequest, make_overlay: Callable[..., Overlay]) -> Overlay:
    overlay = make_overlay(hosts=2, underlay=request.param, datapath=Datapath.SYSTEM)
    overlay.schema(CONTEXT)
    overlay.schema(TRAIL)
    return overlay


@pytest.fixture
def ports(overlay: Overlay) -> tuple[Endpoint, Endpoint]:
    overlay.network("blue", options=("context", "trail"))
    source = overlay.port("blue", "hv1", 1, values={"context.tier": 2, "context.zone": 700})
    return source, overlay.port("blue", "hv2", 2)


def test_options_are_set_matched_and_on_the_wire(
    overlay: Overlay, ports: tuple[Endpoint, Endpoint], prove: Prove, request: pytest.FixtureRequest
) -> None:
    source, target = ports
    hv1, hv2 = (overlay.lab.host(name) for name in ("hv1", "hv2"))
    underlay, vni = hv1.underlay, hex(overlay.vni("blue"))
    request.addfinalizer(lambda: overlay.controller.delete(Kind.OPTION_POLICY, "tier2"))
    overlay.policy("tier2", "blue", [("context.tier", 2, 0xFF)], to_port=target.name)
    assert overlay.ping(source, target.ipv4) == overlay.ping(source, target.ipv6) == 3
    stamped = "{class=0xff00,type=0x1,len=4,0x202bc00}"
    sent = megaflow(hv1, "set(tunnel(", stamped, "eth_type(0x0800)", f"dst={hv2.endpoint}")
    prove(f"{underlay}: options are set by a kernel megaflow", sent)
    matched = megaflow(hv2, "in_port(genev_sys_6081)", "class=0xff00,type=0x1,len=4,0x2", f"tun_id={vni}")
    assert "/0xff000000}" in matched, matched
    prove(f"{underlay}: the field a policy reads, and no other bit, is matched by a kernel megaflow", matched)
    mark = token()

    def say() -> None:
        with Wires(overlay.lab, [source.name]) as wires:
            wires[source.name].send(marked(frame(source, target), mark))

    _, [(outer, packet)] = on_the_wire(overlay, say, mark)
    assert (str(outer.source), str(outer.destination)) == (str(hv1.endpoint), str(hv2.endpoint))
    assert data(packet) == {each.key: STAMPED[each.name] for each in (CONTEXT, TRAIL)}
    values = {each.name: each.decode_values(data(packet)[each.key]) for each in (CONTEXT, TRAIL)}
    prove(f"{underlay}: on the wire, decoded", f"{outer.source} to {outer.destination}, VNI {vni}: {values}")


def data(packet: Packet) -> dict[tuple[int, int], bytes]:
    return {(option.option_class, option.option_type): option.data for option in packet.options}
