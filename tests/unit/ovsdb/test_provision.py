# SPDX-License-Identifier: Apache-2.0
"""What a host cannot be asked to hold; what it can is tested on real databases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ovs_geneve.errors import EncodeError
from ovs_geneve.ovsdb.provision import HostProvision
from ovs_geneve.values import Dpid, OfPort
from ovs_geneve.vport import GeneveVport

HOST = HostProvision(owner="fabric1", dpid=Dpid(1), controller="tcp:192.0.2.1:6653")
VPORT = GeneveVport(name="geneve0", ofport_request=OfPort(1))


@pytest.mark.parametrize(
    ("fields", "culprit"),
    [
        ({"owner": ""}, "owner"),
        ({"controller": ""}, "controller"),
        ({"bridge": ""}, "bridge"),
        ({"dpid": Dpid(0)}, "dpid"),
        ({"dpid": Dpid(1 << 64)}, "dpid"),
        ({"protocols": frozenset()}, "protocols"),
        ({"protocols": frozenset({"OpenFlow15", "OpenFlow16"})}, "protocols"),
        ({"fail_mode": "open"}, "fail_mode"),
        ({"max_backoff": 999}, "max_backoff"),
        ({"vports": (VPORT, replace(VPORT, ofport_request=None, dst_port=1))}, "vports name"),
        ({"vports": (replace(VPORT, name="br-int"),)}, "vports name"),
        ({"vports": (VPORT, replace(VPORT, name="g1", dst_port=1))}, "vports ofport_request"),
        ({"vports": (VPORT, replace(VPORT, name="g1", ofport_request=None))}, "vports tunnel"),
    ],
)
def test_the_error_names_the_field(fields, culprit):
    with pytest.raises(EncodeError) as caught:
        replace(HOST, **fields)
    assert caught.value.field == culprit


def test_the_limits_themselves_are_fine():
    replace(HOST, dpid=Dpid((1 << 64) - 1), max_backoff=1000, inactivity_probe=0, vports=(VPORT,))
    replace(HOST, max_backoff=None, inactivity_probe=None)
