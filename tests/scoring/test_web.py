"""The API of `fusiqa serve`: answers, limits, and many requests at once."""

import asyncio
import contextlib
import io
import re
import socket
import threading
import time

import httpx
import numpy as np
import pytest
from broken_files import BROKEN, encoded, png
from PIL import Image
from tiny_models import CROP, RANGE, make_model, noise

from fusiqa.cli import main
from fusiqa.config import ServeConfig
from fusiqa.errors import FusiqaError
from fusiqa.scoring.inputs import ImageInput
from fusiqa.scoring.result import Result
from fusiqa.scoring.scorer import Scorer

pytest.importorskip("fastapi")
from fusiqa.scoring.web import connection
from fusiqa.scoring.web.app import ROUTES, make_app
from fusiqa.scoring.web.queue import ScoringQueue

LIMITS = ServeConfig(max_megabytes=0.2, max_megapixels=0.05, max_files=5)


def picture(seed: int, height: int = 53, width: int = 71) -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise(height, width, seed)).save(file, "PNG")
    return file.getvalue()


def client(app) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", timeout=120)


async def asked(app, method: str, path: str, **how) -> httpx.Response:
    async with client(app) as browser:
        return await browser.request(method, path, **how)


def ask(app, method: str, path: str, **how) -> httpx.Response:
    return asyncio.run(asked(app, method, path, **how))


def files(*contents: bytes) -> list:
    return [("files", (f"{number}.png", content)) for number, content in enumerate(contents)]


@pytest.fixture
def app(scorer):
    return make_app(scorer, LIMITS)


def test_each_image_has_its_answer_in_order(app, scorer):
    answer = ask(app, "POST", "/v1/score", files=files(picture(0), b"<html>", picture(1)))
    assert answer.status_code == 200
    first, broken, second = answer.json()["results"]
    expected = scorer(picture(0))
    assert first["score"] == pytest.approx(expected.score, abs=1e-4 * RANGE.width)
    assert first["scale_weights"] == pytest.approx(expected.scale_weights, abs=1e-5)
    assert (first["name"], first["width"], first["height"]) == ("0.png", 71, 53)
    assert first["score_range"] == [1, 5]
    np.testing.assert_allclose([crop["box"] for crop in first["crops"]], expected.crops.boxes)
    assert second["score"] == pytest.approx(scorer(picture(1)).score, abs=1e-4 * RANGE.width)
    assert broken["score"] is None
    assert broken["error"] == "not an image in a format that can be read"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty (0 bytes)"),
        (bytes(300_000), "has 0.3 MB; at most 0.2 are allowed"),
        (png(600, 100), "has 0.1 megapixels; at most 0.05 are allowed"),
        (png(60_000, 60_000), "too large to be decoded safely"),
    ],
)
def test_a_image_beyond_a_limit_has_its_reason_and_is_not_decoded(app, content, reason):
    (result,) = ask(app, "POST", "/v1/score", files=files(content)).json()["results"]
    assert reason in result["error"]


def test_too_many_images_and_too_many_bytes_are_refused(app):
    answer = ask(app, "POST", "/v1/score", files=files(*[picture(0)] * 6))
    assert answer.status_code == 413
    assert answer.json()["detail"] == "at most 5 images are allowed in one request"
    answer = ask(app, "POST", "/v1/score", files=files(bytes(2_000_000)))
    assert answer.status_code == 413
    assert "larger than" in answer.json()["detail"]


def test_a_body_that_does_not_say_its_length_is_cut_off_on_the_way(app):
    sent = 0

    async def endless():
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        while sent < 50_000_000:
            sent += 50_000
            yield bytes(50_000)

    how = {"content": endless(), "headers": {"Content-Type": "multipart/form-data; boundary=x"}}
    answer = ask(app, "POST", "/v1/score", **how)
    assert answer.status_code == 413
    assert sent < 2_000_000


