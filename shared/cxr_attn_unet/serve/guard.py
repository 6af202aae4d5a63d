"""What stands before the service: who may ask, how much may be sent, and what browsers are told about the answers.

A page of another site that is open in the same browser can send requests to the loopback. Two things keep it out. By
the ``Host`` header, a name that was made to point here (DNS rebinding) is refused. By ``Origin`` and
``Sec-Fetch-Site``, requests that change something are refused when another site's page sends them (CSRF); what such a
page may read is forbidden by the browser itself, for no answer allows it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .settings import LOOPBACK_NAME, Limits

__all__ = ["HEADERS", "Guard", "host_of"]

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
READING = ("GET", "HEAD", "OPTIONS")
OWN_SITES = ("same-origin", "none")
# of the form around an upload
BYTES_OF_FORM = 16 << 10


class Guard:
    """Middleware, see the module.

    Args:
        app: what it stands before.
        names: under which the server may be asked for, besides ``localhost`` and addresses as numbers.
        limits: of which the bytes and the seconds of an upload count here.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str], limits: Limits) -> None:
        self._app = app
        self._names = {LOOPBACK_NAME, *(name.lower() for name in names)}
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        if refusal is not None:
            status, detail = refusal
            await JSONResponse({"detail": detail}, status)(scope, receive, send_with_headers)
            return
        await self._app(scope, self._bounded(receive), send_with_headers)

    def _refusal(self, method: str, headers: Headers) -> tuple[int, str] | None:
        """Status and reason where a request is refused by its head."""
        host = headers.get("host", "")
        if not self._is_own(host_of(host)):
            return (
                HTTPStatus.MISDIRECTED_REQUEST,
                "this server is not known by that name; start it with --allowed-host NAME",
            )
        if method not in READING:
            origin = headers.get("origin")
            if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
                return HTTPStatus.FORBIDDEN, "pages of other sites may not send anything to this server"
            if headers.get("sec-fetch-site", "none") not in OWN_SITES:
                return HTTPStatus.FORBIDDEN, "pages of other sites may not send anything to this server"
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._most_bytes:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self._too_large
        return None

    def _is_own(self, name: str) -> bool:
        if name.lower().rstrip(".") in self._names:
            return True
        try:
            # nobody can make a number point elsewhere
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    @property
    def _most_bytes(self) -> int:
        return self._limits.bytes + BYTES_OF_FORM

    @property
    def _too_large(self) -> str:
        return f"larger than the {self._limits.bytes >> 20} MB that this server takes"

    def _bounded(self, receive: Receive) -> Receive:
        """Takes a body that is neither too large, whatever its head says, nor too slow."""
        end = time.monotonic() + self._limits.upload_seconds
        received = 0
        complete = False

        async def bounded() -> Message:
            nonlocal received, complete
            if complete:
                return await receive()  # waits until the client is gone
            try:
                message = await asyncio.wait_for(receive(), max(0.0, end - time.monotonic()))
            except asyncio.TimeoutError:
                raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, "the upload took too long") from None
            received += len(message.get("body", b""))
            if received > self._most_bytes:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self._too_large)
            complete = not message.get("more_body", False)
            return message

        return bounded


def host_of(header: str) -> str:
    """The name or address in a ``Host`` header, without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]
