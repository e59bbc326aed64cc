"""An OAuth 2 server for one client: signed tokens by client credentials, as an identity provider hands them out."""

import base64
import json
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.servers.certificates import openssl

CLIENT, SECRET = "fraudflow", "client-secret"


class TokenServer:
    """`url` gives a token to who knows the client's secret; `keys`, a JWKS file, is what a broker checks it with."""

    def __init__(self, folder: Path, *, audience: str = "kafka", lifetime: int = 3600) -> None:
        self._key = folder / "tokens.key"
        self._audience, self._lifetime = audience, lifetime
        self.given = 0
        self.keys = folder / "jwks.json"
        openssl(folder, "genrsa", "-out", self._key, "2048")
        modulus = bytes.fromhex(_run("rsa", "-in", str(self._key), "-noout", "-modulus").decode().partition("=")[2])
        key = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "k1", "n": _base64(modulus), "e": "AQAB"}
        self.keys.write_text(json.dumps({"keys": [key]}))
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                outer._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/token"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def token(self, **claims: Any) -> str:
        """A signed token; `claims` replace its own."""
        now = int(time.time())
        own = {"sub": CLIENT, "aud": self._audience, "iat": now, "exp": now + self._lifetime, "scope": "kafka"}
        parts = ({"alg": "RS256", "typ": "JWT", "kid": "k1"}, {**own, **claims})
        signed = ".".join(_base64(json.dumps(part).encode()) for part in parts)
        return f"{signed}.{_base64(_run('dgst', '-sha256', '-sign', str(self._key), given=signed.encode()))}"

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        request.rfile.read(int(request.headers.get("Content-Length", 0)))
        known = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if request.headers.get("Authorization") == f"Basic {known}":
            self.given += 1
            status, answer = 200, {"access_token": self.token(), "token_type": "Bearer", "expires_in": self._lifetime}
        else:
            status, answer = 401, {"error": "invalid_client"}
        body = json.dumps(answer).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


def _run(*arguments: str, given: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=given, check=True, capture_output=True).stdout


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
