"""The ASGI application: hot routes by exact path, all others through Starlette's router.

Paths are matched as they were sent, so a percent-encoded slash never splits a segment.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.routing import Route as StarletteRoute
from starlette.routing import Router

from mimir_rw.api.endpoint import Endpoint, EndpointSpec, PathEndpoint, Surroundings
from mimir_rw.api.errors import text_answer
from mimir_rw.api.exchange import Answer, Call, Receive, Scope, Send
from mimir_rw.api.routes import Prefixes, Route, route_label, served


class Application:
    def __init__(
        self, *, components: Mapping[str, object], prefixes: Prefixes, form_bytes_max: int, around: Surroundings
    ) -> None:
        """components: for each component that runs here, the object whose class its routes name. form_bytes_max:
        largest form body of the query API."""
        self._components = components
        self._form_bytes_max = form_bytes_max
        self._around = around
        by_path: dict[str, list[Route]] = {}
        for route in served(components):
            by_path.setdefault(route.full_path(prefixes), []).append(route)
        self._hot: dict[bytes, PathEndpoint] = {}
        cold: list[StarletteRoute] = []
        for path, routes in by_path.items():
            endpoint = self._path_endpoint(path, routes)
            if any(route.hot for route in routes):
                self._hot[path.encode()] = endpoint
            cold.append(StarletteRoute(path, endpoint=endpoint))
        unknown = Endpoint(spec=EndpointSpec("other"), method="other", handler=_not_found, around=around)
        self._router = Router(routes=cold, redirect_slashes=False, default=unknown)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            hot = self._hot.get(scope["raw_path"])
            if hot is not None:
                await hot(scope, receive, send)
                return
            scope["path"] = scope["raw_path"].decode("latin-1")
            await self._router(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    def _path_endpoint(self, path: str, routes: list[Route]) -> PathEndpoint:
        label = route_label(path)
        by_method: dict[str, Endpoint] = {}
        for route in routes:
            spec = route.endpoint_spec(label, self._form_bytes_max)
            handler = route.handler.__get__(self._components[route.component])
            for method in route.methods:
                by_method[method] = Endpoint(spec=spec, method=method, handler=handler, around=self._around)
        return PathEndpoint(by_method=by_method, route=label, around=self._around)


async def _not_found(call: Call) -> Answer:
    return text_answer(404, "404 page not found")


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
