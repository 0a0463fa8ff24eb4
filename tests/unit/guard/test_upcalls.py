# SPDX-License-Identifier: Apache-2.0
"""Lost upcalls, as `dpctl/show` of OVS 3.1 on Linux 6.1 tells of them."""

from controller.guard.upcalls import Misses, Upcalls, parse_misses

SHOWN = """\
system@ovs-system:
  lookups: hit:12 missed:16 lost:16
  flows: 0
  masks: hit:16 total:0 hit/pkt:1.00
  caches:
    masks-cache: size:256
  port 0: ovs-system (internal)
  port 1: br-int (internal)
netdev@ovs-netdev:
  lookups: hit:1 missed:2 lost:2
  flows: 0
"""


def test_the_kernel_s_datapaths_are_read() -> None:
    assert parse_misses(SHOWN) == {"system@ovs-system": Misses(16, 16)}
    assert parse_misses("") == {}


def looks(*counted: tuple[int, int]) -> tuple[Upcalls, list[bool]]:
    upcalls = Upcalls()
    found = [upcalls.look({"system@ovs-system": Misses(*one)}, float(at)) for at, one in enumerate(counted)]
    return upcalls, found


def test_what_was_lost_before_the_first_look_is_nobody_s_business_any_more() -> None:
    upcalls, found = looks((16, 16), (20, 16))
    assert found == [False, False]
    assert upcalls.message(1) == ""


def test_all_lost_is_told_once_and_spoken_of_for_a_minute() -> None:
    upcalls, found = looks((4, 0), (20, 16), (25, 21))
    assert found == [False, True, False]
    assert "none of 5 packets" in upcalls.message(2)
    assert "restart ovs-vswitchd" in upcalls.message(2)
    assert upcalls.message(70) == ""


def test_some_lost_is_another_matter() -> None:
    upcalls, found = looks((0, 0), (1000, 7))
    assert found == [False, True]
    assert "took 993 of 1000" in upcalls.message(1)
    assert "n-handler-threads" in upcalls.message(1)
