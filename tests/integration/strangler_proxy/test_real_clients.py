"""Real clients through the proxy fare as they do without it: each test is run against the site itself, too."""

from __future__ import annotations

import base64
import http.client
import itertools
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import Server, ServerConnection, serve

from tests.fixtures.browser import visit
from tests.fixtures.proxy import ProxyProcess
from tests.fixtures.site import RESOURCES, Site, frame, frames, site
from tests.fixtures.waiting import until

RESOURCES_LOADED = """
  performance.getEntriesByType("resource").map(each => [each.connectStart, each.connectEnd, each.responseStatus])
"""
GIGABYTE = 1 << 30
# Buffers each way, and what the allocator does not give back.
MOST_GROWTH = 16 << 20


@dataclass(frozen=True, kw_only=True)
class Way:
    """How the site is reached: ``worker`` is the proxy's process, None for none."""

    site: Site
    port: int
    worker: psutil.Process | None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def memory(self) -> int:
        return self.worker.memory_info().rss if self.worker else 0


@pytest.fixture(scope="module", params=["without the proxy", "through the proxy"])
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    with site() as served:
        if request.param == "without the proxy":
            yield Way(site=served, port=served.server_port, worker=None)
            return
        with ProxyProcess.origin(served.url, workers=1) as proxy:
            yield Way(site=served, port=proxy.port, worker=_worker(proxy))


def _worker(proxy: ProxyProcess) -> psutil.Process:
    children = psutil.Process(proxy.process.pid).children()
    return next(each for each in children if "strangler_proxy.worker" in each.cmdline())


