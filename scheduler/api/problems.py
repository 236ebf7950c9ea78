"""Errors as problem+json (RFC 9457), each with our code and hint. One of the four places with a broad ``except``."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from appliance.errors import DiskFull, LuthierError

logger = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
_STATUS = {1: 500, 2: 422, 3: 503, 4: 404, 5: 409, 6: 403, 7: 422, 8: 422, 9: 422, 124: 504}
_CODES = {404: "not-found", 405: "not-permitted", 413: "too-large"}


def problem(error: LuthierError, status: int | None = None) -> JSONResponse:
    """The response that tells of an error."""
    status = status or (507 if isinstance(error, DiskFull) else _STATUS.get(error.exit_status, 500))
    return _response(status, error.as_dict())


def install(app: FastAPI) -> None:
    """Have every failure of a route answered in the same form."""
    app.add_exception_handler(LuthierError, _named)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _bug)


async def _named(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, LuthierError):
        raise error
    return problem(error)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    listed = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
    return _response(422, _body("invalid-request", f"The request is not understood: {listed}"))


async def _http(request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    message = f"{request.method} {request.url.path}: {getattr(error, 'detail', '')}"
    return _response(status, _body(_CODES.get(status, "usage"), message))


async def _bug(_: Request, error: Exception) -> JSONResponse:
    body = _body("bug", f"{type(error).__name__}: {error}")
    return _response(500, body | {"hint": "This is a bug of Luthier: the daemon's log has the traceback."})


def _body(code: str, message: str) -> dict[str, Any]:
    return {"schema": "luthier.error/1", "code": code, "message": message, "hint": None, "where": None, "fixes": []}


def _response(status: int, body: dict[str, Any]) -> JSONResponse:
    titles = {403: "Not permitted", 404: "Not found", 409: "Conflict", 422: "Refused", 507: "Disk full"}
    code = str(body["code"])
    more = {"type": f"urn:luthier:{code}", "title": titles.get(status, "Failed"), "status": status}
    return JSONResponse(body | more | {"detail": body["message"]}, status_code=status, media_type=MEDIA_TYPE)
