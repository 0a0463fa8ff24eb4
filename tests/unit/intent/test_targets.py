# SPDX-License-Identifier: Apache-2.0
"""A network whose hosts stand behind a gateway load balancer."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from controller.errors import IntentError
from controller.intent.intent import Intent
from controller.intent.model import TargetSpec
from tests.builders import after, delete, host, network, port, put, schema

OPTIONS = ("endpoint", "attachment", "cookie")


def target(*hosts: str, gateways: tuple[str, ...] = ("192.0.2.100",)) -> TargetSpec:
    return TargetSpec(gateways=tuple(map(ip_address, gateways)), hosts=hosts or ("hv1",))


def aws(option_type: int, length: int):
    return schema(option_type, option_class=0x0108, length=length, fields=(), profile="aws-gwlb")


def fabric() -> Intent:
    return after(
        Intent(),
        put("hv1", host("192.0.2.1")),
        put("hv2", host("192.0.2.2")),
        put("endpoint", aws(1, 8)),
        put("attachment", aws(2, 8)),
        put("cookie", aws(3, 4)),
        put("other", schema(1)),
        put("gwlb", network(300, *OPTIONS, target=target("hv1"))),
        put("blue", network(100)),
    )


@pytest.mark.parametrize(
    ("command", "code", "pointer"),
    [
        (put("g2", network(301, *OPTIONS[:2], target=target())), "target-options", "/options"),
        (put("g2", network(301, *OPTIONS, "other", target=target())), "target-options", "/options"),
        (put("g2", network(301, *OPTIONS, target=target("hv9"))), "host-unknown", "/target/hosts/0"),
        (put("g2", network(301, *OPTIONS, target=target("hv1", "hv1"))), "host-duplicate", "/target/hosts/1"),
        (put("g2", network(301, *OPTIONS, target=target(gateways=()))), "target-empty", "/target"),
        (
            put("g2", network(301, *OPTIONS, target=target(gateways=("192.0.2.2",)))),
            "endpoint-taken",
            "/target/gateways/0",
        ),
        (
            put("g2", network(301, *OPTIONS, target=target(gateways=("224.0.0.1",)))),
            "address-not-unicast",
            "/target/gateways/0",
        ),
        (put("web1", port("gwlb", 1)), "network-is-target", "/network"),
        (delete("host/hv1"), "in-use", ""),
        (put("hv3", host("192.0.2.100")), "endpoint-taken", "/endpoints/0/address"),
    ],
)
def test_what_is_refused(command, code, pointer):
    with pytest.raises(IntentError) as raised:
        after(fabric(), command)
    assert (raised.value.code, raised.value.pointer) == (code, pointer)


def test_a_network_with_ports_becomes_no_target():
    intent = after(fabric(), put("web1", port("blue", 1)))
    with pytest.raises(IntentError) as raised:
        after(intent, put("blue", network(100, *OPTIONS, target=target())))
    assert (raised.value.code, raised.value.holder) == ("in-use", "port/web1")


def test_slots_must_be_in_the_order_of_types():
    intent = after(
        Intent(),
        put("hv1", host("192.0.2.1")),
        put("cookie", aws(3, 4)),
        put("endpoint", aws(1, 8)),
        put("attachment", aws(2, 8)),
    )
    with pytest.raises(IntentError) as raised:
        after(intent, put("gwlb", network(300, *OPTIONS, target=target("hv1"))))
    assert raised.value.code == "target-options"


def test_a_host_that_is_no_target_any_more_may_go():
    intent = after(fabric(), put("gwlb", network(300, *OPTIONS, target=target("hv2"))))
    assert "hv1" not in after(intent, delete("host/hv1")).hosts
