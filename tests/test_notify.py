"""What a process tells its supervisor arrives as systemd's protocol has it, and nobody waits where nobody listens."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.notify import Notifier
from fraudflow.run.told import Failure, Told

ROOT = Path(__file__).parent.parent


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.settimeout(5)
        yield listening


def test_messages_are_those_of_systemd(listener: socket.socket) -> None:
    notifier = Notifier(listener.getsockname())
    for tell in (notifier.ready, notifier.ready, notifier.epoch, notifier.epoch, notifier.stopping):
        tell()
    assert [listener.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]


def test_an_abstract_socket_is_found() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0fraudflow-{os.getpid()}")
        Notifier(f"@fraudflow-{os.getpid()}").ready()
        assert listening.recv(100) == b"READY=1"


def test_the_supervisor_understands_all_of_it(listener: socket.socket) -> None:
    notifier, told = Notifier(listener.getsockname()), Told()
    notifier.reached()
    notifier.ready()
    notifier.epoch()
    notifier.refused("first\nsecond")
    notifier.restart("more partitions")
    notifier.failed("decide", "ValueError: x\ny", {"transaction_id": "t1", "user_id": "ü"})
    notifier.failed("train", "its consequence", {})
    for _ in range(7):
        told.hear(listener.recv(10_000), now=5.0)
    assert (told.reached, told.ready, told.epochs, told.last) == (True, True, 1, 5.0)
    assert (told.refused, told.restart) == ("first\nsecond", "more partitions")
    assert told.failure == Failure("decide", "ValueError: x\ny", (("transaction_id", "t1"), ("user_id", "ü")))


@pytest.mark.parametrize("message", [b"", b"MAINPID=7", b"\xff\xfe", b"STATUS=well"])
def test_what_others_say_is_passed_over(message: bytes) -> None:
    told = Told()
    told.hear(message, now=1.0)
    assert (told.ready, told.epochs, told.last) == (False, 0, float("-inf"))


@pytest.mark.parametrize("address", [None, "", "/nowhere/at/all"])
def test_without_a_listener_nothing_happens(address: str | None) -> None:
    notifier = Notifier(address)
    notifier.ready()
    notifier.epoch()
    notifier.failed("decide", "x", {})


def test_it_is_as_the_environment_has_it(listener: socket.socket) -> None:
    code = "from connectors.notify import notifier; notifier().ready()"
    environment = {**os.environ, "NOTIFY_SOCKET": listener.getsockname()}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)
    assert listener.recv(100) == b"READY=1"
