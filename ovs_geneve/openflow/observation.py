# SPDX-License-Identifier: Apache-2.0
"""Collects the answers that say what a bridge holds: TLV map, groups, flows, meters. Pure.

All questions go out at once; OVS answers in order, the flows in many parts. Memory: one key and one
int for each flow; replies are not kept.
"""

from __future__ import annotations

from ovs_geneve.openflow.events import Observed, ObserveRefused, Refusal
from ovs_geneve.openflow.flow import GroupKind
from ovs_geneve.openflow.messages import Header, MessageType, decode_error
from ovs_geneve.openflow.meters import decode_meter_desc, meter_desc_request
from ovs_geneve.openflow.stats import (
    decode_flow_keys,
    decode_group_desc,
    flow_stats_request,
    group_desc_request,
    is_last_part,
)
from ovs_geneve.openflow.tlv_table import TlvTable, decode_tlv_reply, encode_tlv_request

XIDS = 4
"Transaction identifiers that one observation takes."

_METERS = 3
"Which of the questions is that for the meters."


class Observation:
    """One look at a bridge; flows only where `cookie & cookie_mask` fits.

    Its xids are `first` (TLV map), `first + 1` (groups), `first + 2` (flows) and `first + 3` (meters).
    """

    def __init__(self, first: int, cookie: int, cookie_mask: int) -> None:
        self._first = first
        self._waiting = set(range(first, first + XIDS))
        self._refusal: Refusal | None = None
        self._table = TlvTable(max_space=0, max_fields=0, maps=())
        self._groups: dict[int, tuple[GroupKind, bytes]] = {}
        self._flows: dict[bytes, int] = {}
        self._meters: dict[int, bytes] = {}
        self._cookie = (cookie, cookie_mask)

    def requests(self) -> list[bytes]:
        """Encode the questions."""
        cookie, mask = self._cookie
        return [
            encode_tlv_request(xid=self._first),
            group_desc_request(self._first + 1),
            flow_stats_request(xid=self._first + 2, cookie=cookie, cookie_mask=mask),
            meter_desc_request(self._first + _METERS),
        ]

    def owns(self, xid: int) -> bool:
        """Tell whether an answer with this xid is still waited for."""
        return xid in self._waiting

    def receive(self, header: Header, message: bytes) -> Observed | ObserveRefused | None:
        """Take one message in; return the result once all questions are answered."""
        if header.type == MessageType.ERROR:
            if header.xid != self._first + _METERS:  # a switch without meters holds none
                self._refuse(message)
            last = True
        else:
            last = self._collect(header.xid - self._first, message)
        if last:
            self._waiting.discard(header.xid)
        return None if self._waiting else self._result()

    def _collect(self, question: int, message: bytes) -> bool:
        if question == 0:
            self._table = decode_tlv_reply(message)
            return True
        if question == 1:
            self._groups.update((group, (kind, raw)) for group, kind, raw in decode_group_desc(message))
        elif question == _METERS:
            self._meters.update(decode_meter_desc(message))
        else:
            self._flows.update(decode_flow_keys(message))
        return is_last_part(message)

    def _refuse(self, message: bytes) -> None:
        error = decode_error(message)
        self._refusal = self._refusal or Refusal(
            name=error.name, error_type=error.error_type, code=error.code, index=None, message=error.request
        )

    def _result(self) -> Observed | ObserveRefused:
        if self._refusal is not None:
            return ObserveRefused(self._refusal)
        return Observed(
            tlv_maps=self._table.maps,
            max_option_space=self._table.max_space,
            max_fields=self._table.max_fields,
            groups=self._groups,
            flows=self._flows,
            meters=self._meters,
        )