def curl(*arguments: str) -> str:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed (Debian: apt-get install curl)")
    done = subprocess.run([program, "-sS", "-v", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


# --- WebSocket ---


class Echo:
    """A server that says everything again while ``may_read`` is set; ``closes`` has how clients closed."""

    def __init__(self) -> None:
        self.may_read = threading.Event()
        self.may_read.set()
        self.closes: list[int | None] = []
        self.server: Server = serve(self._serve, "127.0.0.1", 0, max_size=None, compression=None)

    @property
    def port(self) -> int:
        port: int = self.server.socket.getsockname()[1]
        return port

    def _serve(self, connection: ServerConnection) -> None:
        try:
            while True:
                self.may_read.wait(10)
                message = connection.recv()
                if message == "end":
                    connection.close(4001, "as asked")
                    return
                connection.send(message)
        except ConnectionClosed as closed:
            self.closes.append(closed.rcvd.code if closed.rcvd else None)


@contextmanager
def echoing(proxied: bool) -> Iterator[tuple[Echo, str, psutil.Process | None]]:
    echo = Echo()
    thread = threading.Thread(target=echo.server.serve_forever)
    thread.start()
    try:
        if not proxied:
            yield echo, f"ws://127.0.0.1:{echo.port}/ws", None
            return
        with ProxyProcess.origin(f"http://127.0.0.1:{echo.port}", workers=1) as proxy:
            yield echo, f"ws://127.0.0.1:{proxy.port}/ws", _worker(proxy)
    finally:
        echo.may_read.set()
        echo.server.shutdown()
        thread.join(10)


both_ways = pytest.mark.parametrize("proxied", [False, True], ids=["without the proxy", "through the proxy"])


@both_ways
def test_a_websocket_says_everything_again(proxied: bool) -> None:
    with echoing(proxied) as (_, url, _), connect(url, compression=None, max_size=None) as client:
        for message in ("", "grüße", b"\x00\xff" * 70_000, b"x" * (8 << 20)):
            client.send(message)
            assert client.recv(10) == message
        client.send(["in ", "three ", "pieces"])
        assert client.recv(10) == "in three pieces"
        assert client.ping(b"still there").wait(10)


@both_ways
def test_a_websocket_tells_each_side_why_the_other_ends(proxied: bool) -> None:
    with echoing(proxied) as (echo, url, _):
        with connect(url) as client:
            client.send("end")
            with pytest.raises(ConnectionClosed) as ended:
                client.recv(10)
        assert ended.value.rcvd is not None
        assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (4001, "as asked")
        with connect(url) as client:
            client.close(3007, "enough")
        until(lambda: echo.closes == [3007], "the server has heard why")


@both_ways
def test_a_websocket_whose_reader_is_slow_fills_no_memory(proxied: bool) -> None:
    with echoing(proxied) as (echo, url, worker), connect(url, compression=None, max_size=None) as client:
        client.send(b"warm")
        client.recv(10)
        before = worker.memory_info().rss if worker else 0
        echo.may_read.clear()
        client.send(b"the last that it may take")
        message = [bytes([at]) * (1 << 20) for at in range(64)]
        sender = threading.Thread(target=client.send, args=[message])
        sender.start()
        sender.join(1)
        assert sender.is_alive(), "64 MB were taken though nobody reads"
        grown = worker.memory_info().rss - before if worker else 0
        echo.may_read.set()
        assert (client.recv(10), client.recv(30)) == (b"the last that it may take", b"".join(message))
        sender.join(10)
        assert grown < MOST_GROWTH


# --- answers that take their time ---


def test_each_event_arrives_before_the_next_is_sent(way: Way) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", way.port, timeout=10)
    connection.request("GET", "/events", headers={"Accept": "text/event-stream"})
    way.site.events.put(b"0")
    response = connection.getresponse()
    seen, waited = [], []
    for at in range(50):
        begun = time.monotonic()
        if at:
            way.site.events.put(b"%d" % at)
        seen.append(response.readline())
        waited.append(time.monotonic() - begun)
        response.readline()
    way.site.events.put(None)
    assert response.read() == b""
    connection.close()
    assert seen == [b"data: %d\n" % at for at in range(50)]
    assert sorted(waited)[25] < 0.05  # half a millisecond on an idle machine


def test_a_long_poll_is_answered_when_there_is_news(way: Way) -> None:
    way.site.polled.clear()
    way.site.news.clear()
    connection = http.client.HTTPConnection("127.0.0.1", way.port, timeout=10)
    connection.request("GET", "/poll")
    assert way.site.polled.wait(10)
    begun = time.monotonic()
    way.site.news.set()
    assert connection.getresponse().read() == b"news"
    assert time.monotonic() - begun < 5
    connection.close()


@pytest.mark.parametrize("text", [False, True], ids=["binary", "base64"])
def test_a_call_of_grpc_web_ends_with_its_trailers(way: Way, text: bool) -> None:
    kind = "application/grpc-web-text+proto" if text else "application/grpc-web+proto"
    call = frame(0, b"hello") + frame(0, bytes(range(256)) * 100)
    connection = http.client.HTTPConnection("127.0.0.1", way.port, timeout=10)
    headers = {"Content-Type": kind, "Accept": kind, "X-Grpc-Web": "1"}
    connection.request("POST", "/shop.Shop/Say", base64.b64encode(call) if text else call, headers)
    response = connection.getresponse()
    data = response.read()
    connection.close()
    assert response.getheader("Content-Type") == kind
    assert frames(_decoded(data) if text else data) == [
        (0, b"olleh"),
        (0, (bytes(range(256)) * 100)[::-1]),
        (0x80, b"grpc-status:0\r\ngrpc-message:fine\r\n"),
    ]


def _decoded(text: bytes) -> bytes:
    """Decode base64 that was padded in its midst, once a frame."""
    return b"".join(base64.b64decode(each) for each in re.findall(rb"[^=]+=*", text))


# --- curl, h2load ---


@pytest.mark.slow
def test_curl_uploads_a_gigabyte(way: Way, tmp_path: Path) -> None:
    file = tmp_path / "zeros"
    with file.open("wb") as opened:
        opened.truncate(GIGABYTE)
    way.site.expected.clear()
    (tmp_path / "few").write_bytes(bytes(1 << 20))
    curl("-T", str(tmp_path / "few"), f"{way.url}/upload")
    before = way.memory()
    most = before
    with subprocess.Popen(
        ["curl", "-sS", "-v", "-H", "Expect: 100-continue", "-T", str(file), f"{way.url}/upload"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None:
            most = max(most, way.memory())
            _wait(process, 0.05)
        assert process.stdout is not None
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.stdout.read() == str(GIGABYTE), said
    assert "HTTP/1.1 100 Continue" in said
    assert way.site.expected[-1] == "100-continue"
    assert most - before < MOST_GROWTH


def _wait(process: subprocess.Popen[str], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


@pytest.mark.slow
def test_curl_downloads_a_gigabyte(way: Way) -> None:
    before = way.memory()
    said = curl("-o", "/dev/null", "-w", "%{size_download}", f"{way.url}/zeros?size={GIGABYTE}")
    assert said.startswith(str(GIGABYTE))
    assert way.memory() - before < MOST_GROWTH


def test_curl_uploads_what_it_does_not_know_the_size_of(way: Way) -> None:
    done = subprocess.run(
        ["curl", "-sS", "-T", "-", f"{way.url}/upload"], input=b"x" * 3_000_000, capture_output=True, check=True
    )
    assert done.stdout == b"3000000"


def test_h2load_loads(way: Way) -> None:
    program = shutil.which("h2load")
    if program is None:
        pytest.skip("h2load is not installed (Debian: apt-get install nghttp2-client)")
    done = subprocess.run(
        [program, "--h1", "-n", "1000", "-c", "8", "-m", "4", f"{way.url}/small"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "1000 total, 1000 started, 1000 done, 1000 succeeded, 0 failed, 0 errored, 0 timeout" in done.stdout
    assert "status codes: 1000 2xx" in done.stdout


# --- a browser ---


@pytest.mark.browser
def test_a_browser_loads_a_page_and_sends_a_form(way: Way, browser: Browser) -> None:
    tab = visit(browser, way.url)
    tab.go("/page")
    assert tab.page.evaluate("window.loaded") == RESOURCES
    entries = tab.page.evaluate(RESOURCES_LOADED)
    assert [status for _, _, status in entries] == list(itertools.repeat(200, RESOURCES))
    made = sum(1 for start, end, _ in entries if end > start)
    assert made <= 6, "a browser keeps six connections to a host"
    tab.page.click("button")
    tab.page.wait_for_load_state()
    assert tab.page.title() == "sent"
    assert tab.page.inner_text("body") == "böse & b"
    assert tab.complaints == []
    tab.context.close()
