"""Health over HTTP, for Kubernetes' probes and for people: `/health` (restart me) and `/ready` (I work)."""

import json
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple


class State(NamedTuple):
    """What is answered: `healthy`: processes are alive and epochs go on; `ready`: transactions are being judged."""

    healthy: bool
    ready: bool
    details: Mapping[str, Any]


class HealthServer:
    """Answers GET with 200 or 503, and a JSON object that says why. `state` is called by several threads."""

    def __init__(self, host: str, port: int, state: Callable[[], State]) -> None:
        """Raises OSError where the address can't be had."""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                now = state()
                fine = {"/health": now.healthy, "/ready": now.ready}.get(self.path.partition("?")[0])
                if fine is None:
                    self._answer(404, {"error": "there are /health and /ready"})
                else:
                    self._answer(200 if fine else 503, now.details)

            def _answer(self, status: int, content: Mapping[str, Any]) -> None:
                body = json.dumps(content).encode() + b"\n"
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Probes come every few seconds."""

            timeout = 5  # of a client that sends nothing

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        address = self._server.server_address
        self.url = f"http://{address[0]!s}:{address[1]}"

    def start(self) -> None:
        """Answer from now on, in threads that end with the process."""
        Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
