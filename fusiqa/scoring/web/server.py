"""`fusiqa serve`: the application on a port, until it is interrupted."""

from __future__ import annotations

import socket
import sys

from fusiqa.config.commands import LOOPBACK, ServeConfig
from fusiqa.errors import FusiqaError, needing
from fusiqa.scoring.scorer import Scorer


def serve(config: ServeConfig) -> None:
    """Serve until interrupted; requests in progress are then answered before it ends.

    Raises FusiqaError: the extra is not installed, no model, or an address in use.
    """
    with needing("serve", "fusiqa serve"):
        import uvicorn

        from fusiqa.scoring.web.app import make_app
        from fusiqa.scoring.web.connection import Connection
    listener = socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
        listener.listen(128)
    except OSError as reason:
        listener.close()
        where = f"{config.host}:{config.port}: {reason.strerror}"
        raise FusiqaError(f"cannot listen on {where}; try another `port` or `host`") from reason
    app = make_app(Scorer(config.model, device=config.device, backend=config.backend, windows=True), config)
    if not config.is_local:
        print(f"warning: anyone who can reach {config.host} can use this server; it has no password", file=sys.stderr)
    host, port = ("127.0.0.1" if config.host in LOOPBACK else config.host), listener.getsockname()[1]
    print(f"fusiqa is at http://{host}:{port} (Ctrl-C ends it)", flush=True)
    last_seconds = round(2 * config.timeout_seconds) + 1  # to read a request, and to score it
    settings = uvicorn.Config(
        app, http=Connection, log_level="warning", timeout_graceful_shutdown=last_seconds, server_header=False
    )
    uvicorn.Server(settings).run(sockets=[listener])
