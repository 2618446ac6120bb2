"""Faults of `fusiqa serve`, of faults.py."""

from __future__ import annotations

import http.client
import io
import os
import re
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress

import numpy as np
from faults_place import HANGS_AFTER, Outcomes, Place, fault
from PIL import Image

ENDED = (0, 143)  # exit codes after SIGTERM
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")


class Server:
    """`fusiqa serve` on a free port."""

    def __init__(self, place: Place) -> None:
        self.process = place.start("serve --port 0")
        found = ADDRESS.search(self.process.stdout.readline())
        if found is None:
            raise RuntimeError(self.process.communicate()[1])
        self.port = int(found[1])
        self.log: list[str] = []
        threading.Thread(target=self.log.extend, args=[self.process.stderr], daemon=True).start()

    def post(self, body: bytes, *, after: Callable[[], object] = lambda: None) -> str:
        """The status of a form's answer; 503 counts as such only with Retry-After."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request("POST", "/v1/score", body, {"Content-Type": "multipart/form-data; boundary=b"})
            after()
            answer = connection.getresponse()
            answer.read()
            unsaid = answer.status == 503 and not answer.getheader("Retry-After")
            return f"{answer.status}{' without Retry-After' * unsaid}"
        except TimeoutError:
            return "hang"
        except (ConnectionError, http.client.HTTPException) as reason:
            return type(reason).__name__
        finally:
            connection.close()

    def broken(self, kind: str) -> str:
        """A request that is cut short, dripped, or whose client leaves."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as connection, suppress(OSError):
            body = form(picture(0))
            head = "POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
            for byte in body[: 5 if kind == "drips" else 0]:
                connection.sendall(bytes([byte]))
                time.sleep(1)
            connection.sendall({"leaves": body, "cut": body[: len(body) // 2], "drips": b""}[kind])
        return kind

    def bytes_held(self) -> int:
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=HANGS_AFTER)


def at_once(asks: Iterable[Callable[[], str]]) -> tuple[list[threading.Thread], list[str]]:
    """Threads that ask, and the list of what each is answered, which grows."""
    answers: list[str] = []
    threads = [threading.Thread(target=lambda ask=ask: answers.append(ask())) for ask in asks]
    for thread in threads:
        thread.start()
    return threads, answers


def counted(statuses: Iterable[str]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(Counter(statuses).items()))


def form(*images: bytes) -> bytes:
    part = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n%s\r\n'
    return b"".join(part % image for image in images) + b"--b--\r\n"


def picture(number: int, side: int = 64) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@fault
def server(place: Place) -> Outcomes:
    """Requests at once, good, broken, huge, slow, cut short and left: no 5xx but 503 with Retry-After and 504."""
    serving, huge = Server(place), bytearray(picture(1))
    huge[16:24] = (13_000).to_bytes(4, "big") * 2  # what its header claims
    bodies = [form(picture(2)), form(b"broken"), form(bytes(huge)), form(*[picture(3)] * 4), b"no form", form(b"")]
    asks = [lambda body=body: serving.post(body) for body in bodies]
    asks += [lambda kind=kind: serving.broken(kind) for kind in ("cut", "leaves", "drips")]
    threads, statuses = at_once(asks[number % len(asks)] for number in range(place.settings.requests))
    for thread in threads:
        thread.join(HANGS_AFTER)
    for status in statuses:
        yield status not in ("hang", "503 without Retry-After") and not re.match("5(?!03|04)", status), status
    yield serving.post(form(picture(5))) == "200", "not well afterwards"
    yield serving.end() in ENDED, "the process did not end well"
    yield len(serving.log) < 100, f"{len(serving.log)} lines of log"
    return counted(statuses)


@fault
def sigterm(place: Place) -> Outcomes:
    """SIGTERM in the middle: what was accepted is answered."""
    serving, sent = Server(place), threading.Barrier(9)
    body = form(*[picture(number, side=400) for number in range(4)])
    threads, statuses = at_once([lambda: serving.post(body, after=lambda: sent.wait(60))] * 8)
    sent.wait(60)
    time.sleep(0.5)
    yield serving.end() in ENDED, "the process did not end well"
    for thread in threads:
        thread.join(HANGS_AFTER)
    for status in statuses:
        yield status in ("200", "503"), status
    return counted(statuses)


@fault
def soak(place: Place) -> Outcomes:
    """Requests for minutes: memory stays flat after the first fifth."""
    serving, held = Server(place), list[int]()
    end = time.monotonic() + 60 * place.settings.soak_minutes
    bodies = [form(picture(number, side=200)) for number in range(8)] + [form(b"broken"), b"no form"]
    while time.monotonic() < end:
        status = serving.post(bodies[len(held) % len(bodies)])
        yield status in ("200", "400"), status
        held.append(serving.bytes_held())
    early, late = (max(part) / 1e6 for part in (held[len(held) // 5 : len(held) // 2], held[len(held) // 2 :]))
    yield late < 1.05 * early, "memory grew"
    serving.end()
    return f"{early:.0f} MB at most before half time, {late:.0f} MB after"
