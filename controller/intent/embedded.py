# SPDX-License-Identifier: Apache-2.0
"""The intent database as a child of this process: an ovsdb-server on a Unix socket in the state directory.

    DIRECTORY/  0700            lock                 held (flock) by the controller, with its pid
                                intent.db            the database; intent.db.backup-* before a conversion
                                db.sock db.ctl db.pid db.log     of the ovsdb-server that runs

The child never outlives the controller (PR_SET_PDEATHSIG); if it dies first, another one is started. Nothing is
known here of what the database holds but its schema file.
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import logging
import os
import shutil
import signal
import socket
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path

from controller.errors import SetupError
from ovs_geneve.ovsdb.remote import Remote, Transport, parse_remote

MAX_SOCKET_PATH = 107
"Bytes the path of a Unix socket may have (unix(7), sun_path)."

START_SECONDS = 15.0
"100,000 rows take a few seconds to read."

_BACKOFF = (0.02, 2.0)
_HEALTHY_SECONDS = 1.0
_POLL_SECONDS = 0.01
_PROGRAMS: Mapping[str, str] = {
    "ovsdb-server": "install Open vSwitch",
    "ovsdb-tool": "install Open vSwitch",
    "setpriv": "install util-linux",
}

_log = logging.getLogger(__name__)


class EmbeddedDatabase:
    """Keeps an ovsdb-server running on the database in a directory; use as a context (`async with`).

    `listen` is a passive remote where others may dial it too.
    """

    def __init__(self, directory: Path, listen: str | None = None) -> None:
        self._listen = listen
        self._directory = directory.absolute()
        self._database = self._directory / "intent.db"
        self._socket = self._directory / "db.sock"
        self._pidfile = self._directory / "db.pid"
        self._lock: int | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def remote(self) -> str:
        """Where to dial the database."""
        return f"unix:{self._socket}"

    @property
    def pid(self) -> int | None:
        """The process id of the ovsdb-server, None while there is none."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def __aenter__(self) -> EmbeddedDatabase:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Make or convert the database and serve it; return once it can be dialled.

        Raises SetupError when another controller has the directory or a program is missing.
        """
        self._check_setup()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory.chmod(0o700)
        self._lock = lock_directory(self._directory)
        try:
            await self._end_orphan()
            await self._prepare()
            await self._launch()
        except BaseException:
            await self.stop()
            raise
        self._supervisor = asyncio.create_task(self._supervise(), name="intent-database")

    async def stop(self) -> None:
        """End the server and let go of the directory; harmless when repeated."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait({self._supervisor})
            self._supervisor = None
        await self._end_process()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _check_setup(self) -> None:
        for program, hint in _PROGRAMS.items():
            if shutil.which(program) is None:
                raise SetupError(f"there is no {program}", hint)
        if len(os.fsencode(self._socket)) > MAX_SOCKET_PATH:
            raise SetupError(
                f"{self._socket} is too long for a Unix socket", f"at most {MAX_SOCKET_PATH} bytes"
            )
        if self._listen is not None:
            _check_free(parse_remote(self._listen))

    async def _end_orphan(self) -> None:
        """End a server that a killed controller left in the moment of starting it."""
        pid = _pid_in(self._pidfile)
        if pid is None or not _serves(pid, self._database):
            return
        _log.warning("ending ovsdb-server %d, left over from another controller", pid)
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(START_SECONDS):
            # No event tells the end of a process that is not our child.
            while _serves(pid, self._database):  # noqa: ASYNC110
                await asyncio.sleep(_POLL_SECONDS)

    async def _prepare(self) -> None:
        """Make the database, or give it our schema; it is whole at every moment, whenever we are killed."""
        new = self._database.with_suffix(".new")
        new.unlink(missing_ok=True)
        with as_file(files(__package__) / "schema.ovsschema") as schema:
            if not self._database.exists():
                await _tool("create", new, schema)
            elif await self._is_outdated(schema):
                await _tool("convert", self._database, schema, new)
                self._keep_backup()
        if new.exists():
            new.replace(self._database)

    async def _is_outdated(self, schema: Path) -> bool:
        ours = await _tool("schema-version", schema)
        theirs = await _tool("db-version", self._database)
        if _version(theirs) > _version(ours):
            raise SetupError(
                f"{self._database} has schema {theirs}, this controller knows {ours}",
                "run the newer controller, or put the backup back that its conversion left",
            )
        return theirs != ours

    def _keep_backup(self) -> None:
        taken = [path.name for path in self._directory.iterdir()]
        names = (f"{self._database.name}.backup-{number}" for number in itertools.count(1))
        backup = self._directory / next(name for name in names if name not in taken)
        backup.hardlink_to(self._database)
        _log.warning("the intent database gets a new schema; as it was before: %s", backup)

    async def _launch(self) -> None:
        """Start the server and wait until it can be dialled; raise SetupError when it ends or hangs."""
        self._process = process = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "KILL", "ovsdb-server", str(self._database)),
            f"--remote=punix:{self._socket}",
            *(() if self._listen is None else (f"--remote={self._listen}",)),
            f"--unixctl={self._directory / 'db.ctl'}",
            f"--pidfile={self._pidfile}",
            f"--log-file={self._directory / 'db.log'}",
            *("-vconsole:off", "-vsyslog:off", "-vfile:info"),
            env={**os.environ, "OVS_RUNDIR": str(self._directory)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            # Ctrl-C on our terminal is for us: the server has to outlast our last commit.
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await _answers(self._socket):
                    if process.returncode is not None:
                        raise self._failure(f"ended with status {process.returncode}")
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError as error:
            await self._end_process()
            raise self._failure(f"does not answer within {START_SECONDS} s") from error

    def _failure(self, what: str) -> SetupError:
        log = self._directory / "db.log"
        last = log.read_text(errors="replace").splitlines()[-1:] if log.exists() else []
        return SetupError(f"ovsdb-server {what}", "".join(last))

    async def _supervise(self) -> None:
        """Start the server again whenever it ends, later the more often it does."""
        loop = asyncio.get_running_loop()
        least, most = _BACKOFF
        delay = least
        while True:
            process = self._process
            assert process is not None  # start() launched the first
            began = loop.time()
            status = await process.wait()
            delay = least if loop.time() - began > _HEALTHY_SECONDS else min(most, delay * 2)
            _log.error("ovsdb-server %d ended with status %d; another in %.2f s", process.pid, status, delay)
            await asyncio.sleep(delay)
            try:
                await self._launch()
            except SetupError as error:
                _log.error("%s", error)

    async def _end_process(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(START_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _check_free(remote: Remote) -> None:
    """Raise SetupError when nobody can listen there: ovsdb-server would only say so in its log, and go on."""
    if remote.transport is Transport.UNIX:
        return
    family = socket.AF_INET6 if ":" in remote.host else socket.AF_INET
    try:
        socket.create_server((remote.host, remote.port), family=family).close()
    except OSError as error:
        raise SetupError(f"the store cannot listen on {remote}", str(error)) from error


def lock_directory(directory: Path) -> int:
    """Take a state directory for this process alone, until the descriptor is closed, however we end."""
    path = directory / "lock"
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
        os.close(lock)
        raise SetupError(
            f"process {pid} already runs a controller in {directory}", "stop it, or choose another directory"
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _pid_in(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _serves(pid: int, database: Path) -> bool:
    """Tell whether the process is a server of this database; pids are given again."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return os.fsencode(database) in arguments


async def _answers(path: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def _tool(command: str, *arguments: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *("ovsdb-tool", "-vsyslog:off", command, *map(str, arguments)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    if process.returncode != 0:
        raise SetupError(f"ovsdb-tool {command} failed", err.decode(errors="replace").strip())
    return out.decode().strip()


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
