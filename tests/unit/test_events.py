# SPDX-License-Identifier: Apache-2.0
"""The short memory of what happened."""

from __future__ import annotations

from controller.events import KEPT, MERGE_SECONDS, Event, EventKind, EventLog


def add(log: EventLog, message: str = "m", *, now: float = 0.0, count: int = 1) -> Event:
    return log.add(EventKind.BAD_OPTIONS, host="hv2", peer="hv1", message=message, now=now, count=count)


def test_events_come_in_their_order_and_by_number() -> None:
    log = EventLog()
    for message in ("a", "b", "c"):
        add(log, message)
    assert [event.message for event in log.since(0, 10)] == ["a", "b", "c"]
    assert [event.message for event in log.since(1, 1)] == ["b"]
    assert log.since(3, 10) == ()


def test_what_repeats_is_counted_and_seen_again() -> None:
    log = EventLog()
    add(log, count=5, now=1)
    add(log, "other", now=2)
    again = add(log, count=7, now=3)
    assert (again.number, again.count, again.first, again.last) == (3, 12, 1, 3)
    assert [event.message for event in log.since(0, 10)] == ["other", "m"]
    assert [event.message for event in log.since(2, 10)] == ["m"]


def test_what_repeats_much_later_is_another_event() -> None:
    log = EventLog()
    add(log, now=0)
    add(log, now=MERGE_SECONDS)
    assert [(event.number, event.count) for event in log.since(0, 10)] == [(1, 1), (2, 1)]


def test_the_oldest_are_forgotten() -> None:
    log = EventLog()
    for number in range(KEPT + 10):
        add(log, str(number))
    assert len(log.since(0, 2 * KEPT)) == KEPT
    assert log.since(0, 1)[0].number == 11
