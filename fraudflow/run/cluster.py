"""The processes of one start of the flow, and what they tell: by their sockets, their output, their exit codes."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import NamedTuple

from connectors.drain import PARENT
from connectors.notify import SOCKET
from fraudflow.run.told import Told

ROOT = Path(__file__).parents[2]


class Options(NamedTuple):
    """How the flow is run. `recovery` None: without state; `interval`: seconds of an epoch."""

    processes: int = 1
    workers: int = 1
    recovery: Path | None = None
    interval: int = 10
    backup: int = 0


class Member:
    """One process: started at once, heard of by `listen`."""

    def __init__(self, number: int, command: Sequence[str], folder: Path, output: Callable[[int, bytes], None]) -> None:
        self.number = number
        self.told = Told()
        path = folder / f"{number}.sock"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        places = {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **places, SOCKET: str(path), PARENT: str(os.getpid()), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Ctrl-C in a terminal is for the supervisor, which then asks each process to drain.
            start_new_session=True,
        )
        self._copier = Thread(target=self._copy, args=(output,), daemon=True)
        self._copier.start()

    def _copy(self, output: Callable[[int, bytes], None]) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            output(self.number, line)

    def listen(self) -> None:
        """Take in what it has told since."""
        while True:
            try:
                self.told.hear(self._socket.recv(65_536), monotonic())
            except BlockingIOError:
                return

    def close(self) -> None:
        """Once it has ended: take in its last words."""
        self.process.wait()
        self._copier.join(5)
        self.listen()
        self._socket.close()


class Cluster:
    """All processes of one start. Use as a context: at its end none is left."""

    def __init__(self, options: Options, output: Callable[[int, bytes], None]) -> None:
        self.started = monotonic()
        self._folder = tempfile.TemporaryDirectory(prefix="fraudflow-")
        folder = Path(self._folder.name)
        addresses = ";".join(f"127.0.0.1:{port}" for port in free_ports(options.processes))
        self.members: list[Member] = []
        try:
            for number in range(options.processes):
                self.members.append(Member(number, command(options, number, addresses), folder, output))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End what still runs, at once."""
        self.signal(signal.SIGKILL)
        for member in self.members:
            member.close()
        self._folder.cleanup()

    def listen(self) -> None:
        """Take in what the processes have told since."""
        for member in self.members:
            member.listen()

    def signal(self, number: signal.Signals) -> None:
        """To each process that runs."""
        for member in self.members:
            if member.process.poll() is None:
                member.process.send_signal(number)

    @property
    def codes(self) -> list[int | None]:
        """The exit codes; None of a process that runs."""
        return [member.process.poll() for member in self.members]

    @property
    def ready(self) -> bool:
        """All have reached their sources, and transactions are read."""
        told = [member.told for member in self.members]
        return all(one.reached for one in told) and any(one.ready for one in told)

    @property
    def last_progress(self) -> float:
        """When something went on: an epoch has ended (which takes all processes), or a source was reached."""
        return max([self.started, *(member.told.last for member in self.members)])


def command(options: Options, number: int, addresses: str) -> list[str]:
    """How process `number` is started; `addresses` are those of all."""
    words = [sys.executable, "-m", "bytewax.run", "flows.fraud:get_flow", "-w", str(options.workers)]
    # The engine takes an interval of its own only together with a recovery directory.
    if options.recovery is not None:
        words += ["-r", str(options.recovery), "-s", str(options.interval), "-b", str(options.backup)]
    if options.processes > 1:
        words += ["-i", str(number), "-a", addresses]
    return words


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
