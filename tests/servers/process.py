"""A server as a child process: built once into a cache outside the repository, and treated badly on request."""

import fcntl
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self


class ServerMissing(Exception):
    """A server can't be had on this machine; the message says in one line what is missing."""


def free_ports(count: int) -> list[int]:
    """Loopback ports that nothing listens on; taken at once, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def tool(name: str, purpose: str) -> str:
    """The path of a program. Raises ServerMissing."""
    path = shutil.which(name)
    if path is None:
        raise ServerMissing(f"{purpose} needs {name}, which is not on the PATH")
    return path


def cached(name: str, recipe: Sequence[Path], build: Callable[[Path], None]) -> Path:
    """The folder that `build` fills, made once for each content of the `recipe` files. Raises ServerMissing."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fraudflow" / "servers"
    cache.mkdir(parents=True, exist_ok=True)
    content = hashlib.sha256(b"".join(path.read_bytes() for path in recipe)).hexdigest()[:12]
    folder = cache / f"{name}-{content}"
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=cache))
            try:
                build(unfinished)
                unfinished.rename(folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def run_tool(command: Sequence[str], what: str, cwd: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run a build step. Raises ServerMissing with its last words where it fails, for instance without a network."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        words = (done.stderr + done.stdout).strip().splitlines()
        raise ServerMissing(f"{what} could not be fetched: {words[-1] if words else done.returncode}")


class Server(ABC):
    """A server that runs while the `with` block does; its data are kept over `restart` and deleted at the end."""

    name: str
    start_timeout = 60.0

    def __init__(self) -> None:
        self.folder = Path()
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Write configuration and data folders into `folder`, once. Raises ServerMissing."""

    @abstractmethod
    def command(self) -> tuple[list[str], dict[str, str]]:
        """What to run, and the environment to add."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers."""

    @abstractmethod
    def address(self) -> str:
        """Where it is, for people."""

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process."""
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Start with the data that are there; returns when it answers."""
        command, environment = self.command()
        with (self.folder / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal is for the tests, which then stop their servers
            )
        deadline = time.monotonic() + self.start_timeout
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                words = (self.folder / "output.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.name} did not start:\n{words}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a power cut of the process would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill it, and start it on the same ports with the same data."""
        self.kill()
        self.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """It keeps its connections and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()
