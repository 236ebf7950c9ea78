"""The application: routes of every resource under ``/api/v1``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, FastAPI, Request

from appliance import __version__
from scheduler.api.guard import Guard
from scheduler.api.peer import Peer, may_control
from scheduler.api.problems import install
from scheduler.house import House

PREFIX = "/api/v1"


async def _house(request: Request) -> House:
    house: House = request.app.state.house
    return house


Parts = Annotated[House, Depends(_house)]
"""What a route is given: the parts of the daemon."""


def create_app(house: House, *, allowed: Callable[[Peer | None], bool] | None = None) -> FastAPI:
    """The control API of a daemon. ``allowed`` decides who may use it; by default those the socket is for."""
    from scheduler.api import datasets, deployments, events, jobs, models, pipelines, status

    app = FastAPI(title="Luthier control API", version=__version__, docs_url=None, redoc_url=None)
    app.state.house = house
    for resource in (status, pipelines, jobs, datasets, models, deployments, events):
        app.include_router(resource.router, prefix=PREFIX)
    install(app)

    def by_socket(peer: Peer | None) -> bool:
        return peer is not None and may_control(peer, house.paths.socket)

    app.add_middleware(Guard, allowed=allowed or by_socket)
    return app
