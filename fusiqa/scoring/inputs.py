"""Whatever a user calls an image (file, bytes, PIL image, array, tensor) -> pixels. It scores none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from fusiqa.errors import FusiqaError
from fusiqa.scoring.decode import Pixels, decode, upright_pixels
from fusiqa.scoring.reading import content_of, reason_of

CHANNELS = (1, 3, 4)  # grey, RGB, RGB and opacity
HIGHEST = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65_535}
ALLOWED = (
    "a path, bytes, a file object, a PIL image, an array (height, width, 3), a tensor (3, height, width), "
    "or a list, generator, 4-D array or 4-D tensor of them"
)


@dataclass(frozen=True)
class ImageInput:
    """An image that is not read yet.

    Attributes:
        name: its path as given, or where it stood among what was given ("image 3").
        load: reads it; raises whatever reading leads to.
        path: the file, if it is one.
    """

    name: str
    load: Callable[[], Pixels]
    path: str | None = None

    def read(self) -> Pixels:
        """Upright sRGB pixels, uint8 (height, width, 3). Raises FusiqaError with the name and the reason."""
        try:
            return self.load()
        except Exception as error:  # Pillow's readers raise whatever a malformed file leads them to
            raise FusiqaError(f"{self.name}: {reason_of(error)}") from error


def is_many(given: Any) -> bool:
    """Whether something is several images: a list, a generator, a 4-D array or tensor."""
    if isinstance(given, str | bytes | bytearray | memoryview | os.PathLike | Image.Image) or hasattr(given, "read"):
        return False
    if hasattr(given, "ndim"):
        return given.ndim == 4
    return isinstance(given, Iterable) and not isinstance(given, Mapping)


def images_in(given: Any) -> Iterator[ImageInput]:
    """The images in what a user gave, one by one; a list's members are looked at when their turn comes."""
    if not is_many(given):
        yield image_of(given)
        return
    for place, each in enumerate(given):
        if is_many(each):
            yield from images_in(each)
        else:
            yield image_of(each, place=place)


def image_of(given: Any, *, place: int = 0) -> ImageInput:
    """One image; what it is of is found out now, reading it waits.

    Args:
        given: a path, bytes, a file object, a PIL image, an array or a tensor.
        place: where it stood in a list, for its name.
    """
    name = f"image {place}"
    match given:
        case ImageInput():
            return given
        case str() | os.PathLike():
            return file_image(os.fspath(given))
        case bytes() | bytearray() | memoryview():
            return ImageInput(name, lambda: decode(bytes(given)))
        case Image.Image():
            return ImageInput(getattr(given, "filename", "") or name, lambda: upright_pixels(given))
        case np.ndarray():
            return ImageInput(name, lambda: pixels_of_array(given))
    if hasattr(given, "detach") and hasattr(given, "ndim"):  # a tensor, without importing torch to see it
        return ImageInput(name, lambda: pixels_of_tensor(given))
    if hasattr(given, "read"):
        named = getattr(given, "name", None)
        return ImageInput(named if isinstance(named, str) else name, lambda: decode(_bytes_read(given)))
    return ImageInput(name, lambda: _refuse(given))


def file_image(path: str) -> ImageInput:
    """An image in a file. A URL is refused when it is read: nothing here opens a connection."""
    if path.startswith(("http://", "https://")):
        return ImageInput(path, lambda: _refuse_url(), path)
    return ImageInput(printable(path), lambda: decode(content_of(path)), path)


def printable(path: str) -> str:
    r"""A path that any table can hold in one line: bytes that are no UTF-8, and line breaks, are written out.

    Example:
        >>> print(printable("two\nlines.jpg"))
        two\nlines.jpg
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def pixels_of_array(array: np.ndarray) -> Pixels:
    """An array as an image: (height, width), (height, width, 1), (..., 3) or (..., 4), the opacity over white.

    uint8 is 0-255, uint16 0-65535, floating point 0-1; a channel-first array of three planes is turned round. Other
    types, other shapes, NaN and values outside their range raise FusiqaError.
    """
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim == 3 and array.shape[2] not in CHANNELS and array.shape[0] in CHANNELS:
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[2] not in CHANNELS or 0 in array.shape:
        raise FusiqaError(f"an array of shape {array.shape}; expected (height, width, 3), with 1 or 4 for grey or RGBA")
    return _rgb(_bytes_of(array))


def pixels_of_tensor(tensor: Any) -> Pixels:
    """A tensor (channels, height, width) or (height, width) as an image: types and ranges as for arrays."""
    if tensor.ndim == 3 and tensor.shape[0] not in CHANNELS:
        raise FusiqaError(f"a tensor of shape {tuple(tensor.shape)}; expected (3, height, width)")
    array = tensor.detach().cpu()
    array = (array.float() if array.is_floating_point() else array).numpy()
    return pixels_of_array(array.transpose(1, 2, 0) if array.ndim == 3 else array)


def _bytes_of(array: np.ndarray) -> np.ndarray:
    """Values as uint8, rounded."""
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating) and array.dtype not in HIGHEST:
        raise FusiqaError(f"an array of {array.dtype}; expected uint8 (0-255), uint16 (0-65535) or floats in 0-1")
    lowest, highest = float(array.min()), float(array.max())
    allowed = HIGHEST.get(array.dtype, 1)
    if not (lowest >= 0 and highest <= allowed):  # NaN is neither
        raise FusiqaError(
            f"values from {lowest:g} to {highest:g} in an array of {array.dtype}; expected 0 to {allowed}"
        )
    return np.round(array * (255 / allowed)).astype(np.uint8)


def _rgb(array: np.ndarray) -> Pixels:
    if array.shape[2] == 1:
        return np.repeat(array, 3, axis=2)
    return upright_pixels(Image.fromarray(array)) if array.shape[2] == 4 else np.ascontiguousarray(array)


def _bytes_read(file: Any) -> bytes:
    content = file.read()
    if not isinstance(content, bytes):
        raise FusiqaError("the file object gives text; open it in binary mode ('rb')")
    return content


def _refuse(given: Any) -> Pixels:
    raise FusiqaError(f"{type(given).__name__} is no image; expected {ALLOWED}")


def _refuse_url() -> Pixels:
    raise FusiqaError("URLs are not read; download the image and give its path")
