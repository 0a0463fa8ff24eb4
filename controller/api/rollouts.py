# SPDX-License-Identifier: Apache-2.0
"""What the controller keeps by itself, shown: rollouts and what hosts can do. Reads only."""

from __future__ import annotations

from litestar import Controller as Routes
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation

from controller.api.backend import Controller
from controller.api.rollout_schema import (
    CapabilitiesView,
    ForeignMapView,
    RolloutListView,
    RolloutSpecView,
    RolloutStateView,
    RolloutStatusView,
    RolloutView,
    Way,
)
from controller.errors import NotFound
from controller.intent.intent import Intent
from controller.intent.model import Kind, Object, RolloutSpec, object_id

_Backend = NamedDependency[SkipValidation[Controller]]


class Rollouts(Routes):
    """Options on their way into networks and out of them."""

    path = "/rollouts"
    tags = ("rollouts",)

    @get("/", summary="List")
    async def list_rollouts(self, backend: _Backend) -> RolloutListView:
        """List the rollouts under way; who puts a network with other options begins one."""
        intent = backend.intent
        rollouts = sorted(intent.rollouts.items())
        return RolloutListView(revision=intent.revision, items=[rollout_view(one) for _, one in rollouts])

    @get("/{name:str}", summary="Get")
    async def get_rollout(self, backend: _Backend, name: FromPath[str]) -> RolloutView:
        """Get one rollout; one that is over is not found."""
        held = backend.intent.rollouts.get(name)
        if held is None:
            raise NotFound("not-found", f"there is no {object_id(Kind.ROLLOUT, name)}, or it is over")
        return rollout_view(held)


def rollout_view(held: Object[RolloutSpec]) -> RolloutView:
    """Show a rollout."""
    spec = held.spec
    return RolloutView(
        name=held.name,
        revision=held.revision,
        spec=RolloutSpecView(network=spec.network, schema=spec.schema, direction=_way(spec)),
        status=RolloutStatusView(stage=spec.stage.value, reason=spec.reason),
    )


def rollout_states(intent: Intent, network: str) -> list[RolloutStateView]:
    """Show the options that are on their way into a network or out of it."""
    specs = (intent.rollouts[name].spec for name in sorted(intent.rollouts_of(network)))
    return [
        RolloutStateView(schema=spec.schema, direction=_way(spec), stage=spec.stage.value, reason=spec.reason)
        for spec in specs
    ]


def capabilities_view(intent: Intent, host: str) -> CapabilitiesView | None:
    """Show what a host can do; None until that is recorded."""
    held = intent.capabilities.get(host)
    if held is None:
        return None
    spec = held.spec
    return CapabilitiesView(
        ovs_version=spec.ovs_version,
        datapath=spec.datapath,
        kernel=spec.kernel,
        max_option_bytes=spec.max_option_bytes,
        max_options=spec.max_options,
        critical=spec.critical,
        foreign=[
            ForeignMapView(
                slot=one.index, class_=f"{one.option_class:#06x}", type=one.option_type, length=one.length
            )
            for one in spec.foreign
        ],
        lacks=list(spec.lacks),
    )


def _way(spec: RolloutSpec) -> Way:
    return "in" if spec.incoming else "out"
