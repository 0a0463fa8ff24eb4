# SPDX-License-Identifier: Apache-2.0
"""Devices as the kernel tells of them over netlink, against what ethtool prints."""

from __future__ import annotations

import errno
import re
import shutil
import subprocess
from ipaddress import ip_address

import pytest

from ovs_geneve.offload.ethtool import Ethtool, device_with
from ovs_geneve.offload.nic import FEATURES


@pytest.mark.skipif(shutil.which("ethtool") is None, reason="needs ethtool to compare with")
def test_features_are_those_that_ethtool_prints() -> None:
    printed = subprocess.run(["ethtool", "-k", "lo"], check=True, capture_output=True, text=True).stdout
    expected = dict(re.findall(r"^\s*(\S+): (on|off(?: \[fixed\])?|on \[fixed\])$", printed, re.MULTILINE))
    with Ethtool() as reader:
        nic = reader.nic("lo")
    assert {name: str(feature) for name, feature in nic.features.items()} == {
        name: expected[name] for name in FEATURES
    }
    assert (nic.device, nic.tunnel_ports) == ("lo", None)


def test_a_device_that_is_not_there() -> None:
    with Ethtool() as reader, pytest.raises(OSError, match="No such device") as caught:
        reader.nic("nothere0")
    assert caught.value.errno == errno.ENODEV


def test_a_device_is_found_by_its_address() -> None:
    assert device_with(ip_address("127.0.0.1")) == "lo"
    assert device_with(ip_address("192.0.2.77")) is None
