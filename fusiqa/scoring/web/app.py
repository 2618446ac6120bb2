"""`fusiqa serve`: the API, the page, health and metrics, around one scorer."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException as FormError  # of which FastAPI's is one
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import fusiqa
from fusiqa.config.commands import LOOPBACK, ServeConfig
from fusiqa.errors import FusiqaError
from fusiqa.scoring.image import size_of
from fusiqa.scoring.inputs import ImageInput, printable
from fusiqa.scoring.report import STATIC
from fusiqa.scoring.result import Result
from fusiqa.scoring.scorer import Scorer
from fusiqa.scoring.web.connection import Connection
from fusiqa.scoring.web.queue import BusyError, ScoringQueue
from fusiqa.scoring.web.schema import ModelAnswer, Problem, ScoreAnswer, ScoresAnswer

ROUTES = {"/": "index.html", **{f"/{name}": name for name in ("page.js", "heat.js", "page.css", "icon.svg")}}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
REFUSALS = {
    400: "the form cannot be read, or has no image, or a part of it is no file",
    403: "it comes from a page of another site",
    408: "its body arrived too slowly",
    413: "too many images, or too many bytes",
    503: "server busy, retry later",
    504: "it took too long",
}
RETRY_AFTER = {"Retry-After": "2"}  # seconds
MEGA = 1_000_000
FORM = 64 * 1024  # bytes of a form around its files
OTHER_FIELDS, FIELD_BYTES = 8, 1_000  # most fields of text in a form, and bytes in each; nothing reads them
FORM_SCHEMA = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["files"],
                "properties": {
                    "files": {
                        "type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"},
                        "description": "images, each a part with a file name",
                    }
                },
            }
        }
    },
}  # fmt: skip


def serve(config: ServeConfig) -> None:
    """Serve until interrupted; requests in progress are then answered before it ends.

    Raises FusiqaError: no model, or an address in use.
    """
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
    host, port = ("127.0.0.1" if config.host == "localhost" else config.host), listener.getsockname()[1]
    host = f"[{host}]" if ":" in host else host
    print(f"fusiqa is at http://{host}:{port} (Ctrl-C ends it)", flush=True)
    last_seconds = round(2 * config.timeout_seconds) + 1  # to read a request, and to score it
    settings = uvicorn.Config(
        app, http=Connection, log_level="warning", timeout_graceful_shutdown=last_seconds, server_header=False
    )
    uvicorn.Server(settings).run(sockets=[listener])


def make_app(scorer: Scorer, config: ServeConfig) -> FastAPI:
    """The application, with the limits of the settings."""
    queue = ScoringQueue(scorer, max_waiting=config.max_waiting)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        queue.close()

    app = FastAPI(
        title="fusiqa",
        version=fusiqa.__version__,
        description="No-reference image quality assessment.",
        docs_url=None,  # FastAPI's pages load their scripts from elsewhere; /openapi.json is served
        redoc_url=None,
        lifespan=lifespan,
    )
    for route, file in ROUTES.items():
        answer = partial(FileResponse, STATIC / file, headers=HEADERS)
        app.add_route(route, lambda _, answer=answer: answer(), include_in_schema=False)  # type: ignore[misc]
    add_api(app, queue, config)
    largest = int(config.max_files * config.max_megabytes * MEGA) + FORM
    app.add_middleware(Entrance, largest=largest, seconds=config.timeout_seconds, root_path=config.root_path)
    if config.is_local or config.allowed_hosts:  # against DNS rebinding
        hosts = [*LOOPBACK, "[::1]", config.host, *config.allowed_hosts]
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    return app


def add_api(app: FastAPI, queue: ScoringQueue, config: ServeConfig) -> None:
    """The routes that OpenAPI describes.

    Own metrics: prometheus-fastapi-instrumentator counts requests and seconds, but neither images by outcome nor
    waiting images, by which a server is scaled.
    """
    registry = CollectorRegistry()
    images = Counter("fusiqa_images", "Images by outcome", ["outcome"], registry=registry)
    seconds = Histogram("fusiqa_request_seconds", "Seconds of scoring requests", registry=registry)
    for name, what in (("waiting", "Images that wait for their score"), ("batches", "Groups of images scored so far")):
        Gauge(f"fusiqa_{name}", what, registry=registry).set_function(partial(getattr, queue, name))
    problems: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem, "description": why} for status, why in REFUSALS.items()
    }

    @app.post("/v1/score", responses=problems, openapi_extra={"requestBody": FORM_SCHEMA})
    async def score(request: Request) -> ScoresAnswer:
        """Score images; one that cannot be read has an error in its place."""
        refuse_other_sites(request, config)
        busy = HTTPException(503, f"server busy: {config.max_waiting} images wait already; retry later", RETRY_AFTER)
        if queue.waiting >= config.max_waiting:
            raise busy
        form = await form_of(request, config)
        try:
            with seconds.time():
                results = await while_connected(request, queue.score(images_of(form, config)), config)
        except BusyError:
            raise busy from None
        finally:
            await form.close()
        for result in results:
            images.labels("scored" if result.ok else "unreadable").inc()
        return ScoresAnswer(results=[ScoreAnswer.of(result) for result in results])

    @app.get("/v1/model")
    def model() -> ModelAnswer:
        """The model, its feature scales, and the limits of this server."""
        info = queue.scorer.info
        scales = [{"cells": each, "cell_pixels": max(1, round(info.crop_size / each[0]))} for each in info.scale_sizes]
        return ModelAnswer.model_validate({**vars(info), **vars(config), "scales": scales})

    @app.get("/health")
    def health() -> dict[str, str | int]:
        """Whether the server scores, and the images that wait; 503 once it is shutting down."""
        if queue.closed:
            raise HTTPException(503, "the server is shutting down")
        return {"status": "ok", "waiting": queue.waiting}

    @app.get("/metrics", response_class=Response)
    def metrics() -> Response:
        """Counts and times in Prometheus's text format."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def refuse_other_sites(request: Request, config: ServeConfig) -> None:
    """Refuse forms of pages of other sites, which browsers send with their origin (403)."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    own = [request.headers.get("host"), *config.allowed_hosts]
    try:
        netloc, hostname = (parts := urlsplit(origin or "")).netloc, parts.hostname
    except ValueError:  # no URL, so nobody's
        netloc, hostname = "", None
    other = site not in ("same-origin", "none") if site else netloc not in own
    if origin is not None and other and hostname not in config.allowed_hosts:
        raise HTTPException(
            403, f"the page of {origin} may not use this server; its owner can allow it by allowed_hosts"
        )


async def form_of(request: Request, config: ServeConfig) -> FormData:
    """The form of a request, large files on disk. Raises HTTPException where it is refused."""
    try:
        return await request.form(max_files=config.max_files, max_fields=OTHER_FIELDS, max_part_size=FIELD_BYTES)
    except FormError as refusal:
        if "Too many files" in refusal.detail:
            raise HTTPException(413, f"at most {config.max_files} images are allowed in one request") from None
        raise
    except ClientDisconnect:  # there is nobody to answer, and nothing to log
        raise HTTPException(400, "the client left in the middle of its form") from None
    except OSError as reason:
        full = f"the server cannot keep the upload ({reason.strerror}); retry later"
        raise HTTPException(503, full, RETRY_AFTER) from reason


def images_of(form: FormData, config: ServeConfig) -> list[ImageInput]:
    """The images of a form, not yet read."""
    files = form.getlist("files")
    if not files or not all(isinstance(each, UploadFile) for each in files):
        raise HTTPException(400, "expected images in the form's files, each with a file name")
    return [
        ImageInput(printable(each.filename or "image"), partial(limited, each.file, config))
        for each in files
        if isinstance(each, UploadFile)
    ]


async def while_connected(
    request: Request, work: Coroutine[Any, Any, list[Result]], config: ServeConfig
) -> list[Result]:
    """The result of work, which is cancelled when the client disconnects or the time is up (504)."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone(request))
    try:
        await asyncio.wait({working, leaving}, timeout=config.timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise HTTPException(504, f"it took longer than {config.timeout_seconds:g} seconds, or the client left")
    finally:
        working.cancel()
        leaving.cancel()


async def gone(request: Request) -> None:
    """Wait until the client disconnects; the body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Entrance:
    """ASGI middleware that stops reading a body as soon as it is too large or too slow.

    It counts the bytes, whatever the Content-Length, and the total time. HEAD is answered as GET without the body, on
    every route. A proxy may strip `root_path` from the path or not.
    """

    def __init__(self, app: ASGIApp, largest: int, seconds: float, root_path: str) -> None:
        self.app, self.largest, self.seconds, self.root_path = app, largest, seconds, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        refusal = f"the request is larger than {self.largest / MEGA:g} MB", {"Connection": "close"}
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        if stated.isdigit() and int(stated) > self.largest:
            return await JSONResponse({"detail": refusal[0]}, 413, refusal[1])(scope, receive, send)
        taken, is_head, deadline = 0, scope["method"] == "HEAD", monotonic() + self.seconds
        complete = False

        async def counted() -> Message:
            nonlocal taken, complete
            try:
                message = await asyncio.wait_for(receive(), None if complete else deadline - monotonic())
            except TimeoutError:
                slow = f"the body took longer than {self.seconds:g} seconds"
                raise HTTPException(408, slow, {"Connection": "close"}) from None
            complete = not message.get("more_body", False)
            taken += len(message.get("body", b""))
            if taken > self.largest:
                raise HTTPException(413, *refusal)
            return message

        async def headers_alone(message: Message) -> None:
            await send({**message, "body": b""} if "body" in message else message)

        scope["root_path"] = self.root_path or scope.get("root_path", "")
        await self.app({**scope, "method": "GET"} if is_head else scope, counted, headers_alone if is_head else send)


def limited(file: BinaryIO, limits: ServeConfig) -> bytes:
    """The bytes of an image. Raises FusiqaError, before it is decoded, if it has more bytes or pixels than allowed."""
    if not (size := file.seek(0, os.SEEK_END)):
        raise FusiqaError("is empty (0 bytes)")
    if size > limits.max_megabytes * MEGA:
        raise FusiqaError(f"has {size / MEGA:.1f} MB; at most {limits.max_megabytes:g} are allowed")
    file.seek(0)
    content = file.read()
    height, width = size_of(content)
    if (megapixels := height * width / MEGA) > limits.max_megapixels:
        raise FusiqaError(f"has {megapixels:.1f} megapixels; at most {limits.max_megapixels:g} are allowed")
    return content
