"""Kill, fill, corrupt and overload fusiqa, and count what is lost: python benchmarks/faults.py --only scoring

Each fault prints a row: how often it was tried and how often something was lost, doubled, changed, answered wrongly or
hung. All of them must be 0. What this machine lacks (root, a GPU, Ray, network namespaces) is skipped with the reason.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import faults_serving  # noqa: F401  # its faults are in the table
import tyro
from faults_place import (
    FAULTS,
    HANGS_AFTER,
    HERE,
    IMAGES,
    Outcomes,
    Place,
    Settings,
    SkippedError,
    descendants,
    fault,
    kill,
)

TRAIN = (
    "train --dataset ratings.csv --backbone test_efficientnet --backbone_weights none --crop_size 40 --resize 48 "
    "--batch_size 8 --epochs 3 --validation_fraction 0.2 --no_spaq --no_export --no_progress --device cpu "
    "--num_workers 0"
)
SCORE = "score images --no_progress"
RAY = f"{SCORE} --engine ray --workers 2"
WITH_LITTLE_MEMORY = """
import resource, sys, lightning, numpy, timm, torch
from fusiqa.cli import main
numpy.ones((99, 99)) @ numpy.ones((99, 99))  # OpenBLAS takes its own memory once, and ends the process without
megabytes = int(sys.argv.pop(1))
if torch.cuda.is_available():
    torch.cuda.set_per_process_memory_fraction(megabytes * 2**20 / torch.cuda.get_device_properties(0).total_memory)
else:
    held = resource.getpagesize() * int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (held + megabytes * 2**20,) * 2)
main(sys.argv[1:])
"""


def killed_training(place: Place, more: str) -> Outcomes:
    seconds = place.seconds_of(f"{TRAIN} --run_dir reference {more}")
    for number in range(place.settings.kills):
        words, cache = f"{TRAIN} --run_dir killed-{number} {more}", f"cache-{number}"
        place.kill_within(seconds, words, cache=cache)
        code, said = place.run(f"{words} --resume", cache=cache)
        yield not code and place.outcome(f"killed-{number}") == place.outcome("reference"), said


@fault
def training(place: Place) -> Outcomes:
    """Training is killed at a random moment and resumed: the same weights, predictions and history."""
    return killed_training(place, "")


@fault
def frozen(place: Place) -> Outcomes:
    """The same of heads on a frozen backbone."""
    return killed_training(place, "--freeze_backbone")


@fault
def scoring(place: Place) -> Outcomes:
    """Scoring is killed and resumed, in three formats: every image has one row, with the same score."""
    for ending in ("csv", "jsonl", "parquet"):
        seconds = place.seconds_of(f"{SCORE} --output reference.{ending}")
        for number in range(place.settings.kills):
            words = f"{SCORE} --output killed-{number}.{ending}"
            place.kill_within(seconds, words)
            code, said = place.run(f"{words} --resume")
            yield not code and place.rows(f"killed-{number}.{ending}") == place.rows(f"reference.{ending}"), said


@fault
def writers(place: Place) -> Outcomes:
    """Two commands on one table, and two on one run folder: one is refused."""
    for words in (*(f"{SCORE} --output two-{number}.csv" for number in range(3)), f"{TRAIN} --run_dir two"):
        both = [place.start(words) for _ in range(2)]
        ended = [place.end(each) for each in both]
        whole = "--output" not in words or len(place.rows(words.split()[-1])) == IMAGES
        yield sorted(code for code, _ in ended) == [0, 2] and whole, str(ended)


@fault
def cache(place: Place) -> Outcomes:
    """Two runs fill one cache and one is killed; then bits flip and files vanish: the same result."""
    heads = f"{TRAIN} --freeze_backbone --run_dir"
    seconds = place.seconds_of(f"{heads} reference")
    for number in range(place.settings.cache_kills):
        other = place.start(f"{heads} other-{number}", cache=f"shared-{number}")
        place.kill_within(seconds, f"{heads} killed-{number}", cache=f"shared-{number}")
        code, said = place.end(other)
        yield not code and place.outcome(f"other-{number}") == place.outcome("reference"), said
    for damage in (flip, Path.unlink, cut):
        for path in sorted((place.folder / "cache").rglob("*.npy"))[::3]:
            damage(path)
        code, said = place.run(f"{heads} after-{damage.__name__}")
        same = not code and place.outcome(f"after-{damage.__name__}") == place.outcome("reference")
        yield same, f"{damage.__name__}: {said}"


def flip(path: Path) -> None:
    """Flip a bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@fault