def test_two_hundred_requests_at_once_lose_no_good_answer(tmp_path):
    scorer = Scorer(make_model(tmp_path, resize="none"), device="cpu")
    app = make_app(scorer, LIMITS)
    good = {f"good {number}.png": picture(number, CROP, CROP) for number in range(160)}
    huge = {"bytes.png": bytes(300_000), "pixels.png": png(600, 100), "bomb.png": png(60_000, 60_000)}
    bad = {f"bad {number}.png": encoded("JPEG")[: 50 + number] for number in range(37)}
    wanted = {**good, **huge, **bad}
    assert len(wanted) == 200

    async def all_at_once() -> list[httpx.Response]:
        async with client(app) as browser:
            posts = [browser.post("/v1/score", files={"files": item}) for item in wanted.items()]
            return await asyncio.gather(*posts)

    answers = asyncio.run(all_at_once())
    assert [answer.status_code for answer in answers] == [200] * 200
    results = {result["name"]: result for answer in answers for result in answer.json()["results"]}
    assert set(results) == set(wanted)
    expected = [result.score for result in scorer.many(good.values())]
    assert [results[name]["score"] for name in good] == pytest.approx(expected, abs=1e-4 * RANGE.width)
    assert all(results[name]["error"] for name in [*huge, *bad])
    told = ask(app, "GET", "/metrics").text
    assert 'fusiqa_images_total{outcome="scored"} 160.0' in told
    assert 'fusiqa_images_total{outcome="unreadable"} 40.0' in told
    assert "fusiqa_waiting 0.0" in told


def test_images_that_wait_share_a_pass_only_where_it_takes_their_crops(scorer, monkeypatch):
    images = [ImageInput(str(seed), lambda seed=seed: noise(53, 71, seed)) for seed in range(6)]
    crops = len(scorer.prepare(images[0]).views)
    expected = [scorer(noise(53, 71, seed)).score for seed in range(6)]
    batches = {}
    for at_once in (crops - 1, 3 * crops):
        monkeypatch.setattr(scorer, "network", Slow(scorer.network, 0.05))
        monkeypatch.setattr(scorer.network, "at_once", lambda shape, most=at_once: most)

        async def all_at_once() -> int:
            queue = ScoringQueue(scorer, max_waiting=6)
            results = await queue.score(images)
            assert [result.score for result in results] == pytest.approx(expected, abs=1e-4 * RANGE.width)
            queue.close()
            return queue.batches

        batches[at_once] = asyncio.run(all_at_once())
    assert batches[crops - 1] == 6
    assert batches[3 * crops] < 6


class Slow:
    """A scorer's network that takes its time."""

    def __init__(self, network, seconds: float) -> None:
        self.info, self.at_once = network.info, network.at_once
        self.network, self.seconds = network, seconds

    def __call__(self, crops):
        time.sleep(self.seconds)
        return self.network(crops)


def test_a_busy_server_answers_503_and_a_late_one_504(scorer, monkeypatch):
    monkeypatch.setattr(scorer, "network", Slow(scorer.network, 0.5))
    app = make_app(scorer, ServeConfig(max_files=2, max_waiting=3, timeout_seconds=0.2))

    async def two_at_once() -> httpx.Response:
        two = {"files": files(*[picture(0)] * 2)}
        async with client(app) as browser:
            return (await asyncio.gather(*(browser.post("/v1/score", **two) for _ in range(2))))[1]

    answer = asyncio.run(two_at_once())
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json()["detail"] == "server busy: 3 images wait already; retry later"
    late = ask(app, "POST", "/v1/score", files=files(picture(0)))
    assert late.status_code == 504
    assert late.json()["detail"].startswith("it took longer than 0.2 seconds")


def test_a_full_server_refuses_before_it_reads_the_images(scorer, monkeypatch):
    monkeypatch.setattr(scorer, "network", Slow(scorer.network, 1))
    app = make_app(scorer, ServeConfig(max_files=1, max_waiting=1))
    read = 0

    async def body():
        nonlocal read
        read += 1
        yield bytes(100)

    async def two_at_once() -> httpx.Response:
        async with client(app) as browser:
            first = asyncio.create_task(browser.post("/v1/score", files=files(picture(0))))
            await asyncio.sleep(0.3)
            how = {"content": body(), "headers": {"Content-Type": "multipart/form-data; boundary=x"}}
            second = await browser.post("/v1/score", **how)
            assert (await first).status_code == 200
            return second

    assert asyncio.run(two_at_once()).status_code == 503
    assert read == 0


def test_images_of_a_client_that_left_are_not_scored(scorer, monkeypatch):
    slow = Slow(scorer.network, 0.3)
    monkeypatch.setattr(scorer, "network", slow)
    app = make_app(scorer, ServeConfig())
    request = httpx.Request("POST", "http://127.0.0.1/v1/score", files=files(*[picture(0)] * 5))
    coming = [{"type": "http.request", "body": request.read()}, {"type": "http.disconnect"}]

    async def receive():
        return coming.pop(0) if coming else await asyncio.sleep(60)

    async def send(message):
        pass

    scope = {"type": "http", "method": "POST", "path": "/v1/score", "query_string": b"", "headers": request.headers.raw}
    calls = []
    slow.network = lambda crops, network=slow.network: (calls.append(1), network(crops))[1]
    asyncio.run(app(scope, receive, send))
    assert len(calls) < 5


