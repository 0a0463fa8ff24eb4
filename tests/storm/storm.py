# SPDX-License-Identifier: Apache-2.0
"""Draws operations and carries them out, one after the other.

What the controller refuses does not count, nor does what finds nothing to be done to: 500 operations are 500 that
happened.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import httpx

from tests.storm.documents import (
    AGENTS,
    KINDS,
    NAMES,
    PORTS,
    WITHOUT_AGENT,
    document,
    host,
    interface_of,
)


class Fleet(Protocol):
    """The machines with agents."""

    def plug(self, host: str, device: str, interface_id: str) -> None:
        """Give a machine an interface."""

    def unplug(self, host: str, device: str) -> None:
        """Take it away."""

    def interfere(self, host: str, draw: random.Random) -> str:
        """Do something to what is ours, as somebody would who knows nothing of us; "" when nothing is there."""

    def start(self, host: str) -> None:
        """Start a machine's agent."""

    def kill(self, host: str) -> None:
        """End it as kill -9 does."""

    def boot(self, host: str) -> None:
        """Kill the agent, and have the kernel lose all that is not the workloads' own."""

    def restart_controller(self) -> None:
        """Kill the controller and start it again."""


Operation = Callable[[], str]
"Says what it did, a line each; nothing when there was nothing to do."


