"""Kill, fill, corrupt and overload fusiqa, and count what is lost: python benchmarks/faults.py --only scoring

Each fault prints a line: how often it was tried and how often something was lost, doubled, changed, answered wrongly or
hung. All of them must be 0. What this machine lacks (root, a GPU, Ray, network namespaces) is skipped with the reason.
"""

from __future__ import annotations

import csv
import http.client
import io
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

HERE = Path(__file__).resolve().parents[1]
FUSIQA = [sys.executable, "-m", "fusiqa"]
IMAGES, SIDE = 48, 48
WALL_CLOCK = ("train_seconds", "validation_seconds", "crops_per_second", "data_wait_fraction")
HANGS_AFTER = 600.0  # seconds
ENDED = (0, 143)  # exit codes after SIGTERM
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)")


@dataclass(frozen=True)
class Settings:
    """Run faults against fusiqa and print how many did harm."""

    only: tuple[str, ...] = ()
    """Names of faults; by default all."""
    kills: int = 20
    """Kills of a training run, whole and frozen, and of scoring in each format."""
    cache_kills: int = 10
    """Kills of a run that fills a cache together with another one."""
    download_kills: int = 5
    ray_kills: int = 3
    requests: int = 200
    """Requests to the server at once."""
    soak_minutes: float = 30
    seed: int = 0
    """Of the moments of the kills."""


class SkippedError(Exception):
    """A fault that cannot be tried here, and why."""


@dataclass
class Tally:
    """What came of a fault."""

    tried: int = 0
    harm: int = 0
    words: str = ""

    def add(self, sound: object, words: str = "") -> None:
        self.tried += 1
        if not sound:
            self.harm, self.words = self.harm + 1, words or self.words


def descendants(process: int, words: str = "") -> list[int]:
    """The processes that a process started, and those that they did, whose command line has the words."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == process:
                own = words.encode() in (folder / "cmdline").read_bytes()
                found += [int(folder.name)] * own + descendants(int(folder.name), words)
    return found


class Place:
    """A folder with images, ratings and a cache of its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.random = settings, random.Random(settings.seed)
        self.folder = Path(tempfile.mkdtemp(prefix="fusiqa-faults-"))
        (self.folder / "images").mkdir()
        pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, 6, 6, 3), dtype=np.uint8)
        rows = ["image,mos"]
        for number, small in enumerate(pixels):
            image = Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            image.save(self.folder / "images" / f"{number}.png")
            rows.append(f"images/{number}.png,{1 + number % 5}.{number:02}")
        (self.folder / "ratings.csv").write_text("\n".join(rows) + "\n")

    def start(self, *words: object, cache: str = "cache", **more: str) -> subprocess.Popen[str]:
        own = {"FUSIQA_CACHE": str(self.folder / cache), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
        environment = os.environ | own | more
        command, pipe = [*FUSIQA, *map(str, words)], subprocess.PIPE
        return subprocess.Popen(command, cwd=self.folder, env=environment, stdout=pipe, stderr=pipe, text=True)

    def run(self, *words: object, **more: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*words, **more)
        out, err = process.communicate(timeout=HANGS_AFTER)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def timed(self, *words: object, **more: str) -> float:
        """Seconds of a run that must succeed."""
        began = time.monotonic()
        done = self.run(*words, **more)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return time.monotonic() - began

    def kill_within(self, seconds: float, *words: object, **more: str) -> None:
        process = self.start(*words, **more)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=self.random.uniform(0.1, seconds))
        own = descendants(process.pid)
        process.kill()
        for child in own:  # such as those of Ray, which would wait for the driver
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        process.communicate()

    def train(self, run: str, *more: object, frozen: bool) -> list[object]:
        words = "train --dataset ratings.csv --backbone test_efficientnet --backbone_weights none --crop_size 40"
        words += " --resize 48 --batch_size 8 --epochs 3 --validation_fraction 0.2"
        words += " --no_spaq --no_export --no_progress --device cpu"
        return [*words.split(), "--num_workers", 0, "--run_dir", run, *(["--freeze_backbone"] if frozen else []), *more]

    def outcome(self, run: str) -> tuple[object, ...]:
        """What a run ended with, without its times."""
        folder = self.folder / run
        with open(folder / "history.csv", newline="") as file:
            history = [{k: v for k, v in row.items() if k not in WALL_CLOCK} for row in csv.DictReader(file)]
        files = [(folder / name).read_bytes() for name in ("model.safetensors", "predictions.csv", "split.csv")]
        return (*files, history)


