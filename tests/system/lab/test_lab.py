# SPDX-License-Identifier: Apache-2.0
"""A lab comes up, is used by several programs, and goes without a trace, however its makers end."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.lab import Datapath, Lab, LabError, LabSettings, commands, down, find, links, namespaces

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def lab(bring_up: Callable[..., Lab]) -> Lab:
    lab = bring_up(hosts=2)
    for host in lab.hosts:
        add_bridge(lab, host.name)
    return lab


def add_bridge(lab: Lab, host: str) -> None:
    """What a controller would do."""
    kind = lab.state.datapath.value
    lab.host(host).vsctl(
        "add-br", "br-int", "--", "set", "Bridge", "br-int", f"datapath_type={kind}", "fail_mode=secure"
    )


def ovs_ports(lab: Lab, host: str) -> list[str]:
    return lab.host(host).vsctl("list-ports", "br-int").split()


def test_up_and_down_and_down_again(some_settings: LabSettings) -> None:
    outside = links.link_names()
    told: list[tuple[str, int, int]] = []
    lab = Lab.up(some_settings, lambda *step: told.append(step))
    assert [host.name for host in lab.hosts] == ["hv1", "hv2"]
    assert [step[1:] for step in told] == [(1, 3), (2, 3), (3, 3)]
    pids = [pid for host in lab.hosts for pid in (host.ovsdb_pid, host.vswitchd_pid)]
    assert None not in pids
    assert len(find(some_settings).processes) == 4
    assert links.link_names() == outside

    lab.down()
    assert not find(some_settings)
    assert not some_settings.home.exists()
    assert all(not commands.command_line(pid or 0) for pid in pids)
    assert not down(some_settings)
    assert not down(some_settings.home)
    lab.down()


@pytest.mark.parametrize("moment", ["fabric", "first host", 0.08, 0.16, 0.24, 0.32])
def test_nothing_stays_when_up_is_killed(some_settings: LabSettings, moment: str | float) -> None:
    outside = links.link_names()
    program = f"""
import os, signal, sys, threading
from pathlib import Path
from controller.lab import Lab, LabSettings
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
def told(what, done, total):
    if what == "fabric" and {moment!r} == "fabric" or done == 2 and {moment!r} == "first host": die()
    if what == "fabric" and not isinstance({moment!r}, str): threading.Timer({moment!r}, die).start()