class Storm:
    """A sequence of operations, the same for each seed as long as everything answers the same."""

    def __init__(self, seed: int, http: httpx.Client, fleet: Fleet) -> None:
        self._draw = random.Random(seed)
        self._http = http
        # Else a request may meet the end of a connection that was idle, and be lost.
        http.headers["Connection"] = "close"
        self._fleet = fleet
        self._plugged: dict[str, dict[str, str]] = {name: {} for name in AGENTS}
        "By host, the device of each interface ID."
        self._reported: set[str] = set()
        self._dead: set[str] = set()
        self._most = 1
        self._operations: Sequence[Operation] = (
            *(self._put, self._delete, self._report, self._unplug),
            *3 * (self._plug,),
            *2 * (self._move, self._interfere),
        )
        self.done = Counter[str]()
        "How many of which sort."
        self.refused = 0

    @property
    def count(self) -> int:
        """How many operations happened."""
        return self.done.total()

    @property
    def kills(self) -> int:
        """How many agents were killed."""
        return self.done["kill"] + self.done["boot"]

    def plugged(self, host: str) -> Mapping[str, str]:
        """Return, by interface ID, the devices of a machine's workloads."""
        return dict(self._plugged[host])

    def begin(self) -> None:
        """Declare machines, networks and what they need, and start agents; none of it counts."""
        for collection in ("option-schemas", "networks", "groups"):
            for name in NAMES[collection]:
                assert self._send("PUT", f"{collection}/{name}", document(self._draw, collection, name))
        for name in (*AGENTS, WITHOUT_AGENT):
            assert self._send("PUT", f"hosts/{name}", host(name))
        for name in AGENTS:
            self._fleet.start(name)

    def step(self, most: int = 1) -> str:
        """Do an operation, or up to so many in one request, and say what was done, a line each."""
        self._most = most
        while True:
            chosen = self._choose()
            said = chosen()
            if said:
                self.done.update(line.split()[0] for line in said.splitlines())
                return said

    def restart_controller(self) -> None:
        """Kill the controller and start it again: an operation, but not one that is drawn."""
        self._fleet.restart_controller()
        self.done["controller-killed"] += 1

    def revive(self) -> None:
        """Start the agents that are dead."""
        for name in sorted(self._dead):
            self._fleet.start(name)
        self._dead.clear()

    def _choose(self) -> Operation:
        drawn = self._draw.random()
        if drawn < 0.5:
            return self._put
        if drawn < 0.55:
            return self._killed
        if drawn < 0.65:
            return self._revived
        return self._draw.choice(self._operations)

    # users

    def _put(self) -> str:
        if self._most > 1:
            return self._apply()
        collection, name = self._object()
        if self._send("PUT", f"{collection}/{name}", document(self._draw, collection, name)):
            return f"put {collection}/{name}"
        return ""

    def _apply(self) -> str:
        """Put several in one request, each of which is an operation."""
        said = []
        for _ in range(self._draw.randint(1, self._most)):
            collection, name = self._object()
            said.append({"kind": KINDS[collection], "name": name, **document(self._draw, collection, name)})
        answer = self._http.post("/v1/apply", json=said)
        assert answer.is_success, answer.text
        items = answer.json()["items"]
        assert all(one["status"] < 500 for one in items), answer.text
        stored = [f"put {one['kind']}/{one['name']}" for one in items if one["outcome"] != "refused"]
        self.refused += len(items) - len(stored)
        return "\n".join(stored)

    def _object(self) -> tuple[str, str]:
        weights = {"ports": 8, "networks": 2, "hosts": 1, "policies": 3, "option-policies": 2}
        collection = self._draw.choices(tuple(NAMES), [weights.get(name, 1) for name in NAMES])[0]
        return collection, self._draw.choice(NAMES[collection])

    def _delete(self) -> str:
        collection = self._draw.choice(tuple(NAMES))
        name = self._draw.choice(NAMES[collection])
        if name not in AGENTS and self._send("DELETE", f"{collection}/{name}"):
            return f"delete {collection}/{name}"
        return ""

    def _report(self) -> str:
        """Say which interfaces are on the host without an agent."""
        some = self._draw.sample(PORTS, self._draw.randrange(4))
        interfaces = [{"interface_id": interface_of(one), "name": interface_of(one)} for one in sorted(some)]
        told = {"interfaces": interfaces, "kernel": "unknown"}
        return "report " + WITHOUT_AGENT if self._send("POST", f"hosts/{WITHOUT_AGENT}/report", told) else ""

    def _send(self, method: str, path: str, body: object = None) -> bool:
        answer = self._http.request(method, f"/v1/{path}", json=body)
        assert answer.status_code < 500, f"{method} {path}: {answer.text}"
        self.refused += answer.is_client_error
        return answer.is_success

    # workloads

    def _plug(self) -> str:
        name = self._draw.choice(AGENTS)
        interface_id = interface_of(self._draw.choice(PORTS))
        if interface_id in self._plugged[name]:
            return ""
        device = self._draw.choice((interface_id, f"tap{interface_id[1:]}"))
        self._fleet.plug(name, device, interface_id)
        self._plugged[name][interface_id] = device
        return f"plug {device} into {name}"

    def _unplug(self) -> str:
        name = self._draw.choice(AGENTS)
        if not self._plugged[name]:
            return ""
        interface_id = self._draw.choice(sorted(self._plugged[name]))
        device = self._plugged[name].pop(interface_id)
        self._fleet.unplug(name, device)
        return f"unplug {device} from {name}"

    def _move(self) -> str:
        source, target = self._draw.sample(AGENTS, 2)
        movable = sorted(self._plugged[source].keys() - self._plugged[target].keys())
        if not movable:
            return ""
        interface_id = self._draw.choice(movable)
        device = self._plugged[source].pop(interface_id)
        self._fleet.plug(target, device, interface_id)
        self._plugged[target][interface_id] = device
        self._fleet.unplug(source, device)
        return f"move {device} from {source} to {target}"

    # passers-by and fate

    def _interfere(self) -> str:
        name = self._draw.choice(AGENTS)
        said = self._fleet.interfere(name, self._draw)
        return f"interfere {said} on {name}" if said else ""

    def _killed(self) -> str:
        name = self._draw.choice(AGENTS)
        if name in self._dead:
            return ""
        boots = self._draw.random() < 0.3
        (self._fleet.boot if boots else self._fleet.kill)(name)
        self._dead.add(name)
        return f"{'boot' if boots else 'kill'} {name}"

    def _revived(self) -> str:
        if not self._dead:
            return ""
        name = self._draw.choice(sorted(self._dead))
        self._fleet.start(name)
        self._dead.discard(name)
        return f"start {name}"