def download(place: Place) -> Outcomes:
    """A download from a hub on this machine is killed and run again: the file is whole."""
    sys.path.insert(0, str(HERE / "tests"))
    from hub_server import Hub

    from fusiqa.data.download import REPOSITORY

    class Slow(Hub):
        """Its store sends in small pieces, so that a kill meets it in the middle."""

        def finish_request(self, request: socket.socket, client: object) -> None:
            request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
            with suppress(ConnectionError):  # the client is killed
                super().finish_request(request, client)

    content = b"\x1f\x8b" + random.Random(0).randbytes(40_000_000)  # as an archive begins
    hub = Slow(f"/datasets/{REPOSITORY}/resolve/main/koniq10k.tgz", content)
    code = "import sys; from pathlib import Path; from fusiqa.data.download import fetch;"
    code += "fetch('koniq10k.tgz', Path(sys.argv[1]), progress=False)"
    more = {"code": code, "HF_ENDPOINT": hub.address, "NO_PROXY": "127.0.0.1,localhost"}
    for number in range(place.settings.download_kills):
        (folder := place.folder / f"download-{number}").mkdir()
        process, part = place.start(str(folder), **more), place.random.uniform(0.1, 0.9) * len(content)
        began = time.monotonic()
        while process.poll() is None and time.monotonic() - began < HANGS_AFTER:
            if sum(each.stat().st_size for each in folder.iterdir()) >= part:
                break
            time.sleep(0.001)
        kill(process.pid)
        process.communicate()
        _, said = place.run(str(folder), **more)
        yield {each.name: each.read_bytes() == content for each in folder.iterdir()} == {"koniq10k.tgz": True}, said
    hub.shutdown()


