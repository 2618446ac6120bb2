"""A score as a small piece of HTML, for notebooks and pages: no script, no file, nothing fetched."""

from __future__ import annotations

import base64
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fusiqa.errors import FusiqaError

if TYPE_CHECKING:
    from fusiqa.scoring.result import Score

THUMBNAIL = 320  # pixels, the longer side
LOW, MIDDLE, HIGH = (178, 24, 43), (247, 247, 247), (33, 102, 172)  # ColorBrewer's RdBu: blue is better
VEIL = 0.55  # share of the heat map's colour over the image
SCALES = ("finest", "fine", "coarse", "coarsest")


def card_html(score: Score) -> str:
    """The image with its heat map, the score on its range and the scale weights, or why there is no score."""
    name = escape(score.name)
    if not score.ok:
        return f"<div><b>{name}</b>: {escape(score.error or '')}</div>"
    low, high = score.score_range
    weights = "".join(
        f"<div>scale {place} ({scale}) {bar(weight, '#555')} {weight:.2f}</div>"
        for place, (scale, weight) in enumerate(zip(SCALES, score.scale_weights or (), strict=False))
    )
    return (
        '<div style="display:flex;gap:16px;font-family:sans-serif;align-items:flex-start">'
        f"{pictures_html(score)}<div><b>{name}</b>"
        f'<div style="font-size:1.6em">{score.score:.4g}</div>'
        f"<div>on {low:g} to {high:g}, higher is better {bar(score.score_range.to_unit(score.score), '#2166ac')}</div>"
        f"<div>crops differ by {score.spread:.3g} (standard deviation)</div>{weights}</div></div>"
    )


def bar(share: float, colour: str) -> str:
    """A horizontal bar, 0-1."""
    width = 100 * min(1.0, max(0.0, share))
    return (
        '<span style="display:inline-block;width:120px;height:9px;background:#ddd">'
        f'<span style="display:block;width:{width:.1f}%;height:100%;background:{colour}"></span></span>'
    )


def pictures_html(score: Score) -> str:
    """The image, and the image under its heat map; nothing where it can no longer be read."""
    try:
        pixels = score.image.read() if score.image is not None else None
    except FusiqaError:
        pixels = None
    if pixels is None:
        return ""
    small = thumbnail(pixels)
    return "".join(f'<img src="{data_url(picture)}" alt="">' for picture in (small, veiled(small, score)))


def thumbnail(pixels: np.ndarray) -> Image.Image:
    picture = Image.fromarray(pixels)
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    return picture


def veiled(picture: Image.Image, score: Score) -> Image.Image:
    """A picture under the heat map of its crops' scores: red where worse than the whole, blue where better.

    The colours reach their full strength at the crop that differs most.
    """
    if score.crops is None:
        return picture
    heat = score.crops.heat_map(picture.height, picture.width) - score.score
    most = float(np.abs(heat).max()) or 1.0
    return Image.blend(picture, Image.fromarray(diverging(heat / most)), VEIL)


def diverging(values: np.ndarray) -> np.ndarray:
    """Values in -1 to 1 as colours, uint8 (..., 3): -1 red, 0 white, 1 blue."""
    strength = np.abs(values)[..., None]
    ends = np.where(values[..., None] < 0, np.array(LOW), np.array(HIGH))
    return np.round((1 - strength) * np.array(MIDDLE) + strength * ends).astype(np.uint8)


def data_url(picture: Image.Image) -> str:
    """A picture as a data: URL."""
    file = BytesIO()
    picture.save(file, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
