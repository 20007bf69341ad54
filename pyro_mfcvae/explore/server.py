"""The local page: bound to the loopback address, for who has the token, on one machine.

The token is in the address that is printed, and the page's script sends it as a header, which no
other page can. Requests under another host's name are refused, so that no name server can lead a
stranger's page here.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from pyro_mfcvae.errors import ConfigError, RunError, explain_os
from pyro_mfcvae.explore.explored import Explored
from pyro_mfcvae.explore.page import page_of
from pyro_mfcvae.files import validated
from pyro_mfcvae.training.say import Say, quiet

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_HOST = "127.0.0.1"
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class _Name(TypedDict):
    facet: int
    cluster: int
    name: str


class _FacetName(TypedDict):
    facet: int
    name: str


class _Rows(TypedDict):
    rows: list[int]


class _Pairs(TypedDict):
    first: int
    second: int


class _Swap(TypedDict):
    first: int
    second: int
    facet: int


class _Traverse(TypedDict):
    row: int
    facet: int


def require_explore() -> None:
    """Raise a ConfigError that says what to install, if the server's packages are missing."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise ConfigError(
            "the explorer needs starlette and uvicorn; install them with\n    "
            'pip install "pyro_mfcvae[explore]"'
        ) from None


def make_app(explored: Explored, token: str) -> Starlette:
    """The application that answers the page's script.

    Args:
        explored: the run.
        token: that every request has to show.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.requests import ClientDisconnect
    from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route

    def is_known(given: str) -> bool:
        return secrets.compare_digest(given.encode(), token.encode())

    async def page(request: Request) -> Response:
        if not is_known(request.query_params.get("token", "")):
            text = "This page needs the token of the address that mfcvae explore printed.\n"
            return PlainTextResponse(text, 403, _HEADERS)
        try:
            return HTMLResponse(page_of(explored), headers=_HEADERS)
        except RunError as error:
            return PlainTextResponse(f"{error}\n", 500, _HEADERS)

    def answer(kind: Any, act: Callable[..., Any]) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint that gives what a method of the run returns, of what a request asks."""

        async def respond(request: Request) -> Response:
            if not is_known(request.headers.get("x-token", "")):
                return JSONResponse({"error": "the token is missing or wrong"}, 403, _HEADERS)
            try:
                found = act(**validated(kind, await request.json()))
            except (ValueError, RecursionError, ClientDisconnect) as error:
                return JSONResponse({"error": str(error)}, 400, _HEADERS)
            except OSError as error:
                return JSONResponse({"error": explain_os(error)}, 500, _HEADERS)
            if isinstance(found, bytes):
                return Response(found, media_type="text/csv", headers=_HEADERS)
            return JSONResponse(found, headers=_HEADERS)

        return respond

    asked: dict[str, tuple[Any, Callable[..., Any]]] = {
        "pairs": (_Pairs, explored.pairs),
        "traverse": (_Traverse, explored.traverse),
        "swap": (_Swap, explored.swap),
        "name": (_Name, explored.name_cluster),
        "name-facet": (_FacetName, explored.name_facet),
        "table": (_Rows, explored.table),
    }
    routes = [Route(f"/{name}", answer(*how), methods=["POST"]) for name, how in asked.items()]
    hosts = [_HOST, "localhost"]
    return Starlette(
        routes=[Route("/", page), *routes],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)],
    )


def serve(
    explored: Explored, port: int = 0, greet: Callable[[str], object] = print, say: Say = quiet
) -> None:
    """Serve the page on this machine until Ctrl-C.

    Args:
        explored: the run.
        port: of the loopback address; 0 takes a free one.
        greet: is told the page's address once it answers.
        say: is told what is going on.

    Raises:
        ConfigError: if the port is taken.
    """
    import uvicorn

    token = secrets.token_urlsafe(24)
    say("drawing the maps")
    explored.content()
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((_HOST, port))
            listening.listen()
        except OSError as error:
            raise ConfigError(
                f"port {port} cannot be used ({error.strerror}); choose another --port"
            ) from None
        greet(f"http://{_HOST}:{listening.getsockname()[1]}/?token={token}")
        settings = uvicorn.Config(
            make_app(explored, token),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,  # else Ctrl-C waits for who never ends a question
        )
        with suppress(KeyboardInterrupt):
            uvicorn.Server(settings).run(sockets=[listening])
