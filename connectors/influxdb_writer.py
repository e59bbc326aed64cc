"""Lines into InfluxDB over HTTP, and what each of its answers means.

| answer | what is done |
| --- | --- |
| 2xx | stored |
| 400, 413, 422 | halves are sent until the bad line is alone: rejected, logged, counted, given to the caller |
| 401, 403, 404, other 4xx | InfluxRefused at once: the settings are wrong, no retry helps |
| 408, 429, 5xx, no answer | again after a random pause, at least `Retry-After`; in the end InfluxUnavailable |

A request without an answer may have been stored: sending it again is harmless, since a point with the same measurement,
tags and time overwrites the first.
"""

import contextlib
import json
import logging
import random
import re
from collections.abc import Callable, Sequence
from math import isfinite
from time import monotonic
from typing import Any, NamedTuple

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.domain.write_precision import WritePrecision
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

log = logging.getLogger(__name__)

CONNECT_MS, READ_MS = 2_000, 10_000
TELL_EVERY_S = 60.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0

_NS: Any = WritePrecision.NS  # the client's own constant, a text where its signature asks for the class
_BAD_LINES = (400, 413, 422)
_TRY_AGAIN = (408, 429)


class InfluxUnavailable(RuntimeError):
    """InfluxDB took no line until the deadline."""


class InfluxRefused(RuntimeError):
    """InfluxDB refuses the token, the organisation or the bucket."""


class RejectedLine(NamedTuple):
    """A line that InfluxDB will never take, and its reason."""

    line: bytes
    reason: str


class Target(NamedTuple):
    """Where points go. Printing it does not show the token."""

    url: str
    token: str
    org: str
    bucket: str

    def __repr__(self) -> str:
        return f"{self.bucket} at {self.url}"


class InfluxWriter:
    """Writes lines and returns when they are stored or rejected. For one thread."""

    def __init__(self, target: Target, *, deadline: float, wait: Callable[[float], bool]) -> None:
        """`deadline`: the seconds that may pass without a useful answer, inf for no end; `wait` sleeps, and says
        whether to give up."""
        self._target = target
        self._deadline = deadline
        self._until = f" for {deadline:g} s" if isfinite(deadline) else ""
        self._wait = wait
        self._client = InfluxDBClient(
            url=target.url, token=target.token, org=target.org, timeout=(CONNECT_MS, READ_MS), retries=False
        )
        self._api = self._client.write_api(write_options=SYNCHRONOUS)

    def close(self) -> None:
        """Give back the connections."""
        self._client.close()  # type: ignore[no-untyped-call]

    def write(self, lines: Sequence[bytes]) -> list[RejectedLine]:
        """Store lines; those that were rejected come back. Raises InfluxUnavailable and InfluxRefused."""
        rejected: list[RejectedLine] = []
        waiting = [lines]
        while waiting:
            part = waiting.pop()
            reason = self._send(part)
            if reason is None:
                continue
            if len(part) == 1 or _dropped(reason) == len(part):
                rejected += [RejectedLine(line, reason) for line in part]
            else:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
        return rejected

    def _send(self, lines: Sequence[bytes]) -> str | None:
        """None once the lines are stored, or why the server takes them not as they are."""
        body = b"\n".join(lines)
        began, tries = monotonic(), 0
        tell_next = began
        while True:
            retry_after = 0.0
            try:
                self._api.write(bucket=self._target.bucket, org=self._target.org, record=body, write_precision=_NS)
            except ApiException as error:
                if error.status in _BAD_LINES:
                    return _text(error)
                if 400 <= error.status < 500 and error.status not in _TRY_AGAIN:
                    raise InfluxRefused(self._refusal(error)) from error
                problem, retry_after = f"{error.status} {_text(error)}", _seconds(error.retry_after)
            except (HTTPError, OSError) as error:
                problem = str(error)
            else:
                return None
            limit = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(tries, 10))
            pause = max(random.uniform(0.0, limit), retry_after)
            tries += 1
            if monotonic() >= tell_next:
                tell_next = monotonic() + TELL_EVERY_S
                log.warning("InfluxDB (%s): %s; tried again%s", self._target, problem, self._until)
            if monotonic() + pause - began > self._deadline or self._wait(pause):
                raise InfluxUnavailable(
                    f"InfluxDB ({self._target}) took nothing for {monotonic() - began:.1f} s, {tries} tries: {problem}"
                )

    def _refusal(self, error: ApiException) -> str:
        advice = {
            401: "check FRAUD_INFLUX_TOKEN",
            403: f"the token of FRAUD_INFLUX_TOKEN may not write to bucket {self._target.bucket}",
            404: f"check FRAUD_INFLUX_URL, FRAUD_INFLUX_ORG ({self._target.org}) and FRAUD_INFLUX_BUCKET",
        }.get(error.status, "check FRAUD_INFLUX_URL")
        return f"InfluxDB ({self._target}) refuses to write, {error.status} {_text(error)}: {advice}"


def _text(error: ApiException) -> str:
    if error.status == 0:  # there was no answer: a certificate that is not trusted
        return " ".join(str(error.reason).split())[:300]
    message = error.message
    text = (message.decode(errors="replace") if isinstance(message, bytes) else str(message)).strip()
    # InfluxDB 1.8 says {"error": "…"} where 2.x has a "message", which the client has taken out already.
    with contextlib.suppress(ValueError, KeyError, TypeError):
        text = str(json.loads(text)["error"])
    return text


def _dropped(reason: str) -> int | None:
    """How many lines the server says it dropped, where it says so."""
    found = re.search(r"dropped=(\d+)", reason)
    return int(found[1]) if found else None


def _seconds(retry_after: str | None) -> float:
    # It may also be a date, which our own pause stands in for.
    return float(retry_after) if retry_after and retry_after.isdigit() else 0.0
