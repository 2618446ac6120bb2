"""What a request passes on its way in: bounds on its bytes while they arrive and on images before they are decoded."""

from __future__ import annotations

import os
from functools import partial
from typing import BinaryIO

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fusiqa.config import ServeConfig
from fusiqa.errors import FusiqaError
from fusiqa.scoring.image import size_of
from fusiqa.scoring.inputs import ImageInput, printable

MEGA = 1_000_000
FORM = 64 * 1024  # bytes of a form around its files


class Entrance:
    """ASGI middleware that stops reading a body as soon as it is too large, whatever its Content-Length says.

    HEAD is answered as GET is, on every route, without the body. A proxy may leave `root_path` in the path or not.
    """

    def __init__(self, app: ASGIApp, largest: int, root_path: str) -> None:
        self.app, self.largest, self.root_path = app, largest, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = f"the request is larger than {self.largest / MEGA:g} MB"
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        if stated.isdigit() and int(stated) > self.largest:
            await JSONResponse({"detail": refusal}, 413, {"Connection": "close"})(scope, receive, send)
            return
        taken, is_head = 0, scope["method"] == "HEAD"

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.largest:
                raise HTTPException(413, refusal, {"Connection": "close"})
            return message

        async def headers_alone(message: Message) -> None:
            await send({**message, "body": b""} if "body" in message else message)

        scope["root_path"] = self.root_path or scope.get("root_path", "")
        await self.app({**scope, "method": "GET"} if is_head else scope, counted, headers_alone if is_head else send)


def limited_image(name: str, file: BinaryIO, limits: ServeConfig) -> ImageInput:
    """An image whose reading fails, before it is decoded, if it has more bytes or pixels than allowed."""
    return ImageInput(printable(name), partial(_content, file, limits))


def _content(file: BinaryIO, limits: ServeConfig) -> bytes:
    size = file.seek(0, os.SEEK_END)
    if not size:
        raise FusiqaError("is empty (0 bytes)")
    if size > limits.max_megabytes * MEGA:
        raise FusiqaError(f"has {size / MEGA:.1f} MB; at most {limits.max_megabytes:g} are allowed")
    file.seek(0)
    content = file.read()
    height, width = size_of(content)
    if (megapixels := height * width / MEGA) > limits.max_megapixels:
        raise FusiqaError(f"has {megapixels:.1f} megapixels; at most {limits.max_megapixels:g} are allowed")
    return content
