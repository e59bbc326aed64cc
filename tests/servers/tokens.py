"""An OAuth 2 server for one client: signed tokens by client credentials, as an identity provider hands them out."""

import base64
import json
import subprocess
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.servers.certificates import openssl
from tests.servers.local_http import LocalHttp

CLIENT, SECRET = "fraudflow", "client-secret"


class TokenServer(LocalHttp):
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
        super().__init__()
        self.url += "/token"

    def token(self, **claims: Any) -> str:
        """A signed token; `claims` replace its own."""
        now = int(time.time())
        own = {"sub": CLIENT, "aud": self._audience, "iat": now, "exp": now + self._lifetime, "scope": "kafka"}
        parts = ({"alg": "RS256", "typ": "JWT", "kid": "k1"}, {**own, **claims})
        signed = ".".join(_base64(json.dumps(part).encode()) for part in parts)
        return f"{signed}.{_base64(_run('dgst', '-sha256', '-sign', str(self._key), given=signed.encode()))}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """A token for who knows the secret, 401 for others."""
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
