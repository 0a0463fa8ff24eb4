# SPDX-License-Identifier: Apache-2.0
"""/v1/reports/offload: whether NICs can take the networks' packets, and whether they do."""

from __future__ import annotations

import asyncio
from typing import Annotated

from litestar import get
from litestar.params import QueryParameter

from controller.api.handlers import Backend
from controller.api.offload_schema import OffloadReportView
from controller.api.offload_views import report_view
from controller.errors import NotFound
from controller.intent.model import Kind, object_id


@get("/reports/offload", summary="Offload", tags=["status"])
async def offload_report(
    backend: Backend,
    host: Annotated[str | None, QueryParameter(description="This host only.")] = None,
    network: Annotated[str | None, QueryParameter(description="This network only.")] = None,
) -> OffloadReportView:
    """Show hosts with their NICs, and networks with a verdict for each family of NICs; each no has its reason."""
    intent = backend.intent
    for kind, name in ((Kind.HOST, host), (Kind.NETWORK, network)):
        if name is not None and intent.get(kind, name) is None:
            raise NotFound("not-found", f"there is no {object_id(kind, name)}")
    hosts = sorted(intent.hosts) if host is None else [host]
    sights = await asyncio.gather(*(backend.eyes.sight(name) for name in hosts))
    return report_view(
        intent,
        {name: backend.report(name) for name in hosts},
        dict(zip(hosts, sights, strict=True)),
        backend.tunnel_port,
        intent.networks if network is None else (network,),
    )
