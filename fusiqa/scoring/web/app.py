"""The web application: the API, the page, health and metrics, around one scorer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, File, HTTPException, Response, UploadFile
from fastapi.responses import FileResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

import fusiqa
from fusiqa.config.serve import LOOPBACK, ServeConfig
from fusiqa.scoring.scorer import Scorer
from fusiqa.scoring.web.answers import HealthAnswer, ModelAnswer, Problem, ScoreAnswer, ScoresAnswer, scales_of
from fusiqa.scoring.web.batching import Batcher, BusyError
from fusiqa.scoring.web.limits import FRAME, MEGA, LargestBody, limited_image
from fusiqa.scoring.web.metrics import Metrics

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
    503: {"model": Problem, "description": "too many images wait; come again"},
    504: {"model": Problem, "description": "it took too long"},
}


def make_app(scorer: Scorer, config: ServeConfig) -> FastAPI:
    """The application, which takes the limits of the configuration and listens nowhere yet."""
    batcher = Batcher(scorer, max_waiting=config.max_waiting)
    metrics = Metrics(batcher)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        batcher.close()

    app = FastAPI(
        title="fusiqa",
        version=fusiqa.__version__,
        description="Scores the quality of images without a reference.",
        docs_url=None,  # FastAPI's pages load their scripts from elsewhere; /openapi.json is served
        redoc_url=None,
        lifespan=lifespan,
    )
    add_pages(app)
    add_api(app, scorer, config, batcher, metrics)
    app.add_middleware(LargestBody, most=int(config.max_files * config.max_megabytes * MEGA) + FRAME)
    if config.is_local:  # else a page elsewhere could reach this machine under a name of its own
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]"])
    return app


def add_pages(app: FastAPI) -> None:
    """The page and its files, with headers that let it load nothing from elsewhere."""
    for route, file in PAGES.items():

        def page(path: Path = STATIC / file) -> FileResponse:
            return FileResponse(path, headers=HEADERS)

        app.add_api_route(route, page, include_in_schema=False, response_model=None)


def add_api(app: FastAPI, scorer: Scorer, config: ServeConfig, batcher: Batcher, metrics: Metrics) -> None:
    """The routes that OpenAPI describes."""

    async def score_one(file: UploadFile) -> ScoreAnswer:
        image = limited_image(
            file.filename or "image",
            await file.read(),
            max_megabytes=config.max_megabytes,
            max_megapixels=config.max_megapixels,
        )
        score = await batcher.score(image)
        metrics.count(score)
        return ScoreAnswer.of(score)

    @app.post("/v1/score", responses=PROBLEMS)
    async def score(files: Annotated[list[UploadFile], File(description="images")]) -> ScoresAnswer:
        """Score images; one that cannot be read has an error in its place."""
        if len(files) > config.max_files:
            raise HTTPException(413, f"{len(files)} images; at most {config.max_files} are taken at once")
        with metrics.timed():
            try:
                scoring = asyncio.gather(*map(score_one, files))
                return ScoresAnswer(results=await asyncio.wait_for(scoring, config.timeout_seconds))
            except BusyError:
                told = f"{config.max_waiting} images wait already; come again"
                raise HTTPException(503, told, {"Retry-After": "2"}) from None
            except TimeoutError:
                raise HTTPException(504, f"it took longer than {config.timeout_seconds:g} seconds") from None

    @app.get("/v1/model")
    def model() -> ModelAnswer:
        """The model, what its scales look at, and the limits of this server."""
        facts = scorer.facts
        return ModelAnswer(
            name=facts.name,
            score_range=facts.score_range,
            crop_size=facts.crop_size,
            resize=facts.resize,
            scales=scales_of(facts),
            max_megabytes=config.max_megabytes,
            max_megapixels=config.max_megapixels,
            max_files=config.max_files,
        )

    @app.get("/health")
    def health() -> HealthAnswer:
        """That the server runs; 503 where its scoring thread has ended."""
        if not batcher.alive:
            raise HTTPException(503, "the scoring thread has ended")
        return HealthAnswer(status="ok", waiting=batcher.waiting)

    @app.get("/metrics", response_class=Response)
    def metric_text() -> Response:
        """Counts and times in Prometheus's text format."""
        return Response(metrics.text(), media_type=metrics.media_type)
