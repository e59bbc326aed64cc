"""A Schema Registry as far as serialisers and deserialisers ask it: schemas by number, subjects, and a user."""

import base64
import json
from collections import deque
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.servers.local_http import LocalHttp

ANY = "application/vnd.schemaregistry.v1+json"


class SchemaRegistry(LocalHttp):
    """`answers` are statuses to give first, one a request; with a `user` and `password` others are refused."""

    def __init__(self, *answers: int, user: str = "", password: str = "") -> None:
        self.answers = deque(answers)
        self.schemas: list[dict[str, Any]] = []
        self.asked: list[str] = []
        known = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._authorization = f"Basic {known}" if user else None
        super().__init__()

    def register(self, schema: Any, kind: str = "AVRO", **more: Any) -> int:
        """A schema's number."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        found = {"schema": text, "schemaType": kind, **more}
        if found not in self.schemas:
            self.schemas.append(found)
        return self.schemas.index(found) + 1

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """A schema, or its number; or what a test wants to be answered."""
        length = int(request.headers.get("Content-Length", 0))
        body = json.loads(request.rfile.read(length)) if request.command == "POST" else None
        self.asked.append(request.path)
        status, answer = self._judge(request.path.partition("?")[0].strip("/").split("/"), body)
        if self._authorization and request.headers.get("Authorization") != self._authorization:
            status, answer = 401, {"error_code": 401, "message": "Unauthorized"}
        if self.answers:
            status = self.answers.popleft()
            answer = {"error_code": status, "message": "told to"}
        text = json.dumps(answer).encode()
        request.send_response(status)
        request.send_header("Content-Type", ANY)
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)

    def _judge(self, path: list[str], body: dict[str, Any] | None) -> tuple[int, dict[str, Any]]:
        match path:
            case ["schemas", "ids", number] if 0 < int(number) <= len(self.schemas):
                return 200, self.schemas[int(number) - 1]
            case ["subjects", subject, "versions"] if body is not None:
                number = self.register(body["schema"], body.get("schemaType", "AVRO"))
                return 200, {"subject": subject, "version": 1, "id": number, **body}
        return 404, {"error_code": 40403, "message": "Schema not found"}