def test_a_client_that_leaves_in_the_middle_of_its_form_is_no_error_of_the_server(scorer):
    request = httpx.Request("POST", "http://127.0.0.1/v1/score", files=files(picture(0)))
    body, sent = request.read(), []
    coming = [{"type": "http.request", "body": body[:90], "more_body": True}, {"type": "http.disconnect"}]

    async def receive():
        return coming.pop(0)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/score", "query_string": b"", "headers": request.headers.raw}
    asyncio.run(make_app(scorer, ServeConfig())(scope, receive, send))  # else uvicorn logs a traceback for each
    assert sent[0]["status"] == 400


def test_a_body_that_comes_too_slowly_is_given_up(scorer):
    app = make_app(scorer, ServeConfig(timeout_seconds=0.2))

    async def slow():
        yield b"--x\r\n"
        await asyncio.sleep(5)

    how = {"content": slow(), "headers": {"Content-Type": "multipart/form-data; boundary=x"}}
    answer = ask(app, "POST", "/v1/score", **how)
    assert (answer.status_code, answer.json()["detail"]) == (408, "the body took longer than 0.2 seconds")


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"data": {"files": "text"}}, "The method is not allowed"),
        ({"files": [("other", ("a.png", b"x"))]}, "expected images in the form's files"),
        ({"files": [("files", (None, b"text"))]}, "expected images in the form's files"),
        ({"files": [(f"t{n}", (None, b"x")) for n in range(9)]}, "Too many fields"),
        ({"files": [("t", (None, bytes(2_000)))]}, "Part exceeded"),
    ],
)
def test_a_form_without_images_or_with_much_text_is_refused(app, parts, reason):
    answer = ask(app, "POST", "/v1/score", **parts)
    assert answer.status_code == 400
    assert "data" in parts or reason in answer.json()["detail"]


def test_an_upload_that_does_not_fit_on_the_disk_is_said_to_be_the_servers_fault(app, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("starlette.requests.Request._get_form", full)
    answer = ask(app, "POST", "/v1/score", files=files(picture(0)))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert "No space left on device" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://127.0.0.1"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[bad"}, 403),
        ({"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "https://a.org", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "https://b.org"}, 200),
    ],
)
def test_a_form_of_another_site_is_refused(scorer, headers, status):
    app = make_app(scorer, ServeConfig(allowed_hosts=("b.org",)))
    assert ask(app, "POST", "/v1/score", files=files(picture(0)), headers=headers).status_code == status


def test_a_fault_of_the_network_ends_its_requests_and_not_the_server(scorer):
    class Faulty(type(scorer)):
        def __init__(self) -> None:
            self.__dict__.update(scorer.__dict__)
            self.faults = 1

        def score_prepared(self, prepared):
            if self.faults:
                self.faults -= 1
                raise MemoryError("no memory")
            return super().score_prepared(prepared)

    async def twice() -> tuple[object, Result]:
        queue = ScoringQueue(Faulty(), max_waiting=5)
        image = ImageInput("a", lambda: noise(40, 50))
        fault = (await asyncio.gather(queue.score([image]), return_exceptions=True))[0]
        (score,) = await queue.score([image])
        queue.close()
        return fault, score

    fault, score = asyncio.run(twice())
    assert isinstance(fault, MemoryError)
    assert score.ok


def test_every_kind_of_broken_file_is_an_answer(app, tmp_path):
    for number, (ending, make) in enumerate(BROKEN.values()):
        path = tmp_path / f"{number}{ending}"
        make(path)
        if path.is_file():
            answer = ask(app, "POST", "/v1/score", files=files(path.read_bytes()))
            assert answer.status_code == 200
            assert answer.json()["results"][0]["error"]


def test_the_model_and_its_scales_are_described(app, scorer):
    told = ask(app, "GET", "/v1/model").json()
    assert told["name"] == scorer.info.name
    assert [scale["cell_pixels"] for scale in told["scales"]] == sorted(
        scale["cell_pixels"] for scale in told["scales"]
    )
    assert len(told["scales"]) == 4
    assert set(told["scales"][0]) == {"cells", "cell_pixels"}  # what a scale responds to is not known
    assert told["max_files"] == 5


def test_health(app):
    assert ask(app, "GET", "/health").json() == {"status": "ok", "waiting": 0}


@pytest.mark.parametrize("path", ROUTES)
def test_the_page_and_its_files_may_load_nothing_from_elsewhere(app, path):
    answer = ask(app, "GET", path)
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert "https://" not in answer.text
    assert answer.text.replace("http://www.w3.org/2000/svg", "").count("http://") == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "0.0.0.0"])
