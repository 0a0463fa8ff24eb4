# SPDX-License-Identifier: Apache-2.0
"""From tunnels into the bridge: known peers, own endpoints, known VNIs; then the sender's group becomes the mark.

    og-geneve 0  enc_dst own endpoint ─► PEERS  enc_src a declared host ─► VNIS  enc_vni ─► BY_VNI + VNI
    BY_VNI + VNI  options that say a group of which a policy speaks ─► marked with it ─► og-tVVVVVV, as if come in there
                  anything else                                     ─► a sender without a group ─► likewise

flower matches the list of options from its beginning, in the order on the wire, which is that of the options' slots:
Open vSwitch sends them so, and so do filters of ours. While an option is on its way in or out, both lists are known.
The tunnel's metadata stay with the packet: option policies look at them where it leaves the bridge (`entering.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controller.intent.identity import IDENTITY
from controller.intent.model import Address, HostSpec, Object
from controller.linux.layout import BY_VNI, FIRST, LAST, PEERS, TUNNEL_DEVICE, VNIS, mark_of, tunnel_port_of
from controller.linux.option_lists import matches_of, wanted_identity
from controller.linux.views import LinuxNetwork
from ovs_geneve.geneve.probe import SENDER_MAC
from ovs_geneve.kernel.objects import Action, Filter, Flower, Goto, MatchAll, Mirred, SetMark, Verdict
from ovs_geneve.values import mac_text

_DROP: tuple[Action, ...] = (Verdict(verdict="drop"),)

_PROBES = f"{mac_text(SENDER_MAC)}/ff:ff:ff:ff:ff:f8"

_ENDPOINT_BITS = 8


def host_filters(own: Iterable[Address]) -> Iterator[Filter]:
    """Yield the filters of the tunnel device whatever networks are on the host."""
    # Of the prober: they would go to whoever hears what has no other receiver.
    yield _filter(0, FIRST, Flower(dst_mac=_PROBES), _DROP)
    for number, address in enumerate(own, 1):
        match = Flower(enc_dst=str(address))
        yield _filter(0, FIRST + 1, match, (Goto(chain=PEERS),), handle=number)
    yield _filter(0, LAST, MatchAll(), _DROP)
    yield _filter(PEERS, LAST, MatchAll(), _DROP)
    yield _filter(VNIS, LAST, MatchAll(), _DROP)


def peer_filters(peer: Object[HostSpec]) -> Iterator[Filter]:
    """Yield those by which packets of another host are taken."""
    for number, address in enumerate(peer.spec.endpoints):
        match = Flower(enc_src=str(address))
        handle = peer.key << _ENDPOINT_BITS | number
        yield _filter(PEERS, FIRST, match, (Goto(chain=VNIS),), handle=handle)


def network_filters(network: LinuxNetwork, identities: Iterable[int]) -> Iterator[Filter]:
    """Yield those of a network; `identities` are of the groups that its policies let in or keep out."""
    vni = network.view.vni
    chain = BY_VNI + vni
    yield _filter(VNIS, FIRST, Flower(enc_vni=vni), (Goto(chain=chain),), handle=vni + 1)
    for identity in identities:
        lists = matches_of(network.view, {IDENTITY: wanted_identity(identity)})
        for number, options in enumerate(lists):
            handle = identity << _ENDPOINT_BITS | number
            yield _filter(chain, FIRST, Flower(enc_options=options), _into(network, identity), handle=handle)
    yield _filter(chain, LAST, MatchAll(), _into(network, 0))


def _into(network: LinuxNetwork, identity: int) -> tuple[Action, ...]:
    mark = SetMark(mark=mark_of(identity, tunnelled=True))
    return mark, Mirred(device=tunnel_port_of(network.view.vni), ingress=True)


def _filter(
    chain: int, preference: int, match: Flower | MatchAll, actions: tuple[Action, ...], *, handle: int = 1
) -> Filter:
    return Filter(
        device=TUNNEL_DEVICE,
        chain=chain,
        preference=preference,
        handle=handle,
        match=match,
        actions=actions,
    )
