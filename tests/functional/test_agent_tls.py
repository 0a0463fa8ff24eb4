# SPDX-License-Identifier: Apache-2.0
"""REST over TLS: a controller with a certificate, agents and commands that trust it or say why not."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from controller.agent.source import Batch, RestSource, SourceUnavailable
from controller.cli.host import Rest
from controller.errors import SetupError
from controller.kernels.report import AgentReport
from controller.tls import trusting
from tests.functional.controllers import PATIENCE, until
from tests.functional.ovsdb.conftest import free_port
from tests.functional.ovsdb.pki import Authority, Identity

HOST = {"kind": "linux", "endpoints": [{"address": "192.0.2.1"}]}


class TlsController:
    """`ovs-geneve controller --rest-cert … --rest-key …` as a process."""

    def __init__(self, folder: Path, identity: Identity, *, at: str = "127.0.0.1", listen: str = "") -> None:
        self.port = free_port()
        self.at = at
        folder.mkdir()
        rest = f"{listen or at}:{self.port}"
        words = ["--state", str(folder), "--rest", rest]
        words += ["--rest-cert", str(identity.certificate), "--rest-key", str(identity.key)]
        self.process = subprocess.Popen([sys.executable, "-m", "controller", "controller", *words])

    @property
    def url(self) -> str:
        return f"https://{self.at}:{self.port}"

    def answers(self, authority: Authority) -> None:
        assert self.process.poll() is None, "it ended"
        with httpx.Client(base_url=self.url, verify=trusting(authority.certificate)) as client:

            def ready() -> bool:
                try:
                    return client.get("/readyz").is_success
                except httpx.ConnectError:
                    return False

            until(ready, "it answers")
            client.put("/v1/hosts/lx1", json=HOST).raise_for_status()

    def end(self) -> None:
        self.process.terminate()
        assert self.process.wait(15) == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder)


@pytest.fixture(scope="module")
def controller(folder: Path, authority: Authority) -> Iterator[TlsController]:
    running = TlsController(folder / "c", authority.issue("controller", "127.0.0.1", "localhost"))
    try:
        running.answers(authority)
        yield running
    finally:
        running.end()


def first_batch(url: str, ca: Path | None) -> Batch:
    async def follow() -> Batch:
        async with RestSource(url, "lx1", ca) as source, asyncio.timeout(PATIENCE):
            stream = source.batches()
            batch = await anext(stream)
            await source.report(AgentReport(interfaces=(), kernel="6.1", acknowledged=batch.generation))
            await stream.aclose()
            return batch

    return asyncio.run(follow())


def unavailable(url: str, ca: Path | None) -> str:
    with pytest.raises(SourceUnavailable) as raised:
        first_batch(url, ca)
    return str(raised.value)


def test_who_is_trusted_is_followed_and_told(controller: TlsController, authority: Authority) -> None:
    batch = first_batch(controller.url, authority.certificate)
    assert batch.whole
    assert set(batch.parts) == {"host"}
    with httpx.Client(base_url=controller.url, verify=trusting(authority.certificate)) as client:
        conditions = client.get("/v1/hosts/lx1").json()["status"]["conditions"]
    assert {"Provisioned": "True"}.items() <= {one["type"]: one["status"] for one in conditions}.items()


def test_a_certificate_that_others_signed_is_named(controller: TlsController, folder: Path) -> None:
    other = Authority(folder, "other")
    said = unavailable(controller.url, other.certificate)
    assert said.startswith(f"{controller.url}: its certificate is not signed by --ca {other.certificate}")
    said = unavailable(controller.url, None)
    assert "name its certificates with --ca" in said


def test_a_certificate_for_another_name_is_named(folder: Path, authority: Authority) -> None:
    running = TlsController(folder / "elsewhere", authority.issue("elsewhere", "192.0.2.9", "localhost"))
    try:
        running.at = "localhost"
        running.answers(authority)
        running.at = "127.0.0.1"
        said = unavailable(running.url, authority.certificate)
        assert (
            said
            == f"{running.url}: its certificate is for others than 127.0.0.1: it wants that as subjectAltName"
        )
    finally:
        running.end()


def test_a_certificate_that_has_ended_is_named(folder: Path, authority: Authority) -> None:
    running = TlsController(folder / "old", authority.issue("old", "127.0.0.1", days=-1))
    try:
        until(lambda: "dates" in unavailable(running.url, authority.certificate), "it is told")
    finally:
        running.end()


def test_plain_text_and_tls_do_not_meet_and_say_so(controller: TlsController, authority: Authority) -> None:
    said = unavailable(controller.url.replace("https", "http"), None)
    assert "does it speak TLS there? then it is https://" in said
    plain = asyncio.run(plain_server(authority))
    assert plain.endswith("it speaks no TLS there: is it http://, or another port?")


async def plain_server(authority: Authority) -> str:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with RestSource(url, "lx1", authority.certificate) as source:
            with pytest.raises(SourceUnavailable) as raised:
                await anext(source.batches())
    return str(raised.value)


def test_what_is_no_certificate_is_refused_at_once(folder: Path, authority: Authority) -> None:
    wrong = folder / "wrong.pem"
    wrong.write_text("no certificate\n")
    with pytest.raises(SetupError, match=f"--ca {wrong}"):
        RestSource("https://127.0.0.1:1", "lx1", wrong)
    one, other = authority.issue("one"), authority.issue("two")
    mixed = TlsController(folder / "mixed", replace(one, key=other.key))
    assert mixed.process.wait(PATIENCE) == 1
    words = [sys.executable, "-m", "controller", "controller", "--state", str(folder / "mixed")]
    words += ["--rest-cert", str(one.certificate), "--rest-key", str(other.key)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert f"--rest-cert {one.certificate}, --rest-key {other.key}: key values mismatch" in done.stderr


def ovs_geneve(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "controller", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
        check=False,
    )


def test_commands_trust_whom_they_are_told_to(
    controller: TlsController, authority: Authority, folder: Path
) -> None:
    trusted = str(authority.certificate)
    done = ovs_geneve("get", "host", "lx1", "--server", controller.url, OVS_GENEVE_CA=trusted)
    assert done.returncode == 0, done.stderr
    done = ovs_geneve("get", "host", "lx1", "--server", controller.url)
    assert done.returncode == 1
    assert "name its certificates with --ca" in done.stderr
    Rest(trusted).put_host(controller.url, "lx1", HOST)
    join = ("host", "join", "--kind", "linux", "--name", "lx3", "--dry-run", "--endpoint", "192.0.2.3")
    done = ovs_geneve(*join, "--controller", controller.url, "--ca", str(folder / "other.pem"))
    assert "is not signed by --ca" in done.stderr


def test_the_agent_says_what_is_wrong_and_goes_on(controller: TlsController, folder: Path) -> None:
    """It has nothing to keep, so it looks and touches nothing."""
    other = Authority(folder, "third")
    words = ["agent", "--host", "lx1", "--controller", controller.url, "--ca", str(other.certificate)]
    words += ["--state", str(folder / "agent")]
    with subprocess.Popen(
        [sys.executable, "-m", "controller", *words], stderr=subprocess.PIPE, text=True
    ) as agent:
        assert agent.stderr is not None
        try:
            for line in agent.stderr:
                if "its certificate is not signed by --ca" in line:
                    break
            else:
                pytest.fail("it ended")
            assert agent.poll() is None
        finally:
            agent.terminate()
            assert agent.wait(PATIENCE) == 0
