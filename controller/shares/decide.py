# SPDX-License-Identifier: Apache-2.0
"""Who should hold which host, and what one controller does about it. Pure.

    a live controller that is dedicated to the host            ─┐ the one with the highest hash of
    else a live controller that is dedicated to nothing        ─┘ its name and the host's (rendezvous)

All controllers see the same rows and so prefer the same holder; where they do not for a moment, a lease still has
one holder, since every step is a transaction on the state it was decided on. When a controller comes or goes, hosts
move to or from it and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A controller that shares in the hosts."""

    name: str
    is_alive: bool = True
    dedicated: frozenset[str] = frozenset()
    "The only hosts it serves, and it before all others (agent mode); empty: any host."


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who serves a host."""

    host: str
    holder: str | None = None
    "The session's name; None while nobody does."
    generation: int = 0
    "Grows whenever the holder changes."


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a controller should do now, each in a transaction that fails if what it rests on has changed."""

    expire: frozenset[str] = frozenset()
    "Sessions that are dead."
    take: frozenset[str] = frozenset()
    "Hosts that nobody holds and we should."
    hand_over: tuple[tuple[str, str | None], ...] = ()
    "Hosts that we hold and the controllers that should; None where nobody may."
    drop: frozenset[str] = frozenset()
    "Leases of hosts that are no longer declared, ours or nobody's."


def decide(
    me: str, sessions: Iterable[Session], leases: Iterable[Lease], declared: Collection[str]
) -> Decision:
    """Decide what the live controller `me` does."""
    sessions = tuple(sessions)
    prefer = preference(sessions)
    by_host: Mapping[str, Lease] = {lease.host: lease for lease in leases}
    take, hand_over = set[str](), list[tuple[str, str | None]]()
    for host in sorted(declared):
        holder = by_host[host].holder if host in by_host else None
        if holder not in (None, me):
            continue
        preferred = prefer(host)
        if holder is None and preferred == me:
            take.add(host)
        elif holder == me and preferred != me:
            hand_over.append((host, preferred))
    known = frozenset(declared)
    return Decision(
        expire=frozenset(one.name for one in sessions if not one.is_alive),
        take=frozenset(take),
        hand_over=tuple(hand_over),
        drop=frozenset(
            host for host, lease in by_host.items() if host not in known and lease.holder in (None, me)
        ),
    )


def preference(sessions: Iterable[Session]) -> Callable[[str], str | None]:
    """Return what tells the preferred holder of a host; None when no live controller may serve it."""
    dedicated = dict[str, list[str]]()
    general = list[str]()
    for session in sessions:
        if not session.is_alive:
            continue
        for host in session.dedicated:
            dedicated.setdefault(host, []).append(session.name)
        if not session.dedicated:
            general.append(session.name)

    def prefer(host: str) -> str | None:
        return max(dedicated.get(host, general), key=lambda name: (_weight(name, host), name), default=None)

    return prefer


def _weight(controller: str, host: str) -> bytes:
    # The length keeps "ab" + "c" and "a" + "bc" apart.
    return blake2b(f"{len(controller)}:{controller}{host}".encode(), digest_size=8).digest()
