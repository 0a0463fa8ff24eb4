# SPDX-License-Identifier: Apache-2.0
"""One switch as a state machine: bytes in, events and bytes out. It knows no socket, clock, loop or os-ken.

    IDLE ──observe()──► OBSERVING ──last part──► IDLE, Observed or ObserveRefused
    IDLE ──apply()────► SENDING a part of a step: [open,] messages, barrier; at once: open, messages, commit
                          │ barrier, no error ──► bundle: COMMITTING     others: next part
                          │ barrier, errors ────► bundle: DISCARDING     others: IDLE, Refused
                          │ reply to commit ────► at once: as from COMMITTING
                        COMMITTING ──reply──► next part, or IDLE, Applied
                          │ error ──► IDLE, Refused (OVS has dropped the bundle)
                        DISCARDING ──reply or error──► IDLE, Refused
    any ──close()──► CLOSED

A small bundle takes two round trips, {open, messages, barrier}, {commit}, or one if it is committed at once.
`request` and `send_packet` go on beside all that. Messages leave a chunk at a time: memory stays flat.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from enum import Enum

from ovs_geneve.openflow.bundle import SHARED_XID, Wrapped
from ovs_geneve.openflow.events import (
    Answered,
    Applied,
    Bundle,
    Event,
    MapTlv,
    PacketRefused,
    Refusal,
    Refused,
    RequestRefused,
    SetMeters,
    Step,
    UnmapTlv,
    Unrelated,
)
from ovs_geneve.openflow.messages import (
    MessageType,
    decode_error,
    decode_header,
    encode_barrier,
    stamp,
)
from ovs_geneve.openflow.meters import MeterCommand, encode_meter, encode_meter_delete
from ovs_geneve.openflow.observation import XIDS, Observation
from ovs_geneve.openflow.part import PART_XIDS, Part
from ovs_geneve.openflow.tlv_table import TlvCommand, encode_tlv_mod

FIRST_XID = 0x8000_0000
LAST_XID = SHARED_XID
"A session's xids lie between these two; others on the same connection keep below or above them."

PACKET_XID = LAST_XID - 1
"Packets to send have no answer: an error with this xid says that one of them was refused."

MAX_PACKETS = 1_000
"Packets that may wait to leave; a switch that does not read must not fill the memory."

_REQUEST_XIDS = 2

_UNASKED = frozenset(
    {
        MessageType.HELLO,
        MessageType.ECHO_REQUEST,
        MessageType.PACKET_IN,
        MessageType.FLOW_REMOVED,
        MessageType.PORT_STATUS,
    }
)


class State(Enum):
    """Where a session stands; the module's docstring draws what leads where."""

    IDLE = "idle"
    OBSERVING = "observing"
    SENDING = "sending"
    COMMITTING = "committing"
    DISCARDING = "discarding"
    CLOSED = "closed"


def claims(message: bytes) -> bool:
    """Tell whether a message may answer a session: by its xid, and its type is no switch's own idea."""
    return message[1] not in _UNASKED and FIRST_XID <= int.from_bytes(message[4:8], "big") <= LAST_XID


