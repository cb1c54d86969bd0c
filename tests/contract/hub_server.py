"""A web server of files, whose answers a test may hold up; and its store, installed as a user would."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cluster.ports import LOOPBACK

PACKAGE = Path(__file__).parents[2] / "examples/hub-store"

Answer = Callable[["BaseHTTPRequestHandler"], None]


def install_hub_store(folder: Path) -> Path:
    """The package in a folder of its own, for a path of modules."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    command += ["--disable-pip-version-check", "--no-index", "--target", str(folder), str(PACKAGE)]
    subprocess.run(command, check=True)
    return folder


class HubServer:
    """`files` by path. `answers` by path do what they like with a request."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, Answer] = {}
        self.ended = threading.Event()
        """Set at the end, so that held up answers go."""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub._answer(self)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._server.daemon_threads = True
        self._server.request_queue_size = 512
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()

    def uri(self, path: str) -> str:
        return f"hub://{LOOPBACK}:{self.port}{path}"

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        if request.path in self.answers:
            self.answers[request.path](request)
            return
        content = self.files.get(request.path)
        if content is None:
            request.send_error(404)
            return
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        if request.headers.get("If-Match", tag) != tag:
            request.send_error(412)
            return
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        request.send_response(206 if asked else 200)
        request.send_header("ETag", tag)
        request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(content[start:])
