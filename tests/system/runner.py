# SPDX-License-Identifier: Apache-2.0
"""The controller as a process that a test can kill: python -m tests.system.runner STATE [--ovsdb …] [--openflow …].

It is the controller that `ovs-geneve controller` runs, with REST only where agents need it (--rest): commands come as
pickles, each behind its length, over the Unix socket STATE/test.sock.
"""

import argparse
import asyncio
import dataclasses
import logging
import pickle
import signal
from pathlib import Path
from typing import Any

import msgspec

from controller.api.offload_views import report_view
from controller.compiler.compile import Compiler
from controller.compiler.cookies import Feature
from controller.intent.commands import Delete, Put
from controller.intent.model import Kind
from controller.prober.model import Result
from controller.prober.plan import Request
from controller.process import ControllerProcess, running, serve_rest
from controller.reconciler.status import Truth
from controller.settings import Settings
from ovs_geneve.openflow.stats import Count
from tests.system.wire import LENGTH, SOCKET

_EVERY = 0.02


class Service:
    """What a test can ask of the controller."""

    def __init__(self, process: ControllerProcess) -> None:
        self._process = process

    async def submit(self, command: Put | Delete) -> int:
        return (await self._process.submit(command)).revision

    async def conditions(self, kind: Kind, name: str) -> dict[str, tuple[str, str, str]]:
        held = self._process.intent.objects(kind)[name]
        told = self._process.conditions(held)
        return {each.type: (each.status.value, each.reason, each.message) for each in told}

    async def settled(self, names: list[tuple[Kind, str]], timeout: float) -> dict[str, object]:
        """Wait until all conditions of these objects are True; return those that are not."""
        end = asyncio.get_running_loop().time() + timeout
        while True:
            bad = {name: self._untrue(kind, name) for kind, name in names}
            if not any(bad.values()):
                return {}
            if asyncio.get_running_loop().time() > end:
                return {name: conditions for name, conditions in bad.items() if conditions}
            await asyncio.sleep(_EVERY)

    async def progress(self, host: str) -> dict[str, object]:
        return dataclasses.asdict(self._process.progress(host))

    async def host_of(self, port: str) -> str | None:
        return self._process.intent.host_of(port)

    async def vni(self, network: str) -> int | None:
        return self._process.intent.networks[network].spec.vni

    async def rollouts(self) -> dict[str, tuple[bool, str, str]]:
        rollouts = self._process.intent.rollouts.items()
        return {name: (one.spec.incoming, one.spec.stage.value, one.spec.reason) for name, one in rollouts}

    async def slot(self, schema: str) -> int | None:
        return self._process.intent.option_schemas[schema].spec.slot

    async def resting(self) -> list[int]:
        return [one.spec.tlv_map.index for one in self._process.intent.retired_slots.values()]

    async def capabilities(self, host: str) -> object:
        held = self._process.intent.capabilities.get(host)
        return None if held is None else held.spec

    async def counted(self, kind: Kind, name: str, feature: Feature) -> dict[str, Count | None]:
        return await self._process.counters(self._process.intent.objects(kind)[name], feature)

    async def key(self, kind: Kind, name: str) -> int:
        return self._process.intent.objects(kind)[name].key

    async def strangers(self) -> list[str]:
        return [host.system_id for host in self._process.waiting_hosts()]

    async def events(self, since: int = 0) -> list[dict[str, object]]:
        return [dataclasses.asdict(event) for event in self._process.events(since, 1000)]

    async def verify(self, request: Request) -> list[Result]:
        return await self._process.prober.verify(request)

    async def offload(self) -> Any:
        """Return what /v1/reports/offload answers."""
        process = self._process
        hosts = sorted(process.intent.hosts)
        sights = {host: await process.eyes.sight(host) for host in hosts}
        reports = {host: process.report(host) for host in hosts}
        found = report_view(process.intent, reports, sights, process.tunnel_port, process.intent.networks)
        return msgspec.to_builtins(found)

    async def incremental_equals_whole(self) -> bool:
        compiler = self._process.reconciler.compiler
        whole = Compiler.of(compiler.snapshot())
        return all(whole.desired(host) == compiler.desired(host) for host in self._process.intent.hosts)

    def _untrue(self, kind: Kind, name: str) -> list[tuple[str, str, str]]:
        held = self._process.intent.objects(kind).get(name)
        if held is None:
            return [("Stored", "False", "NotFound")]
        told = self._process.conditions(held)
        return [(each.type, each.reason, each.message) for each in told if each.status is not Truth.TRUE]


async def answer(service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            size = LENGTH.unpack(await reader.readexactly(LENGTH.size))[0]
            name, arguments = pickle.loads(await reader.readexactly(size))
            try:
                outcome = True, await getattr(service, name)(*arguments)
            except Exception as error:  # it belongs to the test that asked
                outcome = False, f"{type(error).__name__}: {error}"
            raw = pickle.dumps(outcome)
            writer.write(LENGTH.pack(len(raw)) + raw)
            await writer.drain()
    except asyncio.IncompleteReadError:
        writer.close()


async def main(settings: Settings, *, with_rest: bool) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    path = settings.state_directory / SOCKET
    async with running(settings) as process:
        service = Service(process)
        path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(lambda r, w: answer(service, r, w), str(path))
        await (serve_rest(settings, process) if with_rest else stopping.wait())
        server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("state_directory", type=Path)
    parser.add_argument("--ovsdb")
    parser.add_argument("--openflow")
    parser.add_argument("--slot-rest", type=float, default=10.0)
    parser.add_argument("--rest", default="")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    given = vars(parser.parse_args())
    asyncio.run(main(Settings(**given), with_rest=bool(given["rest"])))
