# SPDX-License-Identifier: Apache-2.0
"""Conditions that follow from what is declared of a host."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from controller.intent.model import HostSpec, Tunables
from controller.reconciler.status import interoperable


@pytest.mark.parametrize(
    ("address", "csum", "warned"),
    [("192.0.2.1", False, False), ("2001:db8::1", True, False), ("2001:db8::1", False, True)],
)
def test_zero_checksums_over_ipv6_are_warned_of(address: str, csum: bool, warned: bool) -> None:
    host = HostSpec(endpoints=(ip_address(address),), tunables=Tunables(csum=csum))
    condition = interoperable(host)
    assert (condition is not None) is warned
    if condition is not None:
        assert (condition.type, condition.reason) == ("Interoperable", "ZeroChecksums")
        assert address in condition.message
