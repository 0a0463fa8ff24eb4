# SPDX-License-Identifier: Apache-2.0
"""Hosts of the lab without Open vSwitch: there where the kernel can carry them, refused where it cannot."""

from collections.abc import Callable

import pytest

from controller.agent.kernel import plugged
from controller.lab import HostAgent, Lab, LabError, LabSettings, commands, find, namespaces, require_modules
from controller.lab import lab as module
from controller.lab.settings import interface_name
from controller.lab.waiting import wait_until
from ovs_geneve.kernel.netlink import Netlink
from ovs_geneve.kernel.observe import observe

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def lab(bring_up: Callable[..., Lab]) -> Lab:
    """With nothing in their kernel of what agents make, so that any kernel will do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "require_modules", lambda: None)
        lab = bring_up(hosts=1, linux_hosts=2)
    kind = lab.state.datapath.value
    lab.host("hv1").vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", f"datapath_type={kind}")
    return lab


def _names_of(lab: Lab, host: str, interface: str) -> set[str]:
    """By which names an agent finds an interface."""

    def look() -> set[str]:
        with Netlink() as netlink:
            return {one.interface_id for one in plugged(observe(netlink)) if one.name == interface}

    return namespaces.inside(lab.linux_host(host).namespace, look)


def test_they_are_beside_the_others_in_the_underlay(lab: Lab) -> None:
    assert [host.name for host in lab.linux_hosts] == ["lx1", "lx2"]
    assert [host.name for host in lab.hosts] == ["hv1"]
    for peer in (lab.host("hv1"), lab.linux_host("lx2")):
        done = lab.exec("lx1", ["ping", "-c1", "-W2", str(peer.endpoint)])
        assert done.returncode == 0, done.stdout
    with pytest.raises(LabError, match="no host lx1"):
        lab.host("lx1")


def test_a_workload_is_found_where_it_is_plugged_and_nowhere_else(lab: Lab) -> None:
    port, link = "web1", interface_name("web1")
    lab.plug(
        "lx1", port, "02:00:00:00:00:01", ["10.0.0.1/24"], interface_id="a name of 36 bytes, as Neutron's are"
    )
    assert _names_of(lab, "lx1", link) == {link, "a name of 36 bytes, as Neutron's are"}
    lab.move(port, "lx2")
    assert not _names_of(lab, "lx1", link)
    assert "a name of 36 bytes, as Neutron's are" in _names_of(lab, "lx2", link)
    lab.move(port, "hv1")
    assert not _names_of(lab, "lx2", link)
    assert link in lab.host("hv1").vsctl("list-ports", "br-int").split()
    lab.move(port, "lx1")
    assert "a name of 36 bytes, as Neutron's are" in _names_of(lab, "lx1", link)
    lab.unplug(port)
    assert not _names_of(lab, "lx1", link)


def test_an_agent_is_a_process_of_the_host(lab: Lab) -> None:
    agent = HostAgent(lab.linux_host("lx2"), f"unix:{lab.directory / 'nobody.sock'}")
    agent.start()
    wait_until(lambda: "nobody.sock: " in agent.log.read_text(), 60, "the agent to say that nobody answers")
    pids = namespaces.processes([agent.host.namespace])
    assert any("agent" in commands.command_line(pid) for pid in pids)
    assert pids <= set(find(lab.directory).processes)
    agent.kill()
    agent.kill()
    assert not namespaces.processes([agent.host.namespace])


def test_a_kernel_that_lacks_modules_is_refused(
    some_settings: LabSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ovs_geneve.kernel.facts.missing_modules", lambda _: ("geneve", "cls_flower"))
    with pytest.raises(LabError, match="has no geneve, cls_flower: it carries no Linux hosts"):
        require_modules()
    settings = LabSettings(name=some_settings.name, linux_hosts=1, directory=some_settings.directory)
    with pytest.raises(LabError, match="carries no Linux hosts"):
        Lab.up(settings)
    assert not find(settings)
    with pytest.raises(LabError, match="14 Linux hosts"):
        LabSettings(linux_hosts=14)
