# SPDX-License-Identifier: Apache-2.0
"""The documents that docs/operating.md shows can be applied as they stand, and do what it says."""

from __future__ import annotations

import re
import tempfile
import textwrap
from pathlib import Path

import pytest
import yaml

from controller.cli.client import collection_of
from controller.lab.beside import ControllerBeside
from controller.lab.demo import declare, plug

pytestmark = pytest.mark.system

PAGE = (Path(__file__).parents[3] / "docs" / "operating.md").read_text()


def test_the_groups_of_the_page(bring_up, unused_tcp_port: int) -> None:
    found = re.search(r"^    \$ cat groups.yaml\n(.*?)^    \$ ", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    documents = list(yaml.safe_load_all(textwrap.dedent(found[1])))
    lab = bring_up(hosts=3)
    with (
        tempfile.TemporaryDirectory(prefix="page") as directory,
        ControllerBeside(Path(directory) / "controller", f"127.0.0.1:{unused_tcp_port}") as controller,
    ):
        declare(lab, controller)
        plug(lab)
        for document in documents:
            spec = {key: value for key, value in document.items() if key not in ("kind", "name")}
            controller.put(collection_of(document["kind"]), document["name"], spec, wait=True)
        answered = {
            source: lab.exec(source, ["ping", "-q", "-c", "2", "-W", "1", "10.0.0.2"]).returncode == 0
            for source in ("web1", "guest1")
        }
        assert answered == {"web1": True, "guest1": False}
        (refused,) = (one for one in controller.get("events")["items"] if one["kind"] == "denied")
        assert refused["message"] == "deny no group -> db icmp 10.0.0.3 -> 10.0.0.2 by default on hv2"
        assert refused["count"] == 2
        assert controller.get("policies/web-db")["status"]["counters"]["packets"] == 2