def training(place: Place, *, frozen: bool = False) -> Tally:
    """Training is killed at a random moment and resumed: the same weights, predictions and history."""
    tally, kind = Tally(), "frozen" if frozen else "whole"
    seconds = place.timed(*place.train(f"{kind}-reference", frozen=frozen), cache=f"cache-{kind}")
    for number in range(place.settings.kills):
        run = f"{kind}-{number}"
        place.kill_within(seconds, *place.train(run, frozen=frozen), cache=f"cache-{kind}-{number}")
        done = place.run(*place.train(run, "--resume", frozen=frozen), cache=f"cache-{kind}-{number}")
        same = not done.returncode and place.outcome(run) == place.outcome(f"{kind}-reference")
        left = [path for path in (place.folder / run).iterdir() if path.name.startswith(".")]
        tally.add(same and not left, done.stderr[-200:] or f"another result, or {left}")
    return tally


def scoring(place: Place) -> Tally:
    """Scoring is killed and resumed, in three formats: every image has one row, with the same score."""
    tally = Tally()
    for ending in ("csv", "jsonl", "parquet"):
        words = ["score", "images", "--no_progress", "--output"]
        seconds = place.timed(*words, f"reference.{ending}")
        for number in range(place.settings.kills):
            output = f"killed-{number}.{ending}"
            place.kill_within(seconds, *words, output)
            done = place.run(*words, output, "--resume")
            found, wanted = (rows_of(place.folder / name) for name in (output, f"reference.{ending}"))
            tally.add(not done.returncode and found == wanted, done.stderr[-200:])
    return tally


def rows_of(path: Path) -> list[tuple[str, float]]:
    """Path and score of each row, sorted."""
    if path.suffix == ".parquet":
        import pyarrow.parquet

        rows = pyarrow.parquet.read_table(path).to_pylist()
    elif path.suffix == ".csv":
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
    else:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    return sorted((row["path"], round(float(row["score"]), 5)) for row in rows)


def writers(place: Place) -> Tally:
    """Two commands on one table, and two on one run folder: one is refused, or finds all done."""
    tally = Tally()
    for number in range(3):
        both = [place.start("score", "images", "--no_progress", "--output", f"two-{number}.csv") for _ in range(2)]
        codes = [process.communicate(timeout=HANGS_AFTER) and process.returncode for process in both]
        tally.add(sorted(codes) == [0, 2] and len(rows_of(place.folder / f"two-{number}.csv")) == IMAGES, str(codes))
    both = [place.start(*place.train("two", frozen=True)) for _ in range(2)]
    codes = [process.communicate(timeout=HANGS_AFTER) and process.returncode for process in both]
    tally.add(sorted(codes) == [0, 2], str(codes))
    return tally


def cache(place: Place) -> Tally:
    """Two runs fill one cache and one is killed; then bits flip and files vanish: the same result."""
    tally = Tally()
    seconds = place.timed(*place.train("cache-reference", frozen=True), cache="cache-alone")
    for number in range(place.settings.cache_kills):
        shared = f"cache-shared-{number}"
        other = place.start(*place.train(f"cache-{number}", frozen=True), cache=shared)
        place.kill_within(seconds, *place.train(f"cache-{number}-killed", frozen=True), cache=shared)
        _, err = other.communicate(timeout=HANGS_AFTER)
        same = not other.returncode and place.outcome(f"cache-{number}") == place.outcome("cache-reference")
        tally.add(same, err[-200:])
    for name, damage in (("flipped", flip), ("vanished", Path.unlink), ("cut", cut)):
        for path in sorted((place.folder / "cache-alone").rglob("*.npy"))[::3]:
            damage(path)
        done = place.run(*place.train(f"cache-{name}", frozen=True), cache="cache-alone")
        same = not done.returncode and place.outcome(f"cache-{name}") == place.outcome("cache-reference")
        tally.add(same, f"{name}: {done.stderr[-200:]}")
    return tally


