"""Connections to the server: a limited number, and closed if a client is too slow."""

from __future__ import annotations

import asyncio
import json

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0  # in which the header of a request must have arrived; uvicorn waits for ever
MOST, OTHER_FILES, FILES_EACH = 1_000, 64, 4  # connections; open files of the process besides; files of a connection
PROBLEM = json.dumps({"detail": "server busy: too many connections; retry later"}).encode()
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nConnection: close\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(PROBLEM), PROBLEM)
)


def most_connections() -> int:
    """The most connections at a time, by the number of files that the process may open, uploads included."""
    try:
        import resource
    except ImportError:  # on Windows
        return MOST
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST if files == resource.RLIM_INFINITY else max(4, min(MOST, (files - OTHER_FILES) // FILES_EACH))


class Connection(H11Protocol):
    """uvicorn's, answered 503 beyond `most_connections`, and closed if no complete header arrives in time."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > most_connections():
            transport.write(BUSY)
            transport.close()
        else:
            self._watch_header()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_header()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._late is not None:
            self._late.cancel()
        super().connection_lost(exc)

    def _watch_header(self) -> None:
        awaited = self.cycle is None or self.cycle.response_complete
        if awaited and self._late is None:
            self._late = self.loop.call_later(HEADER_SECONDS, self.transport.close)
        elif not awaited and self._late is not None:
            self._late.cancel()
            self._late = None
