# SPDX-License-Identifier: Apache-2.0
"""The shelf of compiled fragments: layers hold fragments, hosts hold layers. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set

from controller.compiler.fragments import Fragment, FragmentId, Layer, LayerKind
from controller.hoststate import cookies_of
from ovs_geneve.openflow.bundle import Block, joined

_NOTHING: Mapping[FragmentId, Fragment] = {}
_NOBODY: frozenset[str] = frozenset()

_BLOCK_MESSAGES = 200
"A block leaves whole: more would hold up other switches."


class Layers:
    """Which fragments are in which layer, and which hosts hold it."""

    def __init__(self) -> None:
        self._fragments: dict[Layer, dict[FragmentId, Fragment]] = defaultdict(dict)
        self._layers_of: dict[str, frozenset[Layer]] = {}
        self._hosts_of: dict[Layer, set[str]] = defaultdict(set)
        # Of layers that hosts share, until they change: after a restart all hosts come at once.
        self._cookies: dict[Layer, Mapping[bytes, int]] = {}
        self._blocks: dict[Layer, Mapping[str, Sequence[Block]]] = {}
        "By the host that is excepted."
        self._sizes: dict[tuple[Layer, str], tuple[int, int]] = {}
        "Flows and groups by layer, of all fragments (no host) and of those that a host is excepted from."

    @property
    def hosts(self) -> Set[str]:
        """The hosts that hold any layer."""
        return self._layers_of.keys()

    def of(self, host: str) -> frozenset[Layer]:
        """Return the layers that a host holds."""
        return self._layers_of.get(host, frozenset())

    def holders(self, layer: Layer) -> Set[str]:
        """Return the hosts that hold a layer."""
        return self._hosts_of.get(layer, _NOBODY)

    def assign(self, host: str, layers: frozenset[Layer]) -> None:
        """Have a host hold exactly these layers."""
        before = self.of(host)
        for layer in before - layers:
            self._hosts_of[layer].discard(host)
            if not self._hosts_of[layer]:
                del self._hosts_of[layer]
        for layer in layers - before:
            self._hosts_of[layer].add(host)
        if layers:
            self._layers_of[host] = layers
        else:
            self._layers_of.pop(host, None)

    def get(self, layer: Layer, fragment_id: FragmentId) -> Fragment | None:
        """Return a fragment."""
        return self._fragments.get(layer, _NOTHING).get(fragment_id)

    def put(self, layer: Layer, fragment: Fragment) -> None:
        """Put a fragment in its place, or in the place of the one that stood there."""
        stood = self.get(layer, fragment.id)
        if stood is not None:
            self._count(layer, stood, -1)
        self._fragments[layer][fragment.id] = fragment
        self._changed(layer)
        self._count(layer, fragment, 1)

    def take_out(self, layer: Layer, fragment_id: FragmentId) -> Fragment:
        """Remove a fragment and return it."""
        fragments = self._fragments[layer]
        fragment = fragments.pop(fragment_id)
        self._changed(layer)
        self._count(layer, fragment, -1)
        if not fragments:
            del self._fragments[layer]
        return fragment

    def fragments(self, host: str, layers: Iterable[Layer]) -> list[Fragment]:
        """Return what a host holds of these layers."""
        return [
            fragment
            for layer in layers
            for fragment in self._fragments.get(layer, _NOTHING).values()
            if fragment.except_host != host
        ]

    def cookies(self, host: str) -> dict[bytes, int]:
        """Return the cookie of each flow that a host holds, by flow key; no flow is taken apart for one host alone."""
        cookies: dict[bytes, int] = {}
        # The host's own layer is last: what it has in the place of a shared flow it is excepted from.
        for layer in sorted(self.of(host), key=lambda layer: layer.kind is LayerKind.HOST):
            cookies.update(self._cookies_of(layer))
            for fragment in self._fragments.get(layer, _NOTHING).values():
                if fragment.except_host == host:
                    for key, _ in cookies_of(fragment.block):
                        del cookies[key]
        return cookies

    def blocks(self, host: str) -> list[Block]:
        """Return all flows that a host holds, in few blocks: those of shared layers were joined once for all."""
        return [
            block
            for layer in self.of(host)
            for excepted, blocks in self._blocks_of(layer).items()
            if excepted != host
            for block in blocks
        ]

    def held(self) -> dict[Layer, dict[FragmentId, Fragment]]:
        """Return a copy of the layers that hosts hold."""
        return {layer: dict(self._fragments[layer]) for layer in self._hosts_of if layer in self._fragments}

    def size(self, host: str) -> tuple[int, int]:
        """Return how many flows and groups a host holds, without looking at them."""
        flows = groups = 0
        for layer in self.of(host):
            all_flows, all_groups = self._sizes.get((layer, ""), (0, 0))
            not_flows, not_groups = self._sizes.get((layer, host), (0, 0))
            flows, groups = flows + all_flows - not_flows, groups + all_groups - not_groups
        return flows, groups

    def _changed(self, layer: Layer) -> None:
        self._cookies.pop(layer, None)
        self._blocks.pop(layer, None)

    def _blocks_of(self, layer: Layer) -> Mapping[str, Sequence[Block]]:
        known = self._blocks.get(layer)
        if known is None:
            by_host: dict[str, list[Block]] = defaultdict(list)
            for fragment in self._fragments.get(layer, _NOTHING).values():
                by_host[fragment.except_host].append(fragment.block)
            known = {host: tuple(joined(blocks, _BLOCK_MESSAGES)) for host, blocks in by_host.items()}
            if layer.kind is not LayerKind.HOST:
                self._blocks[layer] = known
        return known

    def _cookies_of(self, layer: Layer) -> Mapping[bytes, int]:
        known = self._cookies.get(layer)
        if known is None:
            fragments = self._fragments.get(layer, _NOTHING).values()
            known = {key: cookie for fragment in fragments for key, cookie in cookies_of(fragment.block)}
            if layer.kind is not LayerKind.HOST:
                self._cookies[layer] = known
        return known

    def _count(self, layer: Layer, fragment: Fragment, sign: int) -> None:
        for place in {(layer, ""), (layer, fragment.except_host)}:
            flows, groups = self._sizes.pop(place, (0, 0))
            flows, groups = flows + sign * len(fragment.block.ends), groups + sign * len(fragment.groups)
            if flows or groups:
                self._sizes[place] = flows, groups