def flip(path: Path) -> None:
    """Flip a bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def download(place: Place) -> Tally:
    """A download from a hub on this machine is killed and run again: the file is whole."""
    sys.path.insert(0, str(HERE / "tests"))
    from hub_server import Hub, sha256

    from fusiqa.data.download import REPOSITORY

    class Slow(Hub):
        """Its store sends in small pieces, so that a kill meets it in the middle."""

        def finish_request(self, request: socket.socket, client: object) -> None:
            request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
            with suppress(ConnectionError):  # the client is killed
                super().finish_request(request, client)

    content = b"\x1f\x8b" + random.Random(0).randbytes(40_000_000)  # as an archive begins
    hub, tally = Slow(f"/datasets/{REPOSITORY}/resolve/main/koniq10k.tgz", content), Tally()
    hub.start()
    code = "import sys; from pathlib import Path; from fusiqa.data.download import fetch;"
    code += "fetch('koniq10k.tgz', Path(sys.argv[1]), progress=False)"
    more = {"HF_ENDPOINT": hub.address, "NO_PROXY": "127.0.0.1,localhost", "PYTHONPATH": str(HERE)}
    for number in range(place.settings.download_kills):
        folder = place.folder / f"download-{number}"
        folder.mkdir()
        command = [sys.executable, "-c", code, str(folder)]
        process = subprocess.Popen(command, env=os.environ | more, stderr=subprocess.DEVNULL)
        began, part = time.monotonic(), place.random.uniform(0.1, 0.9) * len(content)
        while sum(each.stat().st_size for each in folder.iterdir()) < part and time.monotonic() - began < HANGS_AFTER:
            if process.poll() is not None:
                break
            time.sleep(0.001)
        process.kill()
        process.wait()
        again = subprocess.run(command, env=os.environ | more, capture_output=True, text=True, timeout=HANGS_AFTER)
        found = [each.name for each in folder.iterdir()]
        whole = found == ["koniq10k.tgz"] and sha256((folder / found[0]).read_bytes()) == sha256(content)
        tally.add(whole, again.stderr[-200:])
    hub.shutdown()
    return tally


@contextmanager
def mounted(place: Place, name: str, options: str):
    """A small file system of its own. Skipped without root."""
    if os.geteuid():
        raise SkippedError("mounting a small disk needs root")
    folder = place.folder / name
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True)
    if done.returncode:
        raise SkippedError(f"no disk can be mounted: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def outputs(place: Place, into: Path) -> list[list[object]]:
    """A command for every kind of output."""
    run = place.folder / "outputs-run"
    if not run.exists():
        place.timed(*place.train(str(run), frozen=False))
    same = ["--no_progress"]
    return [
        *(["score", "images", "--output", into / f"a.{ending}", *same] for ending in ("csv", "jsonl", "parquet")),
        ["score", "images", "--sheet", into / "a.png", *same],
        ["score", "images", "--report", into / "a.html", *same],
        ["sort", "images", "--output", into / "b.csv", "--sheet", into / "b.png", *same],
        ["export", run, "--output", into / "a.onnx"],
        place.train(str(into / "run"), frozen=False),
        ["evaluate", run, "--dataset", "ratings.csv", "--output", into / "evaluation", *same],
        ["attention", run, "images", "--output", into / "attention", *same],
        ["compare", run, run / ".." / "outputs-run", "--output", into / "comparison"],
        ["data", "check", "ratings.csv", "--output", into / "check.json"],
        ["distort", "images", "--output", into / "distorted", *same],
    ]


def refused_in_a_line(done: subprocess.CompletedProcess[str]) -> bool:
    return done.returncode == 2 and "Traceback" not in done.stderr and "error:" in done.stderr


def full(place: Place) -> Tally:
    """The disk of each output is full: exit code 2 and one line."""
    tally = Tally()
    with mounted(place, "full", "size=16k") as folder:
        for words in outputs(place, folder):
            (folder / "filling").write_bytes(bytes(4_096))
            with suppress(OSError), open(folder / "filling", "ab") as file:
                file.write(bytes(64_000))
            done = place.run(*words)
            tally.add(refused_in_a_line(done), f"{words[0]} ended with {done.returncode}: {done.stderr[-300:]}")
    return tally


def read_only(place: Place) -> Tally:
    """The place of each output cannot be written to: exit code 2 and one line."""
    tally = Tally()
    with mounted(place, "read-only", "ro") as folder:
        for words in outputs(place, folder):
            done = place.run(*words)
            tally.add(refused_in_a_line(done), f"{words[0]} ended with {done.returncode}: {done.stderr[-300:]}")
    return tally


def memory(place: Place) -> Tally:
    """The GPU has no memory for a whole pass: it is halved, said once, and every image is scored."""
    import torch

    if not torch.cuda.is_available():
        raise SkippedError("no GPU; tests/scoring/test_views.py does it with a network that runs out of memory")
    code = "import sys, torch; torch.cuda.set_per_process_memory_fraction(float(sys.argv.pop(1)));"
    code += "from fusiqa.cli import main; main(sys.argv[1:])"
    words = ["score", "images", "--backend", "torch", "--device", "cuda", "--no_progress", "--output"]
    tally = Tally()
    for part in (0.01, 0.005, 0.002):
        command = [sys.executable, "-c", code, str(part), *words, f"memory-{part}.csv"]
        done = subprocess.run(command, cwd=place.folder, capture_output=True, text=True, timeout=HANGS_AFTER)
        tally.add("Traceback" not in done.stderr and done.stderr.count("out of memory") <= 1, done.stderr[-300:])
    return tally


class Server:
    """`fusiqa serve` on a free port."""

    def __init__(self, place: Place, *more: object) -> None:
        self.process = place.start("serve", "--port", 0, *more)
        out, err = self.process.stdout, self.process.stderr
        assert out is not None and err is not None, "`start` pipes both"  # noqa: PT018
        found = ADDRESS.search(out.readline())
        if found is None:
            raise RuntimeError(self.process.communicate()[1])
        self.port = int(found[1])
        self.log: list[str] = []
        threading.Thread(target=self.log.extend, args=[err], daemon=True).start()

    def post(self, body: bytes, *, after: Callable[[], object] = lambda: None, seconds: float = 120) -> str:
        """The status of a form's answer; 503 counts as such only with Retry-After."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
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

    def broken(self, *, kind: str) -> str:
        """A request that is cut short, dripped, or whose client leaves."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as connection, suppress(OSError):
            body = form(picture(0))
            head = "POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
            if kind == "leaves":
                connection.sendall(body)
            elif kind == "drips":
                for each in body[:5]:
                    connection.sendall(bytes([each]))
                    time.sleep(1)
            else:
                connection.sendall(body[: len(body) // 2])
        return kind

    def bytes_held(self) -> int:
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=HANGS_AFTER)


def form(*images: bytes) -> bytes:
    part = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n%s\r\n'
    return b"".join(part % image for image in images) + b"--b--\r\n"


def picture(number: int, side: int = 64) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def server(place: Place) -> Tally:
    """Requests at once, good, broken, huge, slow, cut short and left: no 5xx but 503 with Retry-After and 504."""
    serving, tally, statuses = Server(place), Tally(), Counter[str]()
    huge = bytearray(picture(1))
    huge[16:24] = (13_000).to_bytes(4, "big") * 2  # what its header claims
    bodies = [form(picture(2)), form(b"broken"), form(bytes(huge)), form(*[picture(3)] * 4), b"no form", form(b"")]
    asks = [lambda body=body: serving.post(body) for body in bodies]
    asks += [lambda kind=kind: serving.broken(kind=kind) for kind in ("cut", "leaves", "drips")]

    def ask(number: int) -> None:
        statuses[asks[number % len(asks)]()] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(place.settings.requests)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANGS_AFTER)
    for status, count in statuses.items():
        for _ in range(count):
            tally.add(status not in ("hang", "503 without Retry-After") and not re.match("5(?!03|04)", status), status)
    tally.add(serving.post(form(picture(5))) == "200", "not well afterwards")
    tally.add(serving.end() in ENDED, "the process did not end well")
    tally.add(len(serving.log) < 100, f"{len(serving.log)} lines of log")
    tally.words = tally.words or ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    return tally


def sigterm(place: Place) -> Tally:
    """SIGTERM in the middle: what was accepted is answered."""
    serving, tally, statuses = Server(place), Tally(), list[str]()
    sent = threading.Barrier(9)
    body = form(*[picture(number, side=400) for number in range(4)])
    threads = [
        threading.Thread(target=lambda: statuses.append(serving.post(body, after=lambda: sent.wait(60))))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    sent.wait(60)
    time.sleep(0.5)
    code = serving.end()
    for thread in threads:
        thread.join(HANGS_AFTER)
    for status in statuses:
        tally.add(status in ("200", "503"), status)
    tally.add(code in ENDED, f"exit code {code}")
    tally.words = tally.words or ", ".join(f"{n} {status}" for status, n in sorted(Counter(statuses).items()))
    return tally


def soak(place: Place) -> Tally:
    """Requests for minutes: memory stays flat after the first fifth."""
    serving, held, tally = Server(place), list[int](), Tally()
    end = time.monotonic() + 60 * place.settings.soak_minutes
    bodies = [form(picture(number, side=200)) for number in range(8)] + [form(b"broken"), b"no form"]
    while time.monotonic() < end:
        status = serving.post(bodies[tally.tried % len(bodies)])
        tally.add(status in ("200", "400"), status)
        held.append(serving.bytes_held())
    early, late = (max(part) for part in (held[len(held) // 5 : len(held) // 2], held[len(held) // 2 :]))
    tally.add(late < 1.05 * early, "memory grew")
    serving.end()
    tally.words = tally.words or f"{early / 1e6:.0f} MB at most before half time, {late / 1e6:.0f} MB after"
    return tally


def ranks(place: Place) -> Tally:
    """One of two processes that train together is killed: the other ends with a line."""
    tally = Tally()
    for number in range(3):
        words = place.train(f"ranks-{number}", "--num_devices", 2, "--epochs", 500, frozen=False)
        process = place.start(*words)
        history = place.folder / f"ranks-{number}" / "history.csv"
        began = time.monotonic()
        while not history.is_file() and process.poll() is None and time.monotonic() - began < HANGS_AFTER:
            time.sleep(0.1)
        for child in descendants(process.pid, "fusiqa"):
            os.kill(child, signal.SIGKILL)
        try:
            _, err = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            tally.add(False, "the other hangs")
            continue
        lines = [line for line in err.splitlines() if "error:" in line]
        tally.add(process.returncode and lines and "Traceback" not in err, err[-300:])
    return tally


def ray(place: Place, *, driver: bool = False) -> Tally:
    """A worker of Ray is killed, or the driver, which is resumed: every image has one row."""
    if find_spec("ray") is None:
        raise SkippedError("Ray is not installed")
    import pyarrow.dataset

    tally = Tally()
    words = ["score", "images", "--engine", "ray", "--workers", 2, "--no_progress", "--output"]
    seconds = place.timed(*words, "ray-reference")
    for number in range(place.settings.ray_kills):
        output = f"ray-{'driver' if driver else 'worker'}-{number}"
        if driver:
            place.kill_within(seconds, *words, output)
            done = place.run(*words, output, "--resume")
        else:
            process = place.start(*words, output)
            wait_for_worker(process, seconds)
            done = subprocess.CompletedProcess(words, 0, *process.communicate(timeout=HANGS_AFTER))
        table = pyarrow.dataset.dataset(place.folder / output, format="parquet").to_table(columns=["path", "score"])
        names = table["path"].to_pylist()
        tally.add(len(names) == len(set(names)) == IMAGES, f"{len(names)} rows: {done.stderr[-200:]}")
    return tally


def wait_for_worker(process: subprocess.Popen[str], seconds: float) -> None:
    """Kill the first process of Ray that scores, when there is one."""
    began = time.monotonic()
    while process.poll() is None and time.monotonic() - began < 4 * seconds:
        if found := descendants(process.pid, "ScoringProcess"):
            os.kill(found[0], signal.SIGKILL)
            return
        time.sleep(0.05)


def network(_: Place) -> Tally:
    """A node of Ray is lost."""
    raise SkippedError("network namespaces for a second node of Ray are not set up by this script")


FAULTS: dict[str, Callable[[Place], Tally]] = {
    "training": training,
    "frozen": lambda place: training(place, frozen=True),
    "scoring": scoring,
    "writers": writers,
    "cache": cache,
    "download": download,
    "full": full,
    "read-only": read_only,
    "memory": memory,
    "server": server,
    "sigterm": sigterm,
    "soak": soak,
    "ranks": ranks,
    "ray": ray,
    "ray-driver": lambda place: ray(place, driver=True),
    "network": network,
}


def main(settings: Settings, names: Sequence[str] = tuple(FAULTS)) -> int:
    """Print a row for each fault; how many did harm."""
    harm = 0
    print("| fault | tried | harm | seconds | |\n|---|---|---|---|---|")
    for name in settings.only or names:
        place, began = Place(settings), time.monotonic()
        try:
            tally = FAULTS[name](place)
            harm += tally.harm
            row = [name, tally.tried, tally.harm, round(time.monotonic() - began), " ".join(tally.words.split())]
        except SkippedError as reason:
            row = [name, "skipped", "", "", reason]
        finally:
            shutil.rmtree(place.folder, ignore_errors=True)
        print("|", " | ".join(map(str, row)), "|", flush=True)
    return harm


if __name__ == "__main__":
    sys.exit(min(1, main(tyro.cli(Settings, description=__doc__))))
