# SPDX-License-Identifier: Apache-2.0
"""A controller without hosts: the real intent service over memory, bridges that acknowledge when told."""

import asyncio
import time
from itertools import count

import pytest

from controller.compiler.recompute import Recomputation
from controller.events import EventLog
from controller.intent.service import IntentService
from controller.intent.store import MemoryStore
from controller.kernels.hosts import LinuxHosts
from controller.prober.prober import Prober
from controller.proof.report import Proof
from controller.reconciler.status import ACCEPTED, Condition, HostProgress, Truth, Work
from controller.southbound.ports import HostReport, WaitingHost
from ovs_geneve.openflow.stats import Count
from tests.fakes.bridges import FakeBridges

PROOF = Proof(revision=7, hosts=2, networks=1, ports=3, flows=90, sets=400, deliveries=20)
PENDING = Condition(type="Programmed", status=Truth.FALSE, reason="Pending", message="not acknowledged yet")
DONE = Condition(type="Programmed", status=Truth.TRUE, reason="Acknowledged")


class Plugged:
    """Where interfaces are plugged, as the binder would be told."""

    def __init__(self):
        self.hosts = {}

    def report(self, host, interfaces):
        self.hosts[host] = interfaces

    def drop(self, host):
        self.hosts.pop(host, None)


class FakeEyes:
    """What is seen of hosts."""

    def __init__(self):
        self.sights = {}

    async def sight(self, host):
        return self.sights.get(host)


class FakeController:
    """What `controller.api.backend.Controller` asks for."""

    version = "1.2.3"

    def __init__(self):
        self.store = MemoryStore()
        self.service = IntentService(self.store)
        self.refusal = None
        self.counted = []
        "Raised by submit instead of an answer."
        self.acknowledges = True
        self.waited_for = []
        self.proof = PROOF
        self.rolled_out_for = []
        self.programmed = DONE
        self.readiness = (True, "")
        self.strangers = ()
        self.disagreements = ()
        self.behind = set()
        self.log = EventLog()
        self.bridges = FakeBridges(lambda: {n: h.spec.endpoints for n, h in self.intent.hosts.items()})
        self.prober = Prober(
            self.bridges,
            lambda: self.intent,
            clock=time.monotonic,
            wall=lambda: 1_000_000.0,
            draw=count(0xA1).__next__,
        )
        self.bridges.sighted = self.prober.sighted
        self.eyes = FakeEyes()
        self.tunnel_port = 6081
        self.reports = {}
        self.plugged = Plugged()
        self.linux = LinuxHosts(self.plugged, "run")
        self.service.on_change = lambda before, after, changes: self.linux.intent_changed(after, changes)

    @property
    def intent(self):
        return self.service.intent

    async def submit(self, command):
        if self.refusal is not None:
            raise self.refusal
        return await self.service.submit(command)

    async def submit_all(self, commands):
        if self.refusal is not None:
            return [self.refusal for _ in commands]
        answers = map(self.service.enqueue, commands)
        return await asyncio.gather(*answers, return_exceptions=True)

    def guards(self, host):
        return True

    def events(self, since, limit):
        return self.log.since(since, limit)

    def conditions(self, held):
        return (ACCEPTED, self.programmed)

    def hosts_concerned(self, held):
        return frozenset(self.intent.hosts)

    async def acknowledged(self, hosts, revision, object_key):
        self.waited_for.append((hosts, revision, object_key))
        if not self.acknowledges:
            await asyncio.Event().wait()

    def network_mtu(self, network):
        return 1442

    async def rolled_out(self, network):
        self.rolled_out_for.append(network)

    def report(self, host):
        return self.reports.get(host, HostReport(ovs_version="3.1.0"))

    def progress(self, host):
        behind = 7 if host in self.behind else None
        return HostProgress(phase="idle", flows=12, groups=3, messages_sent=40, behind_since=behind)

    async def counters(self, held, feature):
        self.counted.append((held.id, feature.name))
        return {"hv1": Count(packets=3, bytes=180), "hv2": Count(packets=1, bytes=60), "hv3": None}

    def work(self):
        return Work(parts_compiled=70, messages_sent=40, last_revision=7, last_parts=3, last_hosts=2)

    async def recompute(self):
        return Recomputation(revision=7, hosts=2, parts=70, disagreements=self.disagreements)

    async def prove(self):
        return self.proof, 0.25

    def waiting_hosts(self):
        return self.strangers

    def ready(self):
        return self.readiness


STRANGER = WaitingHost(system_id="hv9", remote="tcp:192.0.2.9:40000", ovs_version="3.1.0")

HOST = {"ovsdb": "tcp:192.0.2.11:6640", "endpoints": [{"address": "192.0.2.11"}]}
SCHEMA = {
    "class": "0xff00",
    "type": 1,
    "length": 4,
    "fields": [
        {"name": "tier", "type": "uint", "offset": 0, "bits": 8},
        {"name": "zone", "type": "uint", "offset": 8, "bits": 16},
    ],
}
NETWORK = {"vni": 100, "options": ["context"]}
PORT = {
    "network": "blue",
    "mac": "02:00:00:00:00:01",
    "addresses": ["10.0.0.1", "2001:db8::1"],
    "interface_id": "web1",
    "options": {"context": {"tier": 2, "zone": 7}},
}
POLICY = {
    "network": "blue",
    "priority": 100,
    "direction": "ingress",
    "to": {"port": "web1"},
    "match": {"option": {"context.tier": "2/0xff"}},
    "action": "allow",
}

TOPOLOGY = {
    "hosts/hv1": HOST,
    "option-schemas/context": SCHEMA,
    "networks/blue": NETWORK,
    "ports/web1": PORT,
    "option-policies/tier2-only": POLICY,
}
"The documents of the design, in an order in which they can be put."


def without(document, *keys):
    return {key: value for key, value in document.items() if key not in keys}


async def put_all(client, documents=TOPOLOGY):
    for path, document in documents.items():
        answer = await client.put(f"/v1/{path}", json=document)
        if answer.is_error:
            pytest.fail(f"{path}: {answer.text}")
