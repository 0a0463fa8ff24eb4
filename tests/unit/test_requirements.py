# SPDX-License-Identifier: Apache-2.0
"""What setup.cfg has installed is enough: nothing that a host runs needs what only tests bring."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_IMPORT = """
import importlib.abc, pkgutil, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(f"only tests have {{name}}", name=name)

sys.meta_path.insert(0, Absent())
for package in ("controller", "ovs_geneve"):
    for module in pkgutil.walk_packages([package], package + "."):
        if not module.name.endswith("__main__"):
            __import__(module.name)
"""


def named(lines: str) -> set[str]:
    """Return the distributions that a list of requirements names."""
    found = (re.match(r"[A-Za-z0-9._-]+", line) for line in lines.split())
    return {one[0].lower().replace("_", "-") for one in found if one is not None}


def test_every_module_can_be_imported_without_what_only_tests_need() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    kept = named(setup["options"]["install_requires"])
    extra = named(setup["options.extras_require"]["test"]) | {"pyparsing"}
    absent = {
        module
        for module, owners in packages_distributions().items()
        if {owner.lower() for owner in owners} & extra and not {owner.lower() for owner in owners} & kept
    }
    assert "pytest" in absent
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT.format(absent=absent)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