class Session:
    """One connection to one switch, after the handshake.

    `chunk` is about how many bytes `data_to_send` gives at a time: what others wait while one switch gets
    everything, and a change takes several turns of the loop. `observe` and `apply` want an idle
    session and raise RuntimeError otherwise: who drives it takes turns (`switch.Switch`).
    """

    def __init__(self, *, bundle_limit: int = 20_000, chunk: int = 32 * 1024) -> None:
        self._bundle_limit = bundle_limit
        self._chunk = chunk
        self._state = State.IDLE
        self._xid = FIRST_XID
        self._outgoing: deque[bytes] = deque()
        self._packets: deque[bytes] = deque()
        self._observation: Observation | None = None
        self._parts: Iterator[Part] = iter(())
        self._part: Part | None = None
        self._requests: dict[int, list[bytes] | Refusal] = {}

    @property
    def state(self) -> State:
        """Tell where the session stands."""
        return self._state

    def observe(self, *, cookie: int = 0, cookie_mask: int = 0) -> None:
        """Ask for TLV map, groups, meters and the flows whose cookie fits under the mask."""
        self._leave_idle(State.OBSERVING)
        self._observation = Observation(self._take_xids(XIDS), cookie, cookie_mask)
        self._outgoing.extend(self._observation.requests())

    def apply(self, steps: Sequence[Step]) -> list[Event]:
        """Start carrying out `steps` in order; the events say at once if there is nothing to do."""
        self._leave_idle(State.SENDING)
        self._parts = self._split(tuple(steps))
        return self._next_part()

    def request(self, message: bytes) -> int:
        """Send one message and a barrier; Answered or RequestRefused with the returned xid follows."""
        if self._state is State.CLOSED:
            raise RuntimeError("the session is closed")
        xid = self._take_xids(_REQUEST_XIDS)
        self._requests[xid] = []
        self._outgoing += (stamp(message, xid), encode_barrier(xid + 1))
        return xid

    def send_packet(self, message: bytes) -> bool:
        """Send one PACKET_OUT before what is left of a step; False where too many wait already."""
        if self._state is State.CLOSED:
            raise RuntimeError("the session is closed")
        if len(self._packets) >= MAX_PACKETS:
            return False
        self._packets.append(stamp(message, PACKET_XID))
        return True

    def data_to_send(self) -> bytes:
        """Give the next bytes to write, about `chunk` of them; b"" when there are none for now."""
        pieces: list[bytes] = []
        room = self._chunk
        for queue in (self._outgoing, self._packets):
            while queue and room > 0:
                pieces.append(queue.popleft())
                room -= len(pieces[-1])
        if self._part is not None and room > 0:
            pieces += self._part.take(room)
        return b"".join(pieces)

    def receive(self, message: bytes) -> list[Event]:
        """Take one whole message in. Raises DecodeError where it breaks the format."""
        header = decode_header(message)
        xid = header.xid
        if self._part is not None and self._part.owns(xid):
            return self._receive_part(self._part, header.type, xid, message)
        if self._observation is not None and self._observation.owns(xid):
            return self._finish_observing(self._observation.receive(header, message))
        if xid in self._requests or xid - 1 in self._requests:
            return self._receive_request(header.type, xid, message)
        if xid == PACKET_XID and header.type == MessageType.ERROR:
            return [PacketRefused(Part.refusal(decode_error(message)))]
        return [Unrelated(message)]

    def close(self) -> None:
        """Forget everything: the connection is gone, and no event follows."""
        self._state = State.CLOSED
        self._outgoing.clear()
        self._packets.clear()
        self._requests.clear()
        self._observation = self._part = None
        self._parts = iter(())

    def _leave_idle(self, state: State) -> None:
        if self._state is not State.IDLE:
            raise RuntimeError(f"the session is {self._state.value}")
        self._state = state

    def _take_xids(self, count: int) -> int:
        if self._xid + count > PACKET_XID:
            self._xid = FIRST_XID
        first = self._xid
        self._xid += count
        return first

    def _split(self, steps: tuple[Step, ...]) -> Iterator[Part]:
        for number, step in enumerate(steps):
            if isinstance(step, Bundle):
                first = 0
                for run in _runs(step.messages, self._bundle_limit):
                    xid = self._take_xids(PART_XIDS)
                    yield Part(run, step=number, xid=xid, first=first, at_once=step.at_once)
                    first += len(run)
            elif messages := _bare(step):
                yield Part(messages, step=number, xid=self._take_xids(PART_XIDS), bundled=False)

    def _next_part(self) -> list[Event]:
        self._part = next(self._parts, None)
        if self._part is None:
            self._state = State.IDLE
            return [Applied()]
        self._state = State.SENDING
        return []

    def _receive_part(self, part: Part, kind: int, xid: int, message: bytes) -> list[Event]:
        if kind == MessageType.ERROR:
            part.refuse(xid, decode_error(message))
        if xid == part.barrier_xid:
            return self._all_received(part)
        if xid != part.end_xid:
            return []  # the reply to open, or an error that the barrier reply will follow
        if (self._state is State.COMMITTING or part.at_once) and not part.refusals:
            return self._next_part()
        return self._refuse(part)

    def _all_received(self, part: Part) -> list[Event]:
        if not part.bundled:
            return self._refuse(part) if part.refusals else self._next_part()
        if part.refusals:
            self._state = State.DISCARDING
            self._outgoing.append(part.discard())
        else:
            self._state = State.COMMITTING
            self._outgoing.append(part.commit())
        return []

    def _refuse(self, part: Part) -> list[Event]:
        self._state = State.IDLE
        self._part = None
        self._parts = iter(())
        return [Refused(step=part.step, refusals=tuple(part.refusals), committed=part.first)]

    def _finish_observing(self, result: Event | None) -> list[Event]:
        if result is None:
            return []
        self._state = State.IDLE
        self._observation = None
        return [result]

    def _receive_request(self, kind: int, xid: int, message: bytes) -> list[Event]:
        if xid not in self._requests:  # the barrier behind the request: whatever the answer, it is complete
            outcome = self._requests.pop(xid - 1)
            if isinstance(outcome, Refusal):
                return [RequestRefused(xid - 1, outcome)]
            return [Answered(xid - 1, tuple(outcome))]
        outcome = self._requests[xid]
        if kind == MessageType.ERROR:
            self._requests[xid] = Part.refusal(decode_error(message))
        elif isinstance(outcome, list):
            outcome.append(message)
        return []


def _bare(step: MapTlv | UnmapTlv | SetMeters) -> list[bytes]:
    """Encode a step that no bundle takes."""
    if isinstance(step, SetMeters):
        come = [encode_meter(MeterCommand.ADD, meter) for meter in step.add]
        come += [encode_meter(MeterCommand.MODIFY, meter) for meter in step.change]
        return come + [encode_meter_delete(meter_id) for meter_id in step.delete]
    command = TlvCommand.ADD if isinstance(step, MapTlv) else TlvCommand.DELETE
    return [encode_tlv_mod(command, step.maps)] if step.maps else []


def _runs(messages: Sequence[bytes], limit: int) -> Iterator[Sequence[bytes]]:
    """Yield the messages in runs for one bundle each."""
    if isinstance(messages, Wrapped):
        yield from messages.split(limit)
    else:
        yield from (messages[first : first + limit] for first in range(0, len(messages), limit))
