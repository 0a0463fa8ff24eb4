# SPDX-License-Identifier: Apache-2.0
"""The database as a child: made, converted, restarted, guarded, gone with us."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import pytest

from controller.errors import SetupError
from controller.intent import embedded
from controller.intent.embedded import EmbeddedDatabase
from controller.intent.ovsdb_store import OvsdbStore
from controller.intent.service import IntentService
from tests.unit.intent.builders import host, put

SCHEMA = (files("controller.intent") / "schema.ovsschema").read_text()
VERSION = json.loads(SCHEMA)["version"]
HOLDER = """
import asyncio, sys
from pathlib import Path
from controller.intent.embedded import EmbeddedDatabase
async def main():
    async with EmbeddedDatabase(Path(sys.argv[1])) as database:
        print(database.pid, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_gone(pid):
    deadline = time.monotonic() + 5
    while lives(pid):
        assert time.monotonic() < deadline, f"{pid} still runs"
        time.sleep(0.01)


@pytest.fixture
def holder(directory):
    """Another controller, as a process of its own, and the pid of its database."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory)], stdout=subprocess.PIPE, text=True
    )
    yield process, int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()


def serve_by_hand(directory):
    files = {name: directory / f"db.{name}" for name in ("pid", "ctl", "sock")}
    process = subprocess.Popen(
        [
            *("ovsdb-server", directory / "intent.db", "-vconsole:off", "-vsyslog:off"),
            *(f"--pidfile={files['pid']}", f"--unixctl={files['ctl']}", f"--remote=punix:{files['sock']}"),
        ],
        env={**os.environ, "OVS_RUNDIR": str(directory)},
    )
    while not files["pid"].exists():
        time.sleep(0.01)
    return process


async def write_one(database, name, address):
    store = OvsdbStore(database.remote)
    service = IntentService(store)
    await service.start()
    await service.submit(put(name, host(address)))
    await service.stop()
    await store.close()
    return service.intent


async def load(database):
    service = IntentService(store := OvsdbStore(database.remote))
    await service.start()
    await service.stop()
    await store.close()
    return service.intent


async def test_starts_stops_and_keeps(directory):
    async with EmbeddedDatabase(directory) as database:
        assert directory.stat().st_mode & 0o777 == 0o700
        pid = database.pid
        intent = await write_one(database, "hv1", "192.0.2.1")
    assert not lives(pid)
    assert database.pid is None
    async with EmbeddedDatabase(directory) as database:
        assert await load(database) == intent
    assert len(asyncio.all_tasks()) == 1


async def test_a_killed_server_comes_back_and_its_clients_too(directory):
    async with EmbeddedDatabase(directory) as database:
        store = OvsdbStore(database.remote)
        service = IntentService(store)
        await service.start()
        pids = set()
        for number in range(3):
            pids.add(database.pid)
            os.kill(database.pid, signal.SIGKILL)
            await service.submit(put(f"h{number}", host(f"192.0.2.{number + 1}")))
        assert len(pids) == 3
        assert set((await load(database)).hosts) == {"h0", "h1", "h2"}
        await service.stop()
        await store.close()
    assert len(asyncio.all_tasks()) == 1


async def test_one_controller_a_directory(directory, holder):
    process, _ = holder
    with pytest.raises(SetupError, match=str(process.pid)):
        await EmbeddedDatabase(directory).start()
    process.kill()
    process.wait()
    async with EmbeddedDatabase(directory):
        with pytest.raises(SetupError, match=str(os.getpid())):
            await EmbeddedDatabase(directory).start()


async def test_the_server_dies_with_its_controller(directory, holder):
    process, server = holder
    assert lives(server)
    process.kill()
    process.wait()
    wait_gone(server)
    async with EmbeddedDatabase(directory) as database:
        await write_one(database, "hv1", "192.0.2.1")


async def test_an_orphan_is_ended(directory):
    async with EmbeddedDatabase(directory):
        pass
    orphan = serve_by_hand(directory)
    try:
        async with EmbeddedDatabase(directory) as database:
            assert database.pid != orphan.pid
            await write_one(database, "hv1", "192.0.2.1")
        assert orphan.wait(5) == -signal.SIGKILL
    finally:
        orphan.kill()
        orphan.wait()


async def test_a_pid_that_somebody_else_has_now_is_left_alone(directory):
    async with EmbeddedDatabase(directory):
        pass
    (directory / "db.pid").write_text(f"{os.getpid()}\n")
    async with EmbeddedDatabase(directory) as database:
        await write_one(database, "hv1", "192.0.2.1")


async def test_an_older_database_is_converted_and_kept(directory, tmp_path, monkeypatch):
    async with EmbeddedDatabase(directory) as database:
        intent = await write_one(database, "hv1", "192.0.2.1")
    package = tmp_path / "package"
    package.mkdir()
    newer = SCHEMA.replace(f'"version": "{VERSION}"', '"version": "99.0.0"').replace(
        '"bridge": {"type": "string"},', '"bridge": {"type": "string"},\n"rack": {"type": "string"},'
    )
    (package / "schema.ovsschema").write_text(newer)
    with monkeypatch.context() as patched:
        patched.setattr(embedded, "files", lambda _: package)
        async with EmbeddedDatabase(directory) as database:
            assert await load(database) == intent
        (backup,) = directory.glob("intent.db.backup-*")
        async with EmbeddedDatabase(directory) as database:
            assert await load(database) == intent
        assert [*directory.glob("intent.db.backup-*")] == [backup], "converted once"
    with pytest.raises(SetupError, match=re.escape(f"has schema 99.0.0, this controller knows {VERSION}")):
        await EmbeddedDatabase(directory).start()
    backup.replace(directory / "intent.db")
    async with EmbeddedDatabase(directory) as database:
        assert await load(database) == intent


async def test_a_database_that_was_half_made_is_made(directory):
    directory.mkdir()
    (directory / "intent.new").write_bytes(b"OVSDB JSON 5")
    async with EmbeddedDatabase(directory) as database:
        await write_one(database, "hv1", "192.0.2.1")


async def test_a_file_that_is_no_database_is_told(directory):
    directory.mkdir()
    (directory / "intent.db").write_text("nothing of the kind\n")
    with pytest.raises(SetupError, match="ovsdb-tool db-version failed"):
        await EmbeddedDatabase(directory).start()
    (directory / "intent.db").unlink()
    async with EmbeddedDatabase(directory):
        pass


async def test_a_path_too_long_for_a_socket(directory):
    with pytest.raises(SetupError, match="too long"):
        await EmbeddedDatabase(directory / ("x" * 100)).start()


async def test_missing_programs_are_named(directory, monkeypatch):
    monkeypatch.setenv("PATH", str(directory))
    with pytest.raises(SetupError, match="install Open vSwitch"):
        await EmbeddedDatabase(directory).start()
