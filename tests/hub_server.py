"""A small Hugging Face hub on this machine, which can refuse, lie and break off; and what any such server has."""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants, file_download

COMMIT = "0123456789abcdef0123456789abcdef01234567"

CHUNK = 1000  # bytes that the client takes at once; its own 10 MB would be lost with every connection that breaks


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class LocalServer(ThreadingHTTPServer):
    """A server on this machine, in a thread of its own, with every request in `asked`."""

    daemon_threads = True

    def __init__(self, answer: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), answer)
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    """An answer in one piece, after which the connection is closed."""

    def say(self, status: int, headers: dict[str, str], content: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "Connection": "close", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class Hub(LocalServer):
    """Serves one file as huggingface.co does: its facts, and the address of a store that takes GET alone.

    Attributes:
        path: of the file, from the root of the hub.
        content: of the file.
        refusal: status and error code to answer with instead.
        stated_sha256: what is said of the file instead of the truth.
        sent: what the store sends instead of the content.
        page: what every address answers with instead, as a network does that wants one to sign in.
        ignores_ranges: the store sends the whole file, whatever part of it is asked for.
        cut_after: bytes after which the store's connection breaks, for as many requests as there are numbers.
        asked: every request, with the range that it asked for.
    """

    def __init__(self, path: str, content: bytes) -> None:
        self.path = path
        self.content = content
        self.stated_sha256: str | None = None
        self.sent: bytes | None = None
        self.page: bytes | None = None
        self.ignores_ranges = False
        self.cut_after: list[int] = []
        self.refusal: tuple[int, str] | None = None
        super().__init__(OneFile)

    @property
    def store(self) -> str:
        """The same server by another name: to the client another host, as the store of huggingface.co is."""
        return f"http://localhost:{self.server_port}/store"


class OneFile(Answer):
    server: Hub

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        wanted = self.headers.get("Range", "")
        self.server.asked.append(f"{self.command} {self.path} {wanted}".strip())
        named = re.sub(f"/resolve/(main|{COMMIT})/", "/resolve/main/", self.path) == self.server.path
        if self.server.page is not None:
            self.say(200, {"Content-Type": "text/html"}, b"" if self.command == "HEAD" else self.server.page)
        elif named and self.server.refusal is not None:
            status, code = self.server.refusal
            self.say(status, {"X-Error-Code": code})
        elif named:
            size, digest = str(len(self.server.content)), self.server.stated_sha256 or sha256(self.server.content)
            facts = {"X-Repo-Commit": COMMIT, "X-Linked-Size": size, "X-Linked-ETag": f'"{digest}"'}
            self.say(302, {"Location": self.server.store, **facts})
        elif (self.command, self.path) == ("GET", "/store"):
            self.send(0 if self.server.ignores_ranges else int(wanted.removeprefix("bytes=").rstrip("-") or 0))
        else:
            self.say(403, {})

    def send(self, start: int) -> None:
        """The file from a position on, cut off where that is asked for."""
        stored = self.server.content if self.server.sent is None else self.server.sent
        whole, content = len(stored), stored[start:]
        if start and not content:
            self.say(416, {"Content-Range": f"bytes */{whole}"})
            return
        self.send_response(206 if start else 200)
        headers = {"Content-Length": str(len(content)), "Connection": "close", "Accept-Ranges": "bytes"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{whole - 1}/{whole}"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: self.server.cut_after.pop(0)] if self.server.cut_after else content)


def point_to(address: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's client reads HF_ENDPOINT and HF_HUB_CACHE once, when it is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
    monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(folder / "harnesses.json"), raising=False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@contextmanager
def pointed_to(server: LocalServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """A server to which the hub's client looks, until it is ended."""
    point_to(server.address, folder, monkeypatch)
    yield server
    server.shutdown()
    server.server_close()


@contextmanager
def serving(path: str, content: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one file, to which the client looks, in small chunks and without pauses before it tries again."""
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", CHUNK)
    monkeypatch.setattr(file_download.time, "sleep", lambda _: None)
    with pointed_to(Hub(path, content), folder, monkeypatch) as server:
        yield server
