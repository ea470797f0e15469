"""A mirror on the loopback that knows Range and can be told to misbehave."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Mirror:
    """What the server serves and how; `requests` lists (path, Range, Authorization) of each request."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    breaks: list[int] = field(default_factory=list)  # send only so many bytes of each of the next answers
    statuses: list[int] = field(default_factory=list)  # answer the next requests so
    ranges: bool = True
    etag: bool = True
    announced: str | None = None  # X-Linked-Etag of a redirect that stands before the file
    requests: list[tuple[str, str | None]] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    mirror: Mirror

    def do_GET(self) -> None:
        mirror = self.mirror
        mirror.requests.append((self.path, self.headers.get("Range")))
        name = self.path.removeprefix("/stored").lstrip("/")
        if mirror.statuses:
            return self.send_error(mirror.statuses.pop(0))
        if name not in mirror.files:
            return self.send_error(404)
        if mirror.announced and not self.path.startswith("/stored"):
            return self._answer(302, b"", {"Location": f"/stored/{name}", "X-Linked-Etag": f'"{mirror.announced}"'})
        content = mirror.files[name]
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        headers = {"ETag": tag} if mirror.etag else {}
        start = self._start() if mirror.ranges and self.headers.get("If-Range") == tag else 0
        if start >= len(content) > 0:
            return self.send_error(416)
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self._answer(206 if start else 200, content[start:], headers)

    def _start(self) -> int:
        return int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: self.mirror.breaks.pop(0)] if self.mirror.breaks and status < 300 else body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    served = Mirror()
    handler = type("Handler", (_Handler,), {"mirror": served})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        served.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield served
        server.shutdown()
        thread.join()
