# SPDX-License-Identifier: Apache-2.0
"""The .deb that `make deb` builds of a wheel of the tree. It is unpacked, not installed: nothing else is touched."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOME = "opt/ovs-geneve"


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deb")
    done = subprocess.run(
        ["sh", str(ROOT / "packaging/deb.sh"), str(folder)],
        env={**os.environ, "PIP_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def unpacked(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    run("dpkg-deb", "--extract", str(deb), str(folder))
    return folder


def run(*command: str, **variables: str) -> str:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        command, cwd="/", env={**clean, **variables}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def ours(unpacked: Path) -> Path:
    (packages,) = (unpacked / HOME / "lib").glob("python3.*/site-packages")
    return packages


def test_everything_of_the_tree_is_in_it(unpacked: Path) -> None:
    """Package data too: schemas, registries, the topology, the units."""
    packages = ours(unpacked)
    for package in ("controller", "ovs_geneve"):
        wanted = {
            path.relative_to(ROOT)
            for path in (ROOT / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        there = {path.relative_to(packages) for path in (packages / package).rglob("*") if path.is_file()}
        assert {path for path in wanted - there if path.name != "README.md"} == set()


def test_the_command_runs_from_its_own_environment(unpacked: Path) -> None:
    python = str(unpacked / HOME / "bin/python3")
    where = run(python, "-c", "import controller; print(controller.__file__)").strip()
    assert where == str(ours(unpacked) / "controller/__init__.py")
    assert "version" in run(python, "-m", "controller", "--version")
    imported = run(python, "-c", "import controller.process, controller.lab; print('all of it')")
    assert imported == "all of it\n"


def test_no_path_of_the_machine_that_built_it_is_left(unpacked: Path) -> None:
    command = (unpacked / HOME / "bin/ovs-geneve").read_text()
    assert command.startswith("#!/opt/ovs-geneve/bin/python3\n")
    assert os.readlink(unpacked / HOME / "bin/python3") == "/usr/bin/python3"
    assert re.search("^home = /usr/bin$", (unpacked / HOME / "pyvenv.cfg").read_text(), re.MULTILINE)
    assert b"/tmp/" not in (unpacked / HOME / "pyvenv.cfg").read_bytes()
    (compiled,) = (ours(unpacked) / "controller/cli/__pycache__").glob("main.*.pyc")
    assert b"/opt/ovs-geneve/lib/" in compiled.read_bytes()


def test_units_are_where_systemd_looks_and_start_what_is_in_it(unpacked: Path) -> None:
    units = sorted((unpacked / "lib/systemd/system").iterdir())
    assert [unit.name for unit in units] == ["ovs-geneve-agent.service", "ovs-geneve-controller.service"]
    for unit in units:
        assert unit.read_text() == (ROOT / "controller/units" / unit.name).read_text()
        (command,) = re.findall("^ExecStart=(\\S+)", unit.read_text(), re.MULTILINE)
        assert (unpacked / command.lstrip("/")).exists()


def test_it_says_what_it_needs(deb: Path, unpacked: Path) -> None:
    minor = int(re.findall(r"python3\.(\d+)", str(ours(unpacked)))[0])
    needs = run("dpkg-deb", "--field", str(deb), "Depends")
    assert f"python3 (>= 3.{minor}~), python3 (<< 3.{minor + 1}~)" in needs
    assert run("dpkg-deb", "--info", str(deb), "conffiles") == "/etc/default/ovs-geneve-controller\n"
