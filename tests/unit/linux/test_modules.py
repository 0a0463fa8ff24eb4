# SPDX-License-Identifier: Apache-2.0
"""What admission says that a kernel must have is what compiled states live in, nothing less and nothing more."""

from __future__ import annotations

from controller.intent.model import Payload, TunnelStyle
from controller.intent.needs import MODULES, MODULES_OF_IP
from ovs_geneve.kernel.modules import ALL, modules_of
from ovs_geneve.kernel.objects import joined
from tests.builders import bind, network, port, put
from tests.unit.linux.builders import LinuxFabric, linux
from tests.unit.linux.test_fixed import small
from tests.unit.linux.test_page import blue


def of_ip() -> LinuxFabric:
    fabric = LinuxFabric()
    fabric.do(
        *(put(f"lx{number}", linux(f"10.9.0.{number}", tunnels=TunnelStyle.FIXED)) for number in (1, 2)),
        put("routed", network(200, payload=Payload.IP)),
        *(put(f"p{number}", port("routed", number, f"10.0.0.{number}")) for number in (1, 2)),
        *(bind(f"p{number}", f"lx{number}") for number in (1, 2)),
    )
    fabric.plug("lx1", p1="tap1")
    return fabric


def compiled(fabric: LinuxFabric) -> frozenset[str]:
    return modules_of(joined(part.state for part in fabric.held["lx1"].values()))


def test_lists_of_modules_are_what_is_compiled() -> None:
    everything = blue()
    everything.held["lx1"] |= {f"lx2/{name}": part for name, part in everything.held["lx2"].items()}
    assert compiled(everything) == set(MODULES[TunnelStyle.METADATA])
    assert compiled(small(TunnelStyle.FIXED)) == set(MODULES[TunnelStyle.FIXED])
    assert compiled(of_ip()) == set(MODULES_OF_IP)


def test_all_modules_are_asked_about() -> None:
    assert {*MODULES_OF_IP, *MODULES[TunnelStyle.METADATA], *MODULES[TunnelStyle.FIXED]} == set(ALL)
