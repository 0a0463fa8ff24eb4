# SPDX-License-Identifier: Apache-2.0
"""The routes. Each kind of object has the same four; what differs is the document."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, ClassVar, cast

from litestar import Controller as Routes
from litestar import Request, Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter, SkipValidation

from controller.api import rule_schema, schema
from controller.api.answers import (
    ControllerView,
    EventListView,
    ListView,
    ObjectView,
    ProfileListView,
    ProfileView,
    RecomputationView,
    TunnelListView,
)
from controller.api.backend import Controller
from controller.api.body import CheckBody
from controller.api.documents import to_spec
from controller.api.parameters import (
    ANY_REVISION,
    etag,
    parse_duration,
    parse_etag,
    parse_label,
    parse_none_match,
    parse_wait,
)
from controller.api.plan_views import PlanView, plan_view
from controller.api.schema import Document
from controller.api.views import (
    controller_view,
    counted_view,
    events_view,
    object_view,
    profile_view,
    profiles_view,
    recomputation_view,
    tunnels_view,
)
from controller.errors import NotFound, StaleRevision
from controller.intent.commands import Delete, Put, evaluate
from controller.intent.model import AnyObject, Kind, object_id
from controller.reconciler.status import Truth
from ovs_geneve.geneve.profiles import profiles

Backend = NamedDependency[SkipValidation[Controller]]
_Name = FromPath[str]
_Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="Objects a page.")]
Wait = Annotated[
    str | None,
    QueryParameter(description='"programmed": answer when every bridge concerned acknowledged it.'),
]
Timeout = Annotated[str, QueryParameter(description="How long to wait: 5s, 500ms. Then the answer is 202.")]
_DryRun = Annotated[
    bool, QueryParameter(description="Store nothing: answer with what would come of it, or be refused alike.")
]
_IfMatch = Annotated[str | None, HeaderParameter(name="If-Match", description="The ETag it must have.")]
_IfNoneMatch = Annotated[str | None, HeaderParameter(name="If-None-Match", description="*: only create.")]


class Collection(Routes):
    """The objects of one kind."""

    kind: ClassVar[Kind]

    @get("/", summary="List")
    async def list_objects(
        self,
        backend: Backend,
        limit: _Limit = 100,
        cursor: Annotated[str, QueryParameter(description="`next` of the page before.")] = "",
        label: Annotated[
            str | None, QueryParameter(description="KEY=VALUE: only those that have it.")
        ] = None,
    ) -> ListView[Document]:
        """List objects by name, a page at a time."""
        intent = backend.intent
        wanted = parse_label(label)
        held = intent.objects(self.kind)
        names = sorted(
            name for name, one in held.items() if name > cursor and (wanted is None or wanted in one.labels)
        )
        page = names[:limit]
        return ListView(
            revision=intent.revision,
            items=[object_view(backend, held[name]) for name in page],
            next=page[-1] if len(names) > limit else None,
        )

    @get("/{name:str}", summary="Get")
    async def get_object(self, backend: Backend, name: _Name) -> Response[ObjectView[Document]]:
        """Get one object."""
        held = self._find(backend, name)
        return Response(await counted_view(backend, held), headers={"ETag": etag(held.revision)})

    @put("/{name:str}", summary="Create or replace", status_code=200)
    async def put_object(
        self,
        backend: Backend,
        name: _Name,
        data: JSONBody[Document],
        wait: Wait = None,
        timeout: Timeout = "5s",
        if_match: _IfMatch = None,
        if_none_match: _IfNoneMatch = None,
        dry_run: _DryRun = False,
    ) -> Response[ObjectView[Document] | PlanView]:
        """Make the object so; the same document again changes nothing."""
        waits, seconds = parse_wait(wait), parse_duration(timeout)
        if if_match == ANY_REVISION:
            self._check_exists(backend, name)
        command = Put(
            kind=self.kind,
            name=name,
            spec=to_spec(data, name, backend.intent),
            labels=tuple(data.labels.items()),
            if_match=parse_etag(if_match),
            if_none_match=parse_none_match(if_none_match),
        )
        if dry_run:
            return _planned(backend, command)
        result = await backend.submit(command)
        held = result.object or self._find(backend, name)
        status = 201 if result.created else 200
        if waits:
            hosts = backend.hosts_concerned(held)
            await _acknowledged(backend, hosts, held, result.revision, seconds)
            status = status if is_programmed(backend, held) else 202
        return cast("Response[ObjectView[Document] | PlanView]", _shown(backend, held, status))

    @delete(
        "/{name:str}",
        summary="Delete",
        status_code=204,
        responses={200: ResponseSpec(PlanView, description="The plan, of a dry run.")},
    )
    async def delete_object(
        self,
        backend: Backend,
        name: _Name,
        wait: Wait = None,
        timeout: Timeout = "5s",
        if_match: _IfMatch = None,
        dry_run: _DryRun = False,
    ) -> Response[None]:
        """Take the object away."""
        waits, seconds = parse_wait(wait), parse_duration(timeout)
        held = self._find(backend, name)
        command = Delete(kind=self.kind, name=name, if_match=parse_etag(if_match))
        if dry_run:
            return _planned(backend, command)
        hosts = backend.hosts_concerned(held)
        result = await backend.submit(command)
        done = not waits or await _acknowledged(backend, hosts, held, result.revision, seconds)
        return Response(None, status_code=204 if done else 202)

    def _check_exists(self, backend: Controller, name: str) -> None:
        if backend.intent.get(self.kind, name) is None:
            reason = f"If-Match: * wants {object_id(self.kind, name)} to exist"
            raise StaleRevision("revision-stale", reason)

    def _find(self, backend: Controller, name: str) -> AnyObject:
        held = backend.intent.get(self.kind, name)
        if held is None:
            raise NotFound("not-found", f"there is no {object_id(self.kind, name)}")
        return held


class Hosts(Collection):
    """Machines that take part in the overlay."""

    path = "/hosts"
    kind = Kind.HOST
    tags = ("hosts",)
    signature_namespace = {"Document": schema.HostDocument}
    before_request = CheckBody(schema.HostDocument)


class Networks(Collection):
    """Virtual networks."""

    path = "/networks"
    kind = Kind.NETWORK
    tags = ("networks",)
    signature_namespace = {"Document": schema.NetworkDocument}
    before_request = CheckBody(schema.NetworkDocument)


class Ports(Collection):
    """Logical ports."""

    path = "/ports"
    kind = Kind.PORT
    tags = ("ports",)
    signature_namespace = {"Document": schema.PortDocument}
    before_request = CheckBody(schema.PortDocument)


class OptionSchemas(Collection):
    """GENEVE options that users declared."""

    path = "/option-schemas"
    kind = Kind.OPTION_SCHEMA
    tags = ("option-schemas",)
    signature_namespace = {"Document": schema.OptionSchemaDocument}
    before_request = CheckBody(schema.OptionSchemaDocument)


class OptionPolicies(Collection):
    """What is let in, by options."""

    path = "/option-policies"
    kind = Kind.OPTION_POLICY
    tags = ("option-policies",)
    signature_namespace = {"Document": rule_schema.OptionPolicyDocument}
    before_request = CheckBody(rule_schema.OptionPolicyDocument)


class Groups(Collection):
    """Ports that have the same rights."""

    path = "/groups"
    kind = Kind.GROUP
    tags = ("groups",)
    signature_namespace = {"Document": rule_schema.GroupDocument}
    before_request = CheckBody(rule_schema.GroupDocument)


class Policies(Collection):
    """Who may talk to a group."""

    path = "/policies"
    kind = Kind.POLICY
    tags = ("policies",)
    signature_namespace = {"Document": rule_schema.PolicyDocument}
    before_request = CheckBody(rule_schema.PolicyDocument)


@get("/option-profiles", summary="Option profiles", tags=["option-schemas"])
async def option_profiles() -> ProfileListView:
    """List the options that other systems define, as far as they are known here."""
    return profiles_view()


@get("/option-profiles/{name:str}", summary="Option profile", tags=["option-schemas"])
async def option_profile(name: _Name) -> ProfileView:
    """Show the options that one system defines."""
    for profile in profiles():
        if profile.name == name:
            return profile_view(profile)
    raise NotFound("not-found", f"there is no option-profile/{name}")


@get("/tunnels", summary="Tunnels", tags=["status"])
async def tunnels(backend: Backend) -> TunnelListView:
    """List the pairs of hosts that have a network in common."""
    return tunnels_view(backend)


@get("/status", summary="Status", tags=["status"])
async def status(backend: Backend) -> ControllerView:
    """Show the controller and its hosts, strangers that called in among them."""
    return controller_view(backend)


@get("/events", summary="Events", tags=["status"])
async def events(
    backend: Backend,
    since: Annotated[int, QueryParameter(ge=0, description="`next` of the answer before.")] = 0,
    limit: Annotated[int, QueryParameter(ge=1, le=1000, description="Events an answer.")] = 100,
) -> EventListView:
    """List what happened, oldest first; the last thousand are remembered until the controller ends."""
    return events_view(backend, since, limit)


@post("/debug/recompute", summary="Recompute", tags=["status"], status_code=200)
async def recompute(backend: Backend) -> RecomputationView:
    """Compile everything from nothing, beside the running controller, and say what differs: nothing should."""
    return recomputation_view(await backend.recompute())


@get("/healthz", summary="Is the process alive", tags=["status"])
async def healthz() -> dict[str, str]:
    """Answer as long as the loop turns."""
    return {"status": "ok"}


@get("/readyz", summary="Can requests be served", tags=["status"])
async def readyz(backend: Backend) -> Response[dict[str, str]]:
    """Answer 200 when commands can be stored, 503 with the reason when not."""
    ready, reason = backend.ready()
    body = {"status": "ok"} if ready else {"status": "not ready", "reason": reason}
    return Response(body, status_code=200 if ready else 503)


@get("/openapi.json", include_in_schema=False)
async def openapi(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Serve the description of this API, made from its code."""
    return request.app.openapi_schema.to_schema()


async def _acknowledged(
    backend: Controller, hosts: frozenset[str], held: AnyObject, revision: int, seconds: float
) -> bool:
    """Wait for the bridges; tell whether they made it in time."""
    try:
        async with asyncio.timeout(seconds):
            await backend.acknowledged(hosts, revision, held.key)
            if held.kind is Kind.NETWORK:
                await backend.rolled_out(held.name)
    except TimeoutError:
        return False
    return True


def is_programmed(backend: Controller, held: AnyObject) -> bool:
    """Tell whether all bridges concerned hold an object."""
    return all(c.status is Truth.TRUE for c in backend.conditions(held) if c.type == "Programmed")


def _planned(backend: Controller, command: Put | Delete) -> Response[Any]:
    """Answer with what a command would come to."""
    return Response(plan_view(backend.intent, evaluate(backend.intent, command)), status_code=200)


def _shown(backend: Controller, held: AnyObject, status_code: int) -> Response[ObjectView[Document]]:
    headers = {"ETag": etag(held.revision)}
    return Response(object_view(backend, held), status_code=status_code, headers=headers)
