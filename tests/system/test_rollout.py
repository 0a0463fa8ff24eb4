# SPDX-License-Identifier: Apache-2.0
"""Options go into a network that is in use, and out of it, and nobody who uses it notices."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator

import pytest

from controller.intent.model import CapabilitySpec, Kind
from controller.lab import LabHost
from ovs_geneve.geneve.capture import read_capture
from ovs_geneve.geneve.fields import FieldKind, OptionField, OptionLayout
from ovs_geneve.geneve.outer import OuterPacket, find_geneve
from ovs_geneve.geneve.packet import decode
from ovs_geneve.values import OptionClass, OptionType
from tests.system.overlay import Endpoint, Overlay, Pinging

pytestmark = pytest.mark.system

REST_SECONDS = 2.0


def layout(name: str, option_type: int) -> OptionLayout:
    field = OptionField(name="mark", kind=FieldKind.UINT, offset=0, bits=8)
    return OptionLayout(
        name=name,
        option_class=OptionClass(0xFF00),
        option_type=OptionType(option_type),
        length=4,
        fields=(field,),
    )


@pytest.fixture(scope="module")
def shared(make_overlay: Callable[..., Overlay]) -> Overlay:
    overlay = make_overlay("--slot-rest", str(REST_SECONDS))
    overlay.schema(layout("context", 1))
    return overlay


@pytest.fixture
def ports(overlay: Overlay) -> list[Endpoint]:
    overlay.network("blue")
    return [overlay.port("blue", f"hv{number}", number) for number in (1, 2, 3)]


@pytest.fixture
def traffic(overlay: Overlay, ports: list[Endpoint]) -> Iterator[list[Pinging]]:
    """Traffic between hv1 and hv2, checked at the end of the test."""
    one, two, _ = ports
    pings = [overlay.pinging(one, two.ipv4), overlay.pinging(two, one.ipv6)]
    time.sleep(0.3)
    yield pings
    time.sleep(0.3)
    for ping in pings:
        ping.assert_nothing_lost(at_least=10)


def stamped(overlay: Overlay, host: str = "hv2", seconds: float = 0.4) -> set[tuple[tuple[int, int], ...]]:
    """Return what sets of options the packets carry that come by on a host's underlay."""
    with overlay.lab.capture(host, expression="udp port 6081") as capture:
        time.sleep(seconds)
    found = set()
    for frame in read_capture(io.BytesIO(capture.path.read_bytes())):
        outer = find_geneve(frame.linktype, frame.data)
        if isinstance(outer, OuterPacket):
            options = decode(outer.geneve).options
            found.add(tuple((option.option_class, option.option_type) for option in options))
    return found


def until(condition: Callable[[], bool], what: str, timeout: float = 10.0) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def rollout(overlay: Overlay, name: str = "blue:context") -> tuple[bool, str, str] | None:
    found: tuple[bool, str, str] | None = overlay.controller.ask("rollouts").get(name)
    return found


CONTEXT, NONE = {((0xFF00, 1),)}, {()}


def test_what_hosts_can_do_is_recorded(overlay: Overlay) -> None:
    for host in overlay.lab.hosts:
        told = overlay.controller.ask("capabilities", host.name)
        assert isinstance(told, CapabilitySpec)
        assert told.ovs_version.count(".") == 2
        assert (told.datapath, told.critical, told.foreign) == ("netdev", True, ())
        assert (told.max_option_bytes, told.max_options) == (256, 64)
        assert told.kernel, "it is this machine"


def test_in_and_out_while_traffic_flows(overlay: Overlay, traffic: list[Pinging]) -> None:
    assert stamped(overlay) == NONE
    overlay.carry("blue", "context")
    assert rollout(overlay) is None
    assert stamped(overlay) == CONTEXT
    overlay.carry("blue")
    assert stamped(overlay) == NONE


def test_a_canary_that_fails_rolls_back(overlay: Overlay, traffic: list[Pinging]) -> None:
    # What a device on the way does that drops packets with options: a flow that is not ours, on hv2.
    slot, hv2 = overlay.controller.ask("slot", "context"), overlay.lab.host("hv2")
    hv2.ofctl(
        "add-flow",
        "br-int",
        f"cookie=0x1234,table=0,priority=60000,in_port=6081,tun_metadata{slot},actions=drop",
    )
    try:
        overlay.carry("blue", "context", wait=False)
        until(lambda: (rollout(overlay) or ("", "", ""))[1] == "rolled-back", "it is rolled back", 15.0)
        _, _, reason = rollout(overlay) or (True, "", "")
        assert reason.startswith("canary failed: hv1 to hv2: "), reason
        conditions = overlay.controller.ask("conditions", Kind.NETWORK, "blue")
        assert conditions["Programmed"][1] == "RolledBack"
        assert stamped(overlay) == NONE
        assert rollout(overlay) == (True, "rolled-back", reason), "until somebody tries again"
    finally:
        hv2.ofctl("del-flows", "br-int", "cookie=0x1234/-1")
    overlay.carry("blue", "context")
    assert stamped(overlay) == CONTEXT


@pytest.fixture
def down(overlay: Overlay, ports: list[Endpoint]) -> Iterator[LabHost]:
    """hv3 without its ovs-vswitchd; it is there again after the test."""
    host = overlay.lab.host("hv3")
    host.kill_vswitchd()
    until(lambda: overlay.controller.ask("progress", "hv3")["phase"] == "absent", "hv3 is gone")
    yield host
    if host.vswitchd_pid is None:
        host.start_vswitchd()
    overlay.controller.settle((Kind.HOST, "hv3"))


WAITS = "waits for host hv3: not connected"