@contextmanager
def mounted(place: Place, options: str) -> Iterator[Path]:
    """A small file system of its own. Skipped without root."""
    (folder := place.folder / "mounted").mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True)
    if done.returncode:
        raise SkippedError(f"mounting a small disk needs root: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def outputs(place: Place) -> list[str]:
    """A command for every kind of output, on the mounted disk."""
    place.seconds_of(f"{TRAIN} --run_dir run")
    return [
        *(f"{SCORE} --output mounted/a.{ending}" for ending in ("csv", "jsonl", "parquet")),
        f"{SCORE} --sheet mounted/a.png",
        f"{SCORE} --report mounted/a.html",
        "sort images --output mounted/b.csv --sheet mounted/b.png --no_progress",
        "export run --output mounted/a.onnx",
        f"{TRAIN} --run_dir mounted/run",
        "evaluate run --dataset ratings.csv --output mounted/evaluation --no_progress",
        "attention run images --output mounted/attention --no_progress",
        "compare run run/../run --output mounted/comparison",
        "data check ratings.csv --output mounted/check.json",
        "distort images --output mounted/distorted --no_progress",
    ]


def refused_in_a_line(place: Place, words: str) -> tuple[bool, str]:
    code, said = place.run(words)
    return code == 2 and "Traceback" not in said and "error:" in said, f"{words} ended with {code}: {said}"


@fault
def full(place: Place) -> Outcomes:
    """The disk of each output is full: exit code 2 and one line."""
    with mounted(place, "size=16k") as folder:
        for words in outputs(place):
            (folder / "filling").write_bytes(bytes(4_096))
            with suppress(OSError), open(folder / "filling", "ab") as file:
                file.write(bytes(64_000))
            yield refused_in_a_line(place, words)


@fault
def read_only(place: Place) -> Outcomes:
    """The place of each output cannot be written to: exit code 2 and one line."""
    with mounted(place, "ro"):
        for words in outputs(place):
            yield refused_in_a_line(place, words)


@fault
def memory(place: Place) -> Outcomes:
    """The GPU, else the host, has no memory for a batch: the run goes on with halves of it, or ends with a line."""
    device, codes = "cuda" if Path("/dev/nvidia0").exists() else "cpu", []
    large = "--backbone test_convnext --crop_size 224 --batch_size 64 --crops_per_image 4 --epochs 1"
    for megabytes in (1200, 900, 600):
        words = f"{megabytes} {TRAIN} {large} --run_dir {megabytes} --device {device}"
        code, said = place.run(words, code=WITH_LITTLE_MEMORY, MALLOC_MMAP_THRESHOLD_="65536")
        yield code in (0, 2) and said.count("notice: out of memory") <= 1 and "Traceback" not in said, said
        codes.append(code)
    return f"exit codes {codes}"


@fault
def ranks(place: Place) -> Outcomes:
    """One of two processes that train together is killed: the other ends with a line."""
    for number in range(3):
        process = place.start(f"{TRAIN} --run_dir ranks-{number} --num_devices 2 --epochs 500")
        began = time.monotonic()
        while process.poll() is None and time.monotonic() - began < HANGS_AFTER:
            if (place.folder / f"ranks-{number}" / "history.csv").is_file():
                break
            time.sleep(0.1)
        kill(*descendants(process.pid, "fusiqa"))
        try:
            out, err = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            kill(process.pid)
            yield False, "the other hangs"
            continue
        yield process.returncode and "error:" in err and "Traceback" not in err, out + err


def needs_ray() -> None:
    if find_spec("ray") is None:
        raise SkippedError("Ray is not installed")


def has_every_row(place: Place, output: str, said: str) -> tuple[bool, str]:
    names = [name for name, _ in place.rows(output)]
    wanted = len(list((place.folder / "images").iterdir()))
    return len(names) == len(set(names)) == wanted, f"{len(names)} rows of {wanted}: {said}"


@fault
def ray_worker(place: Place) -> Outcomes:
    """A process of Ray that scores is killed: every image has one row."""
    needs_ray()
    for number in range(place.settings.ray_kills):
        process = place.start(f"{RAY} --output worker-{number}")
        while process.poll() is None and not (found := descendants(process.pid, "ScoringProcess")):
            time.sleep(0.05)
        kill(*found[:1])
        yield has_every_row(place, f"worker-{number}", place.end(process)[1])


@fault
def ray_driver(place: Place) -> Outcomes:
    """The command is killed with all of its Ray, and resumed: every image has one row."""
    needs_ray()
    seconds = place.seconds_of(f"{RAY} --output reference")
    for number in range(place.settings.ray_kills):
        place.kill_within(seconds, f"{RAY} --output driver-{number}")
        yield has_every_row(place, f"driver-{number}", place.run(f"{RAY} --output driver-{number} --resume")[1])


@fault
def ray_node(place: Place) -> Outcomes:
    """One of two nodes of Ray, in a network namespace, is cut off while it scores: every image has one row."""
    needs_ray()
    inside, first, second = "ip netns exec fusiqa-faults", "10.213.7.1", "10.213.7.2"
    ray = f"{Path(sys.executable).parent / 'ray'} start --block --num-cpus 2"
    for number in range(IMAGES, 20 * IMAGES):  # some time's work
        (place.folder / "images" / f"{number}.png").symlink_to(f"{number % IMAGES}.png")
    with ExitStack() as undo:
        for words in (
            "ip netns add fusiqa-faults",
            "ip link add faults0 type veth peer name faults1 netns fusiqa-faults",
            f"ip addr add {first}/24 dev faults0",
            "ip link set faults0 up",
            f"{inside} ip addr add {second}/24 dev faults1",
            f"{inside} ip link set faults1 up",
            f"{inside} ip link set lo up",
        ):
            done = subprocess.run(words.split(), capture_output=True, text=True)
            if done.returncode:
                raise SkippedError(f"{words}: {done.stderr.strip()}")
            if words.startswith("ip netns add"):
                undo.callback(subprocess.run, ["ip", "netns", "delete", "fusiqa-faults"], check=True)
        direct = dict.fromkeys(("no_proxy", "NO_PROXY", "no_grpc_proxy"), f"{first},{second},127.0.0.1,localhost")
        direct["RAY_AUTH_MODE"] = "disabled"  # else `ray start` asks for a token
        environment = os.environ | direct | {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
        own = {"env": environment, "stdout": subprocess.DEVNULL}
        for words in (
            f"{ray} --head --port 6397 --node-ip-address {first} --include-dashboard false",
            f"{inside} {ray} --address {first}:6397 --node-ip-address {second}",
        ):
            node = subprocess.Popen(words.split(), cwd=place.folder, stderr=subprocess.STDOUT, **own)
            undo.callback(lambda node=node: kill(node.pid, *descendants(node.pid)))
            time.sleep(30)
            if node.poll() is not None:
                raise SkippedError("no node of Ray starts on an address of its own")
        process = place.start(f"{RAY} --output node", RAY_ADDRESS=f"{first}:6397", **direct)
        while process.poll() is None and not descendants(node.pid, "ScoringProcess"):
            time.sleep(0.05)
        time.sleep(5)
        began, before = time.monotonic(), process.poll()
        subprocess.run(["ip", "link", "set", "faults0", "down"], check=True)
        code, said = place.end(process)
        yield before is None and has_every_row(place, "node", said)[0], f"exit code {code}: {said}"
        return f"{time.monotonic() - began:.0f} s from the loss to the end"


def counts(outcomes: Outcomes) -> tuple[int, int, str]:
    """How many tries, how many did harm, and words about the last of these or the remark."""
    tried = harm = 0
    words = ""
    while True:
        try:
            sound, said = next(outcomes)
        except StopIteration as end:
            return tried, harm, " ".join((words[-300:] or end.value or "").split())
        tried += 1
        if not sound:
            harm, words = harm + 1, said


def main(settings: Settings) -> int:
    """Print a row for each fault; how many did harm."""
    total = 0
    print("| fault | tried | harm | seconds | |\n|---|---|---|---|---|")
    for name in settings.only or FAULTS:
        place, began = Place(settings), time.monotonic()
        try:
            tried, harm, words = counts(FAULTS[name](place))
            total += harm
            row = [name, tried, harm, round(time.monotonic() - began), words]
        except SkippedError as reason:
            row = [name, "skipped", "", "", reason]
        finally:
            shutil.rmtree(place.folder, ignore_errors=True)
        print("|", " | ".join(map(str, row)), "|", flush=True)
    return total


if __name__ == "__main__":
    sys.exit(min(1, main(tyro.cli(Settings, description=__doc__))))
