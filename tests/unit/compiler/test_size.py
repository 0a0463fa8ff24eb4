# SPDX-License-Identifier: Apache-2.0
"""How much a bridge should hold is known without looking at it, whatever happened before."""

from __future__ import annotations

from random import Random

import pytest

from controller.errors import IntentError
from tests.builders import Fabric
from tests.unit.compiler.operations import HOSTS, PORTS, Operations


@pytest.mark.parametrize("seed", range(5))
def test_size_is_that_of_what_is_desired(seed: int) -> None:
    random = Random(seed)
    operations = Operations(random)
    fabric = Fabric()
    groups = 0
    commands = [*operations.world(), *(operations.draw() for _ in range(120))]
    for command in commands:
        try:
            fabric.do(command)
        except IntentError:
            number = random.randrange(len(PORTS))
            fabric.plug(random.choice(HOSTS), **{PORTS[number]: random.choice((0, number + 1))})
        for name in HOSTS:
            desired = fabric.compiler.desired(name)
            assert fabric.compiler.size(name) == (len(desired.flows), len(desired.groups))
            groups += len(desired.groups)
    assert groups, "no host has a network: nothing was tested"
