"""The application: routes, error envelopes and the door in front of them."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from appliance.errors import LuthierError
from serving.guard import Guard
from serving.openai.errors import ApiError
from serving.openai.parameters import PUBLIC_LOGPROBS
from serving.openai.routes import Api
from serving.shelf import Shelf
from serving.telemetry import Meter


def build_app(
    shelf: Shelf,
    *,
    hosts: frozenset[str] = frozenset(),
    most_logprobs: int = PUBLIC_LOGPROBS,
    more_routes: Sequence[BaseRoute] = (),
) -> ASGIApp:
    """The server over a shelf of models. ``hosts`` are names it answers to besides those of loopback."""
    meter = Meter()
    api = Api(shelf, meter, most_logprobs)

    async def health(_request: Request) -> Response:
        if shelf.loading:
            headers = {"retry-after": "1"}
            return JSONResponse({"status": "loading", "models": list(shelf.names)}, status_code=503, headers=headers)
        return JSONResponse({"status": "ok", "models": list(shelf.names)})

    async def metrics(_request: Request) -> Response:
        return PlainTextResponse(meter.render(shelf), media_type="text/plain; version=0.0.4")

    routes = [
        Route("/v1/models", api.models),
        Route("/v1/models/{id:path}", api.model),
        Route("/v1/chat/completions", api.chat, methods=["POST"]),
        Route("/v1/completions", api.completions, methods=["POST"]),
        Route("/health", health),
        Route("/metrics", metrics),
        *more_routes,
    ]
    handlers = {
        ApiError: _refusal,
        LuthierError: _failure,
        HTTPException: _no_route,
        Exception: _bug,
    }
    return Guard(Starlette(routes=routes, exception_handlers=handlers), hosts, meter.respond)  # type: ignore[arg-type]


async def _refusal(_request: Request, error: ApiError) -> Response:
    return error.response()


async def _failure(_request: Request, error: LuthierError) -> Response:
    return ApiError(500, error.code, error.message).response()


async def _no_route(request: Request, error: HTTPException) -> Response:
    codes = {404: "not_found", 405: "method_not_allowed"}
    message = f"{request.method} {request.url.path[:200]} is not served here."
    return ApiError(error.status_code, codes.get(error.status_code, "http_error"), message).response()


async def _bug(_request: Request, error: Exception) -> Response:
    return ApiError(500, "internal_error", f"A bug of Luthier: {type(error).__name__}.").response()
