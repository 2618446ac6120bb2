"""The web application: the API, the page, health and metrics, around one scorer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, File, HTTPException, Response, UploadFile
from fastapi.responses import FileResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.middleware.trustedhost import TrustedHostMiddleware

import fusiqa
from fusiqa.config.commands import LOOPBACK, ServeConfig
from fusiqa.scoring.scorer import Scorer
from fusiqa.scoring.web.limits import FORM, MEGA, Entrance, limited_image
from fusiqa.scoring.web.queue import BusyError, ScoringQueue
from fusiqa.scoring.web.schema import ModelAnswer, Problem, Scale, ScoreAnswer, ScoresAnswer

STATIC = Path(__file__).parent / "static"
PAGES = {"/": "index.html", **{f"/{name}": name for name in ("page.js", "heat.js", "page.css", "icon.svg")}}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
PROBLEMS: dict[int | str, dict] = {
    413: {"model": Problem, "description": "too many images, or too many bytes"},
    400: {"model": Problem, "description": "the form cannot be read"},
    503: {"model": Problem, "description": "server busy, retry later"},
    504: {"model": Problem, "description": "it took too long"},
}
RETRY_AFTER = "2"  # seconds


def make_app(scorer: Scorer, config: ServeConfig) -> FastAPI:
    """The application, with the limits of the settings; it does not listen yet."""
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
    for route, file in PAGES.items():
        answer = partial(FileResponse, STATIC / file, headers=HEADERS)
        app.add_route(route, lambda _, answer=answer: answer(), include_in_schema=False)  # type: ignore[misc]
    add_api(app, queue, config)
    largest = int(config.max_files * config.max_megabytes * MEGA) + FORM
    app.add_middleware(Entrance, largest=largest, root_path=config.root_path)
    if config.is_local or config.allowed_hosts:  # else a page elsewhere could reach this machine under another name
        hosts = [*LOOPBACK, "[::1]", config.host, *config.allowed_hosts]
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    return app


def add_api(app: FastAPI, queue: ScoringQueue, config: ServeConfig) -> None:
    """The routes that OpenAPI describes.

    The metrics are counted here: prometheus-fastapi-instrumentator counts requests and their seconds, but neither
    images by outcome nor those that wait, which a server is scaled by.
    """
    registry = CollectorRegistry()
    images = Counter("fusiqa_images", "Images by outcome", ["outcome"], registry=registry)
    seconds = Histogram("fusiqa_request_seconds", "Seconds of scoring requests", registry=registry)
    for name, what in (("waiting", "Images that wait for their score"), ("batches", "Groups of images scored so far")):
        Gauge(f"fusiqa_{name}", what, registry=registry).set_function(partial(getattr, queue, name))

    @app.post("/v1/score", responses=PROBLEMS)
    async def score(files: Annotated[list[UploadFile], File(description="images")]) -> ScoresAnswer:
        """Score images; one that cannot be read has an error in its place."""
        if len(files) > config.max_files:
            raise HTTPException(413, f"{len(files)} images; at most {config.max_files} are allowed in one request")
        wanted = [limited_image(file.filename or "image", file.file, config) for file in files]
        with seconds.time():
            try:
                results = await asyncio.wait_for(queue.score(wanted), config.timeout_seconds)
            except BusyError:
                busy = f"server busy: {config.max_waiting} images wait already; retry later"
                raise HTTPException(503, busy, {"Retry-After": RETRY_AFTER}) from None
            except TimeoutError:
                raise HTTPException(504, f"it took longer than {config.timeout_seconds:g} seconds") from None
        for result in results:
            images.labels("scored" if result.ok else "unreadable").inc()
        return ScoresAnswer(results=[ScoreAnswer.of(result) for result in results])

    @app.get("/v1/model")
    def model() -> ModelAnswer:
        """The model, its feature scales, and the limits of this server."""
        stated = {**vars(queue.scorer.info), **vars(config)}
        scales = [
            Scale(cells=cells, cell_pixels=max(1, round(stated["crop_size"] / cells[0])))
            for cells in stated["scale_sizes"]
        ]
        return ModelAnswer(scales=scales, **{name: stated[name] for name in ModelAnswer.model_fields if name in stated})

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
