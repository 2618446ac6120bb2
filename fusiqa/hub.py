"""The one short request to the Hugging Face hub before every download."""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

HUB_SECONDS = 8.0  # how long the hub may take to answer at all


def ask(url: str) -> HfFileMetadata:
    """Size, checksum and commit of a file, by one short request before the hub's client starts its series of retries.

    It runs in a thread that is abandoned after `HUB_SECONDS`: a name lookup has no timeout, and each of the hub's
    addresses would take the whole time.

    Raises:
        TimeoutError: no answer in time.
        Exception: what the hub's client raises.
    """
    import huggingface_hub

    answer: Future[HfFileMetadata] = Future()

    def request() -> None:
        try:
            answer.set_result(huggingface_hub.get_hf_file_metadata(url))
        except Exception as reason:
            answer.set_exception(reason)

    threading.Thread(target=request, daemon=True).start()
    if not wait([answer], timeout=HUB_SECONDS).done:
        raise TimeoutError(f"no answer within {HUB_SECONDS:g} seconds")
    return answer.result()


def in_one_line(reason: Exception) -> str:
    """The start of an error's message, without line breaks and full stop.

    Example:
        >>> in_one_line(OSError("404 Client Error.\\n\\nEntry Not Found.\\nMore advice"))
        '404 Client Error. Entry Not Found'
    """
    message = " ".join(line for line in str(reason).splitlines()[:3] if line) or type(reason).__name__
    return message.rstrip(".")
