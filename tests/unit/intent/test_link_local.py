# SPDX-License-Identifier: Apache-2.0
"""A port speaks from the link-local address of its MAC without declaring it: nobody else may declare that one."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from controller.errors import Conflict
from controller.intent.intent import Intent
from controller.intent.model import link_local
from tests.unit.intent.builders import after, network, port, put

NETS = (put("blue", network(100)), put("red", network(200)))


def test_it_is_made_from_the_mac() -> None:
    assert link_local(0x020000000001) == ip_address("fe80::ff:fe00:1")
    assert link_local(0x3456789ABCDE) == ip_address("fe80::3656:78ff:fe9a:bcde")


@pytest.mark.parametrize(
    "commands",
    [
        (put("a", port("blue", 1, "2001:db8::1")), put("b", port("blue", 2, "fe80::ff:fe00:1"))),
        (put("b", port("blue", 2, "fe80::ff:fe00:1")), put("a", port("blue", 1, "2001:db8::1"))),
    ],
)
def test_another_port_may_not_declare_it(commands) -> None:
    with pytest.raises(Conflict) as refused:
        after(Intent(), *NETS, *commands)
    assert refused.value.code == "address-taken"


def test_the_port_itself_another_network_and_addresses_of_no_mac_may() -> None:
    held = after(
        Intent(),
        *NETS,
        put("a", port("blue", 1, "fe80::ff:fe00:1", "2001:db8::1")),
        put("b", port("red", 2, "fe80::ff:fe00:1")),
        put("c", port("blue", 3, "fe80::1")),
    )
    assert set(held.ports) == {"a", "b", "c"}
