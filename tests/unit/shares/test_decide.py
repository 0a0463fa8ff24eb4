# SPDX-License-Identifier: Apache-2.0
"""Every host has one live holder soon, whoever comes and goes, and few hosts move."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.shares.decide import Decision, Lease, Session, decide, preference

HOSTS = [f"hv{number}" for number in range(40)]
NAMES = [f"c{number}" for number in range(5)]

hosts = st.frozensets(st.sampled_from(HOSTS), max_size=12)
sessions = st.lists(
    st.builds(
        lambda name, is_alive, dedicated: Session(name=name, is_alive=is_alive, dedicated=dedicated),
        st.sampled_from(NAMES),
        st.booleans(),
        st.just(frozenset()) | st.frozensets(st.sampled_from(HOSTS), max_size=3),
    ),
    unique_by=lambda session: session.name,
)


class World:
    """What the store holds, and the transactions that controllers make on it."""

    def __init__(self, sessions, leases, declared):
        self.sessions = {session.name: session for session in sessions}
        self.leases = {lease.host: lease for lease in leases}
        self.declared = declared

    def step(self, me):
        """Let one controller do what it decides; tell whether it did anything."""
        decision = decide(me, self.sessions.values(), self.leases.values(), self.declared)
        for name in decision.expire:
            assert not self.sessions[name].is_alive
            del self.sessions[name]
            for lease in self.leases.values():
                if lease.holder == name:
                    self.leases[lease.host] = replace(lease, holder=None)
        for host in decision.take:
            assert self._holder(host) is None
            self._give(host, me)
        for host, other in decision.hand_over:
            assert self._holder(host) == me
            assert other is None or self.sessions[other].is_alive
            self._give(host, other)
        for host in decision.drop:
            assert host not in self.declared
            del self.leases[host]
        return decision != Decision()

    def _holder(self, host):
        return self.leases[host].holder if host in self.leases else None

    def _give(self, host, name):
        generation = self.leases[host].generation if host in self.leases else 0
        self.leases[host] = Lease(host=host, holder=name, generation=generation + 1)


@settings(max_examples=300)
@given(
    sessions, st.dictionaries(st.sampled_from(HOSTS), st.sampled_from([*NAMES, None])), hosts, st.randoms()
)
def test_from_any_state_every_host_comes_to_its_preferred_live_holder(sessions, holders, declared, random):
    known = {session.name for session in sessions}
    leases = [
        Lease(host=host, holder=name if name in known else None, generation=7)
        for host, name in holders.items()
    ]
    world = World(sessions, leases, declared)
    live = [session.name for session in sessions if session.is_alive]
    for _ in range(4):
        for name in random.sample(live, len(live)):
            world.step(name)
    assert not any(world.step(name) for name in live), "it has come to rest"
    prefer = preference(sessions)
    if live:
        assert set(world.leases) <= declared
        for host in declared:
            lease = world.leases.get(host, Lease(host=host))
            assert lease.holder == prefer(host)
            if lease.holder is not None:
                dedicated = {one.name for one in sessions if one.is_alive and host in one.dedicated}
                assert lease.holder in (dedicated or {one.name for one in sessions if not one.dedicated})


def test_only_the_hosts_of_one_that_goes_move_and_only_to_it_when_it_comes_back():
    three = [Session(name=name) for name in NAMES[:3]]
    before = {host: preference(three)(host) for host in HOSTS}
    assert set(before.values()) == set(NAMES[:3]), "all share"
    two = [replace(three[0], is_alive=False), *three[1:]]
    after = {host: preference(two)(host) for host in HOSTS}
    assert {host for host in HOSTS if before[host] != after[host]} == {
        host for host in HOSTS if before[host] == NAMES[0]
    }


def test_a_dedicated_controller_has_its_hosts_and_no_others():
    sessions = [Session(name="c0"), Session(name="c1"), Session(name="agent", dedicated=frozenset({"hv3"}))]
    prefer = preference(sessions)
    assert prefer("hv3") == "agent"
    assert {prefer(host) for host in HOSTS if host != "hv3"} == {"c0", "c1"}
    dead = [*sessions[:2], replace(sessions[2], is_alive=False)]
    assert preference(dead)("hv3") in ("c0", "c1")
    assert preference(sessions[2:])("hv1") is None


def test_what_others_hold_is_left_alone():
    sessions = [Session(name="a"), Session(name="b", is_alive=False), Session(name="c")]
    leases = [Lease(host="hv1", holder="b"), Lease(host="hv2", holder="c"), Lease(host="gone", holder="c")]
    decision = decide("a", sessions, leases, {"hv1", "hv2"})
    assert decision == Decision(expire=frozenset({"b"}))