Lab.up(LabSettings(name={some_settings.name!r}, hosts=4, directory=Path({str(some_settings.home)!r})), told)
threading.Event().wait()
"""
    killed = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    left = down(some_settings.home)
    assert left.namespaces
    assert not find(some_settings)
    assert not some_settings.home.exists()
    assert links.link_names() == outside
    time.sleep(0.3)  # what was being started when its parent died
    assert not find(some_settings)


def test_a_failed_up_takes_itself_away(some_settings: LabSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_flags(*_arguments: object) -> list[str]:
        return ["--no-such-flag"]

    monkeypatch.setattr("controller.lab.ovs_host.LabHost._daemon_flags", no_flags)
    with pytest.raises(LabError, match="ovsdb-server does not start"):
        Lab.up(some_settings)
    assert not find(some_settings)


def test_a_name_is_used_once(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="is taken") as caught:
        Lab.up(LabSettings(name=lab.state.name, directory=tmp_path / "other"))
    assert "another name" in caught.value.hint
    assert not (tmp_path / "other").exists()
    with pytest.raises(LabError, match="a lab is up in"):
        Lab.up(LabSettings(name="unused", directory=lab.directory))
    assert len(lab.hosts) == 2


def test_what_is_not_ours_is_left_alone(some_settings: LabSettings) -> None:
    some_settings.home.mkdir()
    (some_settings.home / "thesis.tex").write_text("years of work")
    with pytest.raises(LabError, match="not empty"):
        Lab.up(some_settings)
    assert not down(some_settings)
    assert (some_settings.home / "thesis.tex").exists()
    (some_settings.home / "thesis.tex").unlink()


def test_a_foreign_process_in_a_pid_file_lives(lab: Lab) -> None:
    host = lab.host("hv2")
    with subprocess.Popen(["sleep", "60"]) as stranger:
        pid_file = host.directory / "ovs-vswitchd.pid"
        ours = pid_file.read_text()
        pid_file.write_text(f"{stranger.pid}\n")
        assert host.vswitchd_pid is None
        host.kill_vswitchd()
        assert stranger.poll() is None
        stranger.kill()
    pid_file.write_text(ours)
    assert host.vswitchd_pid == int(ours)


def test_another_program_sees_the_lab(lab: Lab) -> None:
    lab.plug("hv1", "seen", "02:00:00:00:00:0a", ["10.0.0.10/24", "2001:db8::10/64"])
    again = Lab.load(lab.directory)
    assert again.hosts == lab.hosts
    assert [port.name for port in again.ports] == ["seen"]
    again.unplug("seen")
    assert lab.ports == ()


def test_plug_is_what_an_orchestrator_does(lab: Lab) -> None:
    port = lab.plug(
        "hv1",
        "web1",
        "02:00:00:00:00:01",
        ["10.0.0.1/24"],
        interface_id="a uuid",
        mtu=1400,
        gateways=["10.0.0.254"],
    )
    ids = lab.host("hv1").vsctl("get", "Interface", "w-web1", "external_ids", "error", "link_state")
    assert 'iface-id="a uuid"' in ids
    assert 'attached-mac="02:00:00:00:00:01"' in ids
    link = lab.exec(port, ["cat", "/proc/net/route"]).stdout
    assert "eth0\t00000000\tFE00000A" in link
    assert lab.exec(port, [sys.executable, "-c", _LINK]).stdout.split() == ["02:00:00:00:00:01", "1400"]
    assert "w-web1" in ovs_ports(lab, "hv1")

    lab.unplug(port)
    assert "w-web1" not in ovs_ports(lab, "hv1")
    assert f"{lab.state.name}-w-web1" not in namespaces.names()
    assert "w-web1" not in namespaces.inside(lab.host("hv1").namespace, links.link_names)


_LINK = """
import fcntl, socket, struct
control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def ask(number): return fcntl.ioctl(control, number, struct.pack("16s16x", b"eth0"))
print(ask(0x8927)[18:24].hex(":"), struct.unpack("16xi12x", ask(0x8921))[0])
"""


def test_a_long_name_still_makes_a_link(lab: Lab) -> None:
    name = "1f0b6d3c-7a53-4c8e-9d53-0d0e3a2f6f11"
    lab.plug("hv1", name, "02:00:00:00:00:02", ["10.0.0.2/24"])
    link = next(port for port in ovs_ports(lab, "hv1") if port.startswith("w-"))
    assert len(link) == 15
    lab.unplug(name)


def test_move_keeps_the_workload(lab: Lab) -> None:
    lab.plug("hv1", "mover", "02:00:00:00:00:03", ["10.0.0.3/24", "2001:db8::3/64"])
    before = lab.exec("mover", ["cat", "/proc/net/fib_trie", "/proc/net/if_inet6"]).stdout
    server = lab.popen("mover", [sys.executable, "-c", _SERVE], stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"

    assert lab.move("mover", "hv2").host == "hv2"
    assert "w-mover" not in ovs_ports(lab, "hv1")
    assert "w-mover" in ovs_ports(lab, "hv2")
    assert server.poll() is None
    after = lab.exec("mover", ["cat", "/proc/net/fib_trie", "/proc/net/if_inet6"]).stdout
    assert "10.0.0.3" in after
    assert before.count("20010db8") == after.count("20010db8") == 1

    lab.unplug("mover")
    assert server.wait(5) == -signal.SIGKILL
    server.stdout.close()


_SERVE = "import socket; s = socket.create_server(('10.0.0.3', 80)); print('ready', flush=True); s.accept()"


def test_plug_without_a_bridge_says_what_is_missing(lab: Lab) -> None:
    with pytest.raises(LabError, match="hv1: bridge br-nix") as caught:
        lab.plug("hv1", "early", "02:00:00:00:00:04", ["10.0.0.4/24"], bridge="br-nix", timeout=0.2)
    assert "controller" in caught.value.hint
    assert f"{lab.state.name}-w-early" not in namespaces.names()


def test_a_port_is_plugged_once(lab: Lab) -> None:
    lab.plug("hv1", "once", "02:00:00:00:00:05", ["10.0.0.5/24"])
    with pytest.raises(LabError, match="plugged already"):
        lab.plug("hv2", "once", "02:00:00:00:00:05", ["10.0.0.5/24"])
    assert "once" in [port.name for port in lab.ports]
    lab.unplug("once")


def test_hosts_come_and_go(lab: Lab) -> None:
    host = lab.add_host()
    assert host.name == "hv3"
    add_bridge(lab, "hv3")
    lab.plug(host, "guest", "02:00:00:00:00:06", ["10.0.0.6/24"])
    assert lab.exec("hv1", ["ping", "-c1", "-W2", str(host.endpoint)]).returncode == 0
    if lab.state.datapath is Datapath.NETDEV:
        assert str(host.endpoint) in lab.host("hv1").appctl("tnl/neigh/show")

    lab.remove_host("hv3")
    assert [one.name for one in lab.hosts] == ["hv1", "hv2"]
    assert not host.directory.exists()
    assert lab.ports == ()
    assert host.namespace not in namespaces.names()
    assert not commands.daemons_of(host.directory)
    assert lab.add_host().name == "hv4", "a name is never given to another host"
    lab.remove_host("hv4")


def test_daemons_die_and_return(lab: Lab) -> None:
    host = lab.host("hv1")
    first = host.vswitchd_pid, host.ovsdb_pid
    host.kill_vswitchd()
    host.kill_vswitchd()
    assert host.vswitchd_pid is None
    host.kill_ovsdb()
    with pytest.raises(LabError):
        host.vsctl("--no-wait", "show", timeout=1)
    host.start_ovsdb()
    host.start_vswitchd()
    assert None not in (host.vswitchd_pid, host.ovsdb_pid)
    assert (host.vswitchd_pid, host.ovsdb_pid) != first
    assert lab.exec("hv2", ["ping", "-c1", "-W2", str(host.endpoint)]).returncode == 0
    with pytest.raises(LabError, match="runs already"):
        host.start_vswitchd()


def test_a_workload_leaves_a_host_whose_vswitchd_is_dead(lab: Lab) -> None:
    lab.plug("hv2", "leaver", "02:00:00:00:00:07", ["10.0.0.7/24"])
    lab.host("hv2").kill_vswitchd()
    lab.move("leaver", "hv1")
    assert "w-leaver" in ovs_ports(lab, "hv1")
    lab.unplug("leaver")
    lab.host("hv2").start_vswitchd()


def test_hosts_call_in(lab: Lab) -> None:
    host = lab.host("hv1")
    with lab.listen() as listener:
        listener.settimeout(10)
        host.set_manager(f"tcp:{lab.controller_address}:{listener.getsockname()[1]}")
        session, peer = listener.accept()
        assert peer[0] == "10.8.0.1"
        session.settimeout(10)
        with session:
            session.sendall(b'{"id":0,"method":"list_dbs","params":[]}')
            assert b"Open_vSwitch" in session.recv(4096)
            # The session outlives ovs-vswitchd, though the underlay runs through it.
            host.kill_vswitchd()
            session.sendall(b'{"id":1,"method":"echo","params":["there"]}')
            assert b"there" in session.recv(4096)
            host.start_vswitchd()
    host.set_manager()


def test_a_pulled_cable(lab: Lab) -> None:
    far = str(lab.host("hv2").endpoint)
    lab.set_cable("hv2", up=False)
    assert lab.exec("hv1", ["ping", "-c1", "-W1", far]).returncode != 0
    lab.set_cable("hv2", up=True)
    assert lab.exec("hv1", ["ping", "-c3", "-i0.2", "-W2", far]).returncode == 0


def test_exec_reports_and_stops_in_time(lab: Lab) -> None:
    assert lab.exec("hv1", ["sh", "-c", "echo out; echo err >&2; exit 3"]).returncode == 3
    assert (
        lab.host("hv2").name
        in lab.exec("hv2", ["ovs-vsctl", "get", "Open_vSwitch", ".", "external_ids"]).stdout
    )
    assert lab.exec("fabric", ["ping", "-c1", "-W2", str(lab.host("hv1").endpoint)]).returncode == 0
    with pytest.raises(LabError, match="no end after"):
        lab.exec("hv1", ["sleep", "30"], timeout=0.2)
    with pytest.raises(LabError, match="no port nowhere"):
        lab.exec("nowhere", ["true"])


async def test_up_beside_a_running_loop(some_settings: LabSettings) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    lab = await asyncio.to_thread(Lab.up, some_settings)
    await asyncio.to_thread(lab.down)
    ticking.cancel()
    assert ticks > 5
    Lab.up(some_settings).down()  # and from the loop's own thread, when somebody must


def test_the_callers_namespace_never_changes(lab: Lab) -> None:
    before = os.stat("/proc/self/ns/net").st_ino
    inside = namespaces.inside(lab.host("hv1").namespace, lambda: os.stat("/proc/thread-self/ns/net").st_ino)
    assert inside != before
    assert os.stat("/proc/thread-self/ns/net").st_ino == before
    with pytest.raises(ZeroDivisionError):
        namespaces.inside(lab.host("hv1").namespace, lambda: 1 // 0)
    assert socket.if_nametoindex("lo") == 1
