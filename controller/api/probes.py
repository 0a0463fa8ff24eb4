# SPDX-License-Identifier: Apache-2.0
"""/v1/probes: have tunnels proved, and look at what came of it. Runs are no part of the intent."""

from __future__ import annotations

from typing import Annotated

from litestar import Controller as Routes
from litestar import Response, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from controller.api.body import CheckBody
from controller.api.handlers import Backend
from controller.api.probe_documents import (
    ProbesDocument,
    ProbesListView,
    ProbesView,
    probes_view,
    to_request,
)
from controller.errors import NotFound

_OnlyFailed = Annotated[bool, QueryParameter(description="Of the results only those that are not well.")]
_WithResults = Annotated[bool, QueryParameter(description="false leaves the results out: to watch progress.")]


class Probes(Routes):
    """Runs of the prober."""

    path = "/probes"
    tags = ("probes",)
    before_request = CheckBody(ProbesDocument)

    @post("/", summary="Prove tunnels", status_code=202)
    async def begin(self, backend: Backend, data: JSONBody[ProbesDocument]) -> Response[ProbesView]:
        """Send probes between hosts; the answer comes at once, its Location tells how far they are."""
        job = backend.prober.start(to_request(data))
        headers = {"Location": f"/v1/probes/{job.id}"}
        return Response(probes_view(job, with_results=False), status_code=202, headers=headers)

    @get("/", summary="List runs")
    async def runs(self, backend: Backend) -> ProbesListView:
        """List the last ten runs since the controller started, the latest first, without their results."""
        return ProbesListView(
            items=[probes_view(job, with_results=False) for job in reversed(backend.prober.jobs)]
        )

    @get("/{name:str}", summary="Get a run")
    async def run(
        self,
        backend: Backend,
        name: FromPath[str],
        failed: _OnlyFailed = False,
        results: _WithResults = True,
    ) -> ProbesView:
        """Show how far a run is, and at its end what is proved of every direction between two hosts."""
        job = backend.prober.job(name)
        if job is None:
            raise NotFound(
                "not-found", f"there is no probes/{name}: the last ten runs since the start are kept"
            )
        return probes_view(job, with_results=results, only_failed=failed)
