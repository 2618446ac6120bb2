"""What keeps a request from taking the machine: a bound on its bytes while they come, and on an image's pixels."""

from __future__ import annotations

from functools import partial

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fusiqa.errors import FusiqaError
from fusiqa.scoring.decode import Pixels, decode, size_of
from fusiqa.scoring.inputs import ImageInput, printable

MEGA = 1_000_000
FRAME = 64 * 1024  # bytes of a form around its files


class LargestBody:
    """ASGI middleware that stops reading a body as soon as it is too large, whatever its Content-Length says."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app = app
        self.most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = f"the request is larger than {self.most / MEGA:g} MB"
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        if stated.isdigit() and int(stated) > self.most:
            await JSONResponse({"detail": refusal}, 413, {"Connection": "close"})(scope, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.most:
                raise HTTPException(413, refusal, {"Connection": "close"})
            return message

        await self.app(scope, counted, send)


def limited_image(name: str, content: bytes, *, max_megabytes: float, max_megapixels: float) -> ImageInput:
    """An image that is refused before it is decoded where it is larger than allowed."""
    read = partial(_decoded, content, max_megabytes=max_megabytes, max_megapixels=max_megapixels)
    return ImageInput(printable(name), read)


def _decoded(content: bytes, *, max_megabytes: float, max_megapixels: float) -> Pixels:
    if not content:
        raise FusiqaError("is empty (0 bytes)")
    if len(content) > max_megabytes * MEGA:
        raise FusiqaError(f"has {len(content) / MEGA:.1f} MB; at most {max_megabytes:g} are taken")
    height, width = size_of(content)
    if height * width > max_megapixels * MEGA:
        raise FusiqaError(f"has {height * width / MEGA:.1f} megapixels; at most {max_megapixels:g} are taken")
    return decode(content)
