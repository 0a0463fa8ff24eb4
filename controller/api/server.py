# SPDX-License-Identifier: Apache-2.0
"""The REST API as an ASGI application."""

from __future__ import annotations

from secrets import token_hex

from litestar import Litestar, Router
from litestar.di import Provide
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import Message, Scope

from controller.api import handlers, linux_hosts, problems
from controller.api.apply import apply
from controller.api.backend import Controller
from controller.api.isolation import isolation_report
from controller.api.offload import offload_report
from controller.api.probes import Probes
from controller.api.rollouts import Rollouts
from controller.errors import IntentError, StoreUnavailable

MAX_BODY = 1 << 20
"Bytes; the largest document is a few kilobytes."

_REQUEST_ID = b"x-request-id"
_MAX_REQUEST_ID = 128


def create_app(backend: Controller) -> Litestar:
    """Build the API over a running controller."""
    v1 = Router(
        path="/v1",
        route_handlers=[
            handlers.Hosts,
            handlers.Networks,
            handlers.Ports,
            handlers.OptionSchemas,
            handlers.OptionPolicies,
            handlers.Groups,
            handlers.Policies,
            Rollouts,
            apply,
            handlers.option_profiles,
            handlers.option_profile,
            Probes,
            linux_hosts.kernel,
            linux_hosts.report,
            handlers.tunnels,
            offload_report,
            isolation_report,
            handlers.status,
            handlers.events,
            handlers.recompute,
            handlers.openapi,
        ],
    )
    return Litestar(
        route_handlers=[v1, handlers.healthz, handlers.readyz],
        dependencies={"backend": Provide(lambda: backend, sync_to_thread=False)},
        exception_handlers={
            IntentError: problems.intent_refused,
            StoreUnavailable: problems.store_unavailable,
            ValidationException: problems.parameters_invalid,
            HTTPException: problems.http_error,
            Exception: problems.unexpected,
        },
        before_send=[_add_request_id],
        openapi_config=OpenAPIConfig(
            title="ovs-geneve",
            version=backend.version,
            description="An SDN controller for GENEVE overlays on Open vSwitch, with options you declare.",
            # Litestar's own pages answer 404 in HTML; `handlers.openapi` serves the document.
            path="/openapi",
            render_plugins=[JsonRenderPlugin()],
        ),
        request_max_body_size=MAX_BODY,
        signature_types=[Controller],
        logging_config=None,
    )


async def _add_request_id(message: Message, scope: Scope) -> None:
    """Give every answer, those of no route too, the X-Request-Id of its request, or one of ours."""
    if message["type"] == "http.response.start":
        told = next((value for name, value in scope["headers"] if name == _REQUEST_ID), b"")
        request_id = told[:_MAX_REQUEST_ID] or token_hex(16).encode()
        message["headers"] = [*message["headers"], (_REQUEST_ID, request_id)]
