"""Proxies before the same slots, each one process on the first core: nginx, HAProxy, Tenantry's router."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from processes import free_port, running
from wrk import Server

_NGINX = """
daemon off; master_process off; pid {folder}/proxy.pid; error_log stderr error;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/temp;
  upstream slots {{ hash $uri consistent; {servers} keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://slots; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""
_HAPROXY = """
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend proxy
  bind 127.0.0.1:{port}
  default_backend slots
backend slots
  balance uri
  hash-type consistent
  hash-balance-factor 125
  {servers}
"""


def nginx(folder: Path, slots: Sequence[int]) -> AbstractContextManager[Server]:
    """Ketama's hash ring over the path, kept-alive connections to the slots."""
    port, config = free_port(), folder / "proxy.conf"
    servers = " ".join(f"server 127.0.0.1:{slot};" for slot in slots)
    config.write_text(_NGINX.format(folder=folder, servers=servers, port=port))
    return one_process("nginx", ["nginx", "-c", str(config)], port)


def haproxy(folder: Path, slots: Sequence[int]) -> AbstractContextManager[Server]:
    """A hash ring over the path with bounded loads; a slot's place follows from its port."""
    port, config = free_port(), folder / "haproxy.cfg"
    servers = "\n  ".join(f"server slot{slot} 127.0.0.1:{slot} id {slot}" for slot in slots)
    config.write_text(_HAPROXY.format(servers=servers, port=port))
    return one_process("haproxy", ["haproxy", "-q", "-db", "-f", str(config)], port)


def router(snapshot: Path) -> AbstractContextManager[Server]:
    """Tenantry's router as it is deployed, from a folder of slices and addresses."""
    port = free_port()
    command = [sys.executable, "-m", "tenantry_router", "--snapshot", str(snapshot), "--port", str(port)]
    return one_process("tenantry", [*command, "--log-level", "warning"], port)


@contextlib.contextmanager
def one_process(name: str, command: list[str], port: int) -> Iterator[Server]:
    """This command on the first core; the client and the slots have the last."""
    with running(command, port, core=0) as process:
        yield Server(name, port, (process.pid,))
