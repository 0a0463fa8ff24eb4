# SPDX-License-Identifier: Apache-2.0
"""How fast probes leave: so many a second in all, and so many a second that concern one host. Pure.

A probe costs its source a packet-out and the echo's packet-in, its destination a packet-in: it takes a token of both.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from controller.prober.model import Leg


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many probes a second."""

    total: float = 1500.0
    host: float = 100.0
    "That leave a host or are for it."
    burst: float = 20.0
    "How many of a host may go at once."


@dataclass(slots=True)
class Bucket:
    """Tokens that come at a rate and are kept up to a burst."""

    rate: float
    burst: float
    at: float
    tokens: float = 0.0

    def refill(self, now: float) -> float:
        """Return the tokens there are now."""
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        return self.tokens


class Waiting(Protocol):
    """What waits for its turn."""

    @property
    def leg(self) -> Leg:
        """Between which hosts it is to go."""


W = TypeVar("W", bound=Waiting)


@dataclass(slots=True)
class Pacer(Generic[W]):
    """Hands out what waits, host by host, as fast as the limits allow."""

    limits: Limits
    now: float
    _queues: dict[str, deque[W]] = field(default_factory=dict)
    _turns: deque[str] = field(default_factory=deque)
    _hosts: dict[str, Bucket] = field(default_factory=dict)
    _total: Bucket = field(init=False)

    def __post_init__(self) -> None:
        # What piled up while nobody asked is not made up for: at most a twentieth of a second's worth goes at once.
        self._total = Bucket(self.limits.total, max(1.0, self.limits.total / 20), self.now)

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def __bool__(self) -> bool:
        return bool(self._queues)

    def put(self, one: W) -> None:
        """Let something wait behind what leaves the same host."""
        queue = self._queues.get(one.leg.source)
        if queue is None:
            queue = self._queues[one.leg.source] = deque()
            self._turns.append(one.leg.source)
        queue.append(one)

    def due(self, now: float) -> Iterator[W]:
        """Yield what may go now."""
        self._total.refill(now)
        passed = 0  # hosts in a row that have to wait
        while self._total.tokens >= 1 and passed < len(self._turns):
            host = self._turns[0]
            self._turns.rotate(-1)
            one = self._queues[host][0]
            ends = self._bucket(one.leg.source, now), self._bucket(one.leg.destination, now)
            if min(end.refill(now) for end in ends) < 1:
                passed += 1
                continue
            passed = 0
            for bucket in (*ends, self._total):
                bucket.tokens -= 1
            self._queues[host].popleft()
            if not self._queues[host]:
                del self._queues[host]
                self._turns.remove(host)
            yield one

    def _bucket(self, host: str, now: float) -> Bucket:
        bucket = self._hosts.get(host)
        if bucket is None:
            bucket = self._hosts[host] = Bucket(self.limits.host, self.limits.burst, now, self.limits.burst)
        return bucket
