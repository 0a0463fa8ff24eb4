# SPDX-License-Identifier: Apache-2.0
"""What stands in an agent's way on a real kernel: each is named with its request, and the rest is there."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.agent.kernel import NamespaceKernel, Sight
from controller.lab import namespaces
from ovs_geneve.kernel.canonical import canonical
from ovs_geneve.kernel.netlink import Netlink
from ovs_geneve.kernel.objects import KernelState
from ovs_geneve.kernel.observe import observe
from tests import kernel_states
from tests.vm.conftest import Prove

pytestmark = pytest.mark.system

_DENIED = Path("/etc/modprobe.d/storm.conf")
_numbers = itertools.count()


@pytest.fixture
def host() -> Iterator[str]:
    name = f"refusals-{os.getpid()}-{next(_numbers)}"
    namespaces.create(name)
    shell(name, "ip link set lo up; ip link add p1 type dummy; ip link set p1 up")
    shell(name, "ip link add u0 type dummy; ip addr add 10.9.0.1/24 dev u0; ip link set u0 mtu 1600 up")
    yield name
    namespaces.remove(name)


def shell(host: str, script: str) -> str:
    line = namespaces.command(host, ["sh", "-ec", script])
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout


def converged(host: str, desired: KernelState) -> Sight:
    """Look and act once, as the agent does."""

    async def once() -> Sight:
        async with NamespaceKernel(host, lambda: None) as kernel:
            return await kernel.converge(desired)

    return asyncio.run(once())


def held(host: str, desired: KernelState) -> bool:
    def inside() -> bool:
        with Netlink() as netlink:
            found = observe(netlink, settings=[one.path for one in desired.settings]).state
        return found == canonical(desired, found)

    return namespaces.inside(host, inside)


@pytest.mark.skipif(
    os.uname().nodename != "guest", reason="denies this kernel a module, by a file below /etc"
)
def test_a_module_that_is_missing_is_named_and_comes_back(host: str, prove: Prove) -> None:
    desired = kernel_states.ethernet()
    if Path("/sys/module/act_skbedit").exists():
        pytest.skip("act_skbedit is loaded already")
    _DENIED.write_text("install act_skbedit /bin/false\n", encoding="ascii")
    try:
        sight = converged(host, desired)
    finally:
        _DENIED.unlink()
    assert sight.lacks == ("act_skbedit",)
    assert {one.reason for one in sight.problems} == {"ModuleMissing"}
    one = sight.problems[0]
    assert "the kernel lacks act_skbedit" in one.message
    prove("a kernel without a module: named with the object that needs it", f"{one.object}: {one.message}")
    # A confined agent may load none itself: the kernel does when it is asked for what is in it.
    code = "from ovs_geneve.kernel import facts; from ovs_geneve.kernel.netlink import Netlink;"
    line = ["setpriv", "--bounding-set", "-sys_module", sys.executable, "-c"]
    told = namespaces.command(host, [*line, f"{code} print(facts.missing_modules(Netlink()))"])
    assert subprocess.run(told, capture_output=True, text=True, check=True).stdout == "()\n"
    sight = converged(host, desired)
    assert (sight.lacks, sight.problems) == ((), ())
    assert held(host, desired)


def test_udp_port_that_a_socket_has_is_named_and_comes_back(host: str, prove: Prove) -> None:
    desired = kernel_states.ethernet()
    with namespaces.inside(host, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as holder:
        holder.bind(("0.0.0.0", 6081))
        problems = {one.object: one for one in converged(host, desired).problems}
        one = problems.pop("geneve device og-geneve")
        assert (one.reason, problems) == ("DeviceInTheWay", {})
        assert "raise: EADDRINUSE: UDP port 6081 is taken" in one.message
        prove("UDP port 6081 taken by a socket: named, and the rest is there", f"{one.object}: {one.message}")
        assert "master og-b00004d" in shell(host, "ip -o link show p1")
    assert converged(host, desired).problems == ()
    assert held(host, desired)


def test_devices_of_others_are_named_and_stay(host: str, prove: Prove) -> None:
    shell(host, "ip link add theirs type geneve external; ip link set theirs up")
    (one,) = (p for p in converged(host, kernel_states.ethernet()).problems if "og-geneve" in p.object)
    assert one.reason == "DeviceInTheWay"
    assert "geneve device theirs is in the way" in one.message
    prove("another's device for all tunnels on our port: named, and left alone", one.message)
    shell(host, "ip link del theirs; ip link add theirs type geneve id 78 remote 10.9.0.2 dstport 16081")
    desired = kernel_states.fixed()
    (one,) = converged(host, desired).problems
    assert one.reason == "DeviceInTheWay"
    assert "geneve device theirs is in the way" in one.message
    prove("another's device with the same VNI and remote: named, and left alone", one.message)
    shell(host, "ip link del theirs")
    assert converged(host, desired).problems == ()
    assert held(host, desired)


def test_what_the_underlay_does_not_carry_is_told_and_nothing_else_changes(host: str, prove: Prove) -> None:
    desired = kernel_states.ethernet()
    shell(host, "ip link set u0 mtu 1600")
    assert converged(host, desired).problems == ()
    shell(host, "ip link set u0 mtu 1450")
    (one,) = converged(host, desired).problems
    assert (one.object, one.reason) == ("dummy device og-t00004d", "UnderlayMtu")
    assert "the underlay carries 1450" in one.message
    assert held(host, desired)
    prove("an underlay that does not carry the network's MTU: named, with both figures", one.message)
    shell(host, "ip link set u0 mtu 1600")
    assert converged(host, desired).problems == ()