def test_a_page_elsewhere_cannot_reach_this_machine_under_its_own_name(scorer, host):
    local = host.startswith("127")
    for allowed, foreign, status in (((), "evil.example", 400 if local else 200), (("a.org",), "evil.example", 400)):
        app = make_app(scorer, ServeConfig(host=host, allowed_hosts=allowed))
        assert ask(app, "GET", "/health", headers={"Host": foreign}).status_code == status
        assert all(ask(app, "GET", "/health", headers={"Host": name}).status_code == 200 for name in (host, *allowed))


@pytest.mark.parametrize("stripped", [False, True])
def test_below_a_path_of_a_proxy_the_page_finds_its_files(scorer, stripped):
    """A proxy may pass the path on as it is, or without its own part."""
    app = make_app(scorer, ServeConfig(root_path="/quality"))
    links = re.findall(r'(?:href|src)="([^"#]+)"', ask(app, "GET", "/" if stripped else "/quality/").text)
    assert len(links) == 4
    for link in [*links, "v1/model"]:
        assert ask(app, "GET", f"/{link}" if stripped else f"/quality/{link}").status_code == 200
    with pytest.raises(FusiqaError, match="`root_path` must be a path such as /quality, got quality/"):
        ServeConfig(root_path="quality/")


@pytest.mark.parametrize("path", ["/", "/health", "/v1/model", "/metrics"])
def test_head_is_answered_as_get_without_the_body(app, path):
    head = ask(app, "HEAD", path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == ask(app, "GET", path).headers["content-type"]


def test_names_need_not_be_ascii(app):
    (result,) = ask(app, "POST", "/v1/score", files=[("files", ("grün 花.png", picture(0)))]).json()["results"]
    assert result["name"] == "grün 花.png"


@pytest.fixture
def served(model_folder, capsys, monkeypatch):
    """Address and port of `fusiqa serve` in a thread, and what ends it."""
    import uvicorn

    servers = []
    begin = uvicorn.Server.run
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: (servers.append(self), begin(self, sockets))[1])
    monkeypatch.setattr(uvicorn.Server, "capture_signals", lambda self: __import__("contextlib").nullcontext())
    settings = ["serve", "--model", str(model_folder), "--port", "0", "--device", "cpu"]
    serving = threading.Thread(target=main, args=(settings,), daemon=True)
    serving.start()
    until = time.monotonic() + 60
    while "(Ctrl-C ends it)" not in (said := capsys.readouterr().out) and time.monotonic() < until:
        time.sleep(0.05)
    address = said.split()[3]

    def stop() -> None:
        servers[0].should_exit = True

    yield address, int(address.rpartition(":")[2]), stop
    stop()
    serving.join(20)
    assert not serving.is_alive()


def test_the_command_answers_what_it_accepted_before_it_stops(served):
    address, _, stop = served
    answers = []
    several = files(*[picture(seed, 400, 500) for seed in range(8)])
    asking = threading.Thread(
        target=lambda: answers.append(httpx.post(f"{address}/v1/score", files=several, timeout=60))
    )
    asking.start()
    until = time.monotonic() + 20
    while not httpx.get(f"{address}/health").json()["waiting"] and asking.is_alive() and time.monotonic() < until:
        time.sleep(0.01)
    stop()
    asking.join(60)
    assert [result["error"] for result in answers[0].json()["results"]] == [None] * 8


def test_slow_and_many_connections_are_bounded(served, monkeypatch):
    address, port, _ = served
    monkeypatch.setattr(connection, "HEADER_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: 127")
        slow.settimeout(10)
        assert slow.recv(100) == b""
    monkeypatch.setattr(connection, "most_connections", lambda: 2)
    monkeypatch.setattr(connection, "HEADER_SECONDS", 30)
    with contextlib.ExitStack() as held:
        for _ in range(2):
            held.enter_context(socket.create_connection(("127.0.0.1", port)))
        time.sleep(0.2)
        refused = httpx.get(f"{address}/health")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    until = time.monotonic() + 10
    while (status := httpx.get(f"{address}/health").status_code) != 200 and time.monotonic() < until:
        time.sleep(0.05)
    assert status == 200


def test_a_port_in_use_is_one_clear_error(model_folder, refused):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused("serve", "--model", model_folder, "--port", port)
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in said
