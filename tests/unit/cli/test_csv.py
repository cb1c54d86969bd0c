"""Tables in CSV files, as `predict -f` sends them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from shell import Shell


class _Echo(BaseHTTPRequestHandler):
    """Answers with the body that it was sent."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def router() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Echo) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_number_arrives_as_it_was_written_and_an_empty_cell_as_null(
    tenantry: Shell, tmp_path: Path, router: str
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("tiny,exact,city\n1e-20,0.12345678901234567,oslo\n,2,\n")
    answer = tenantry("predict", "acme", "-f", rows, "--url", router)
    assert answer.code == 0
    assert json.loads(answer.out) == {
        "columns": ["tiny", "exact", "city"],
        "data": [[1e-20, 0.12345678901234567, "oslo"], [None, 2.0, None]],
    }


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("a,b\n1,2\n3\n", "line 3 has 1 values, but the headings are 2"),
        ("a,b\n1,2,3\n", "line 2 has 3 values, but the headings are 2"),
        ("", "its first line names no columns"),
    ],
)
def test_what_is_no_table_is_not_padded_into_one(
    tenantry: Shell, tmp_path: Path, content: str, sentence: str
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text(content)
    answer = tenantry("predict", "acme", "-f", rows)
    assert answer.code == 1
    assert sentence in answer.err
