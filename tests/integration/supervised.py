"""`python -m fraudflow run` over a pipeline, as an operator starts it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.flow import ROOT, Pipeline


class Supervised:
    """A running supervisor: what it prints, its health, its processes."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self._log = log

    def output(self) -> str:
        """All that it and its processes printed."""
        return self._log.read_text(errors="replace")

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        """The status and the answer of its health server."""
        self.wait_until(lambda: "/health and" in self.output())
        (url,) = re.findall(r"(http://\S+)/health and", self.output())
        try:
            with urllib.request.urlopen(url + path, timeout=10) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    @property
    def pids(self) -> list[int]:
        """Of the flow's processes."""
        return [one["pid"] for one in self.get("/health")[1].get("processes", ())]

    def wait_ready(self) -> None:
        """Until transactions are read."""
        self.wait_until(lambda: self.get("/ready")[0] == 200)

    def wait_until(self, holds: Callable[[], Any], seconds: float = 120) -> None:
        """Ask until it holds."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"waited in vain: {self.output()[-6000:]}"
            time.sleep(0.1)

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = 120) -> int:
        """Signal it; its exit code."""
        self.process.send_signal(number)
        return self.wait(seconds)

    def wait(self, seconds: float = 120) -> int:
        """Its exit code."""
        return self.process.wait(seconds)


@contextmanager
def supervised(
    flow: Pipeline,
    *options: str,
    python_path: Path | None = None,
    environment: Mapping[str, str] | None = None,
    **settings: str,
) -> Iterator[Supervised]:
    """The supervisor with one-second epochs on the pipeline's recovery directory; ended with the block."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")}
    named = {f"FRAUD_{name}": value for name, value in {**flow.settings, **settings}.items()}
    environment = {**inherited, **(environment or {}), **named}
    if python_path is not None:
        environment["PYTHONPATH"] = f"{python_path}:{ROOT}"
    command = [sys.executable, "-m", "fraudflow", "run", "-r", str(flow.recovery), "-s", "1", *options]
    log = flow.folder / f"run-{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--health", "127.0.0.1:0"], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    running = Supervised(process, log)
    try:
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
