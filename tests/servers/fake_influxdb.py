"""A stand-in for InfluxDB 2.x that answers as a test tells it to: what no real server can be made to do on request."""

import gzip
import re
import socket
import ssl
import struct
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler
from types import TracebackType

from tests.servers.local_http import LocalHttp


class FakeInfluxDB(LocalHttp):
    """Takes `answers` off the left, one a request, and 204 when none is left.

    An answer is a status, `(status, headers)`, "reset" (cuts the connection), "hang" (answers nothing), or "late"
    (stores the lines, then cuts). Lines that match `poison` make a request a 400, as one whole; `limit` is the size
    of a body in bytes beyond which it is 413.
    """

    def __init__(self, *answers: int | str | tuple[int, dict[str, str]], poison: str = "", limit: int = 10**9) -> None:
        self.answers = deque(answers)
        self.poison = re.compile(poison.encode()) if poison else None
        self.limit = limit
        self.stored: list[bytes] = []
        self.requests: list[float] = []
        self.paths: list[str] = []
        self.tokens: set[str | None] = set()
        self._released = threading.Event()
        super().__init__()

    def serve_with(self, context: ssl.SSLContext) -> None:
        """Over TLS, before it is entered."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = self.url.replace("http://", "https://")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        super().__exit__(kind, error, trace)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.requests.append(time.monotonic())
        self.paths.append(request.path)
        self.tokens.add(request.headers.get("Authorization"))
        lines = body.split(b"\n")
        given = self.answers.popleft() if self.answers else self._judge(body, lines)
        status, headers = given if isinstance(given, tuple) else (given, {})
        if status in (204, "late"):
            self.stored += lines
        if status == "hang":
            self._released.wait(30)
        if isinstance(status, str):
            # Lingering for no time makes the close a reset.
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.close_connection = True
            request.connection.close()
            return
        text = b"" if status == 204 else b'{"code":"test","message":"told to answer %d"}' % status
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(text))}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(text)

    def _judge(self, body: bytes, lines: list[bytes]) -> int:
        if len(body) > self.limit:
            return 413
        return 400 if self.poison and any(map(self.poison.search, lines)) else 204
