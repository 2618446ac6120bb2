"""Conversion to sRGB by a file's colour metadata: ICC profile, a PNG's cICP and gAMA, the nclx box of AVIF and HEIC."""

from __future__ import annotations

import re
from collections.abc import Mapping
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageCms

from fusiqa.errors import FusiqaError

PLAIN_SRGB = {"sRGB", "sRGB IEC61966-2.1", "sRGB built-in"}  # to convert them would only add rounding errors
SRGB_GAMMA = 1 / 2.2  # the gAMA of sRGB
SRGB, UNSTATED = 1, 2  # codes of colour primaries, ITU-T H.273, table 2
PRIMARIES = {
    SRGB: (0.64, 0.33, 0.30, 0.60, 0.15, 0.06),
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06),  # BT.601, 625 lines
    6: (0.63, 0.34, 0.31, 0.595, 0.155, 0.07),  # BT.601, 525 lines
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    12: (0.68, 0.32, 0.265, 0.69, 0.15, 0.06),  # Display P3
}
"""Chromaticities x, y of red, green and blue by code; the white point is D65 for all."""
D65 = np.array([0.3127, 0.3290, 1 - 0.3127 - 0.3290]) / 0.3290
POWERS = {4: 2.2, 5: 2.8, 8: 1.0}
"""The exponent of each transfer characteristic (table 3) that is a power law."""
AS_SRGB = {1, UNSTATED, 6, 13, 14, 15}  # sRGB, and BT.601, 709 and 2020, which displays show with sRGB's curve
HDR = {16: "PQ", 18: "HLG"}
NCLX = re.compile(rb"colrnclx\0(.)\0(.)", re.DOTALL)  # ISO/IEC 14496-12, 12.1.5
SAMPLES_AT_ONCE = 2**22  # samples that are converted as floating-point numbers


class Coding(NamedTuple):
    """Colour primaries, transfer characteristics and range of the samples, as codes of ITU-T H.273 (CICP)."""

    primaries: int
    transfer: int
    full_range: bool = True


def coding_in_boxes(content: bytes) -> Coding | None:
    """The coding in the nclx boxes of an AVIF or HEIC file; None where they differ, as beside a gain map."""
    found = set(NCLX.findall(content))
    return Coding(*(code[0] for code in found.pop())) if len(found) == 1 else None


def in_srgb(picture: Image.Image, info: Mapping[Any, Any], coding: Coding | None) -> Image.Image:
    """An image in mode L, RGB or CMYK converted to sRGB, mode RGB, by the colour metadata in the `info` of its file.

    A coding takes precedence over an ICC profile, and a profile over gAMA. A profile that does not fit is ignored.
    Raises FusiqaError for a coding that cannot be converted, such as those of high dynamic range.
    """
    profile, gamma = info.get("icc_profile"), info.get("gamma")
    if coding is not None:
        return _from_coding(picture.convert("RGB"), coding)
    if profile is None and "srgb" not in info and isinstance(gamma, float) and 0.05 < gamma < 5:
        return picture.convert("RGB") if abs(gamma - SRGB_GAMMA) < 0.01 else _via_light(picture, power=1 / gamma)
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile)) if isinstance(profile, bytes) and profile else None
        if source and ImageCms.getProfileDescription(source).strip() not in PLAIN_SRGB:
            srgb = ImageCms.createProfile("sRGB")
            picture = ImageCms.profileToProfile(picture, source, srgb, outputMode="RGB") or picture
    except (ImageCms.PyCMSError, OSError, ValueError):
        pass
    return picture.convert("RGB")


def _from_coding(picture: Image.Image, coding: Coding) -> Image.Image:
    primaries, transfer, full_range = coding
    if transfer in HDR:
        raise FusiqaError(
            f"high dynamic range ({HDR[transfer]}), for which no tone mapping to 8-bit sRGB is standard; "
            "export the image as sRGB"
        )
    known = primaries in {UNSTATED, *PRIMARIES} and transfer in AS_SRGB | set(POWERS)
    if not known or not full_range:
        codes = f"primaries {primaries}, transfer {transfer}{'' if full_range else ', narrow range'}"
        raise FusiqaError(f"colours that cannot be converted to sRGB ({codes} of ITU-T H.273); save it in sRGB")
    if primaries in (SRGB, UNSTATED) and transfer in AS_SRGB:
        return picture
    return _via_light(picture, power=POWERS.get(transfer), primaries=SRGB if primaries == UNSTATED else primaries)


def _via_light(picture: Image.Image, *, power: float | None, primaries: int = SRGB) -> Image.Image:
    """Convert to sRGB through linear light, to which the samples are decoded by a power, by default by sRGB's curve."""
    levels = np.arange(256) / 255
    light = (to_light(levels) if power is None else levels**power).astype(np.float32)
    matrix = (np.linalg.inv(to_xyz(SRGB)) @ to_xyz(primaries)).T.astype(np.float32)
    pixels = np.array(picture.convert("RGB"))
    for rows in np.array_split(pixels, 1 + pixels.size // SAMPLES_AT_ONCE):  # views of them
        rows[:] = np.round(255 * from_light(np.clip(light[rows] @ matrix, 0, 1)))
    return Image.fromarray(pixels)


def to_light(values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Linear light of sRGB values, both in 0-1 (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def from_light(light: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Invert `to_light`."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def to_xyz(primaries: int) -> Float[np.ndarray, "3 3"]:
    """The matrix from linear red, green and blue to XYZ, white having Y = 1 (SMPTE RP 177)."""
    x, y = np.array(PRIMARIES[primaries]).reshape(3, 2).T
    columns = np.stack([x, y, 1 - x - y])
    return columns * np.linalg.solve(columns, D65)