def test_a_host_that_is_down_is_waited_for(
    overlay: Overlay, ports: list[Endpoint], traffic: list[Pinging], down: LabHost
) -> None:
    overlay.carry("blue", "context", wait=False)
    until(lambda: rollout(overlay) == (True, "receivers", WAITS), "it says what it waits for")
    conditions = overlay.controller.ask("conditions", Kind.NETWORK, "blue")
    assert conditions["Programmed"][0] == "False"
    assert stamped(overlay) == NONE, "nobody sends what hv3 may not understand"
    overlay.controller.kill()
    overlay.controller.start()
    until(lambda: rollout(overlay) == (True, "receivers", WAITS), "it still waits after a restart")
    down.start_vswitchd()
    overlay.controller.settle((Kind.NETWORK, "blue"))
    assert stamped(overlay) == CONTEXT
    assert overlay.ping(ports[0], ports[2].ipv4) == 3


def test_out_waits_for_a_host_that_may_still_send(
    overlay: Overlay, ports: list[Endpoint], traffic: list[Pinging], down: LabHost
) -> None:
    down.start_vswitchd()
    overlay.controller.settle((Kind.HOST, "hv3"))
    overlay.carry("blue", "context")
    down.kill_vswitchd()
    until(lambda: overlay.controller.ask("progress", "hv3")["phase"] == "absent", "hv3 is gone")
    overlay.carry("blue", wait=False)
    until(lambda: rollout(overlay) == (False, "senders", WAITS), "it says what it waits for")
    assert stamped(overlay) == NONE, "who is there has stopped"
    down.start_vswitchd()
    overlay.controller.settle((Kind.NETWORK, "blue"))
    assert rollout(overlay) is None


def test_a_host_that_is_taken_out_is_waited_for_no_more(
    overlay: Overlay, ports: list[Endpoint], traffic: list[Pinging], down: LabHost
) -> None:
    overlay.carry("blue", "context", wait=False)
    until(lambda: rollout(overlay) == (True, "receivers", WAITS), "it says what it waits for")
    overlay.expel("hv3")
    until(lambda: rollout(overlay) is None, "the others go on")
    assert stamped(overlay) == CONTEXT
    down.start_vswitchd()
    overlay.enrol(down)


def test_vswitchd_restarts_in_the_middle(overlay: Overlay, ports: list[Endpoint]) -> None:
    bystander = overlay.pinging(ports[0], ports[1].ipv4)
    host = overlay.lab.host("hv3")
    for options in (("context",), ()):
        overlay.carry("blue", *options, wait=False)
        host.kill_vswitchd()
        host.start_vswitchd()
        overlay.controller.settle((Kind.NETWORK, "blue"), (Kind.HOST, "hv3"), timeout=15)
        assert rollout(overlay) is None
        assert stamped(overlay) == (CONTEXT if options else NONE)
    assert overlay.ping(ports[0], ports[2].ipv4) == 3
    bystander.assert_nothing_lost(at_least=10)


def test_a_policy_reads_0_until_the_option_is_there(overlay: Overlay, ports: list[Endpoint]) -> None:
    one, two, _ = ports
    down = overlay.lab.host("hv3")
    down.kill_vswitchd()
    until(lambda: overlay.controller.ask("progress", "hv3")["phase"] == "absent", "hv3 is gone")
    try:
        overlay.carry("blue", "context", wait=False)
        overlay.policy("zero", "blue", [("context.mark", 0, 0xFF)], to_port=two.name, wait=False)
        overlay.controller.settle((Kind.PORT, one.name), (Kind.PORT, two.name))
        assert rollout(overlay) is not None
        assert overlay.ping(one, two.ipv4) == 3, "what is not stamped is 0"
    finally:
        down.start_vswitchd()
    overlay.controller.settle((Kind.NETWORK, "blue"), (Kind.OPTION_POLICY, "zero"))
    assert overlay.ping(one, two.ipv4) == 3, "what is stamped and not set is 0"
    overlay.controller.delete(Kind.OPTION_POLICY, "zero")


def test_a_slot_rests_before_another_option_gets_it(
    overlay: Overlay, ports: list[Endpoint], traffic: list[Pinging]
) -> None:
    one, two, _ = ports
    overlay.schema(layout("first", 11))
    slot = overlay.controller.ask("slot", "first")
    overlay.carry("blue", "first")
    # What is stamped as `first` would be dropped if it was ever read as what comes after it.
    for number, port in ((1, one), (2, two)):
        assert overlay.declare("blue", number, values={"first.mark": 7}) == port
    overlay.controller.settle((Kind.PORT, one.name), (Kind.PORT, two.name))
    assert stamped(overlay) == {((0xFF00, 11),)}
    for number, port in ((1, one), (2, two)):
        assert overlay.declare("blue", number) == port
    overlay.carry("blue")
    overlay.controller.delete(Kind.OPTION_SCHEMA, "first")
    assert overlay.controller.ask("resting") == [slot]
    overlay.schema(layout("meanwhile", 12))
    assert overlay.controller.ask("slot", "meanwhile") != slot, "it rests"
    until(lambda: overlay.controller.ask("resting") == [], "its rest ends")
    overlay.schema(layout("second", 13))
    assert overlay.controller.ask("slot", "second") == slot
    overlay.carry("blue", "second")
    overlay.policy("never", "blue", [("second.mark", 7, 0xFF)], action="drop")
    assert stamped(overlay) == {((0xFF00, 13),)}
    overlay.controller.delete(Kind.OPTION_POLICY, "never")
    overlay.carry("blue")
    for name in ("meanwhile", "second"):
        overlay.controller.delete(Kind.OPTION_SCHEMA, name)
