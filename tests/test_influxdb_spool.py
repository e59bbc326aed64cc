"""With a spool InfluxDB's troubles stop and delay nothing, and no point is missing in the end."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from connectors import influxdb
from connectors.influxdb import InfluxUnavailable, LineQueue, Target, encode
from connectors.influxdb_spool import Spool, SpoolFull
from tests.servers.fake_influxdb import FakeInfluxDB
from tests.servers.influxdb import InfluxDB
from tests.test_influxdb_sink import lines

TARGET = "http://127.0.0.1:1"


@contextmanager
def queue_to(url: str, folder: Path, bucket: str = "fraud", most: int = 10**9) -> Iterator[LineQueue]:
    queue = LineQueue(Target(url, "token", "org", bucket), spool=Spool(folder, most))
    queue.open()
    try:
        yield queue
    finally:
        queue.close()


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.lines"))


def wait_until(holds: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_server_that_keeps_up_leaves_nothing_on_disk(tmp_path: Path) -> None:
    with FakeInfluxDB() as server, queue_to(server.url, tmp_path) as queue:
        for number in range(10):
            queue.put(lines(1_000, number * 1_000))
            queue.flush()
        wait_until(lambda: set(server.stored) == set(lines(10_000)))
        wait_until(lambda: not files(tmp_path))


@pytest.mark.parametrize("answer", [503, 429, 500, 401, 404, "reset", "hang"])
def test_a_flush_does_not_wait_for_a_server_in_trouble_and_all_arrives_in_order(
    tmp_path: Path, answer: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(influxdb, "REFUSED_PAUSE_S", 0.2)
    monkeypatch.setattr("connectors.influxdb_writer.READ_MS", 1_000)
    monkeypatch.setattr("connectors.influxdb_writer.LONGEST_PAUSE_S", 0.5)
    with FakeInfluxDB(*[answer] * 4) as server, queue_to(server.url, tmp_path) as queue:
        for number in range(5):
            queue.put(lines(100, number * 100))
            queue.flush()
        wait_until(lambda: set(server.stored) >= set(lines(500)))
        wait_until(lambda: not files(tmp_path))
        newest_last = list(dict.fromkeys(reversed(server.stored)))[::-1]
        assert newest_last == lines(500)


def test_what_is_on_disk_is_sent_by_the_next_run(tmp_path: Path) -> None:
    with queue_to(TARGET, tmp_path) as queue:
        for number in range(3):
            queue.put(lines(10, number * 10))
            queue.flush()
    assert [file.read_bytes().split(b"\n") for file in files(tmp_path)] == [lines(10), lines(10, 10), lines(10, 20)]
    (tmp_path / "1-torn.part").write_bytes(b"m n=1i")
    with FakeInfluxDB() as server, queue_to(server.url, tmp_path) as queue:
        queue.put(lines(10, 30))
        queue.flush()
        wait_until(lambda: server.stored == lines(40))
        wait_until(lambda: not files(tmp_path))


def test_of_several_processes_one_takes_over_what_was_left(tmp_path: Path) -> None:
    first = Spool(tmp_path, 10**9)
    first.open()
    first.append(lines(5))
    second, third = Spool(tmp_path, 10**9), Spool(tmp_path, 10**9)
    second.open()
    assert second.oldest() is None
    second.append(lines(5, 5))
    assert second.size
    first.close()
    third.open()
    found = []
    while (oldest := third.oldest()) is not None:
        found += oldest[1]
        third.sent(oldest[0])
    assert found == lines(10)
    assert second.oldest() is None


def test_too_much_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    with queue_to(TARGET, tmp_path, most=1_000_000) as queue:
        text = encode("m", {}, {"text": "x" * 1_000}, 1)
        queue.put([text] * 900)
        queue.flush()
        queue.put([text] * 900)
        with pytest.raises(InfluxUnavailable, match="FRAUD_INFLUX_SPOOL_BYTES allows no more"):
            queue.flush()
    assert [file.read_bytes().count(b"\n") for file in files(tmp_path)] == [899]


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 10**9)
    spool.open()
    (tmp_path / "spool" / "owner.lock").unlink()
    (tmp_path / "spool").rmdir()
    with pytest.raises(SpoolFull, match=r"can't be kept in .*spool: No such file"):
        spool.append(lines(1))


def test_memory_is_bounded_between_flushes(tmp_path: Path) -> None:
    text = encode("m", {}, {"text": "x" * 10_000}, 1)
    with queue_to(TARGET, tmp_path) as queue:
        for _ in range(20):
            queue.put([text] * 100)
            assert sum(map(len, queue._lines)) <= influxdb.SPOOLED_BEYOND_BYTES + 100 * len(text)
        queue.flush()
    assert sum(len(file.read_bytes().split(b"\n")) for file in files(tmp_path)) == 2_000


@pytest.mark.servers
def test_a_real_server_that_comes_and_goes_has_every_point_once(own_influxdb: InfluxDB, tmp_path: Path) -> None:
    chance, sent = random.Random(3), 0
    with queue_to(own_influxdb.url, tmp_path, own_influxdb.bucket) as queue:
        for turn in range(6):
            if turn % 2:
                own_influxdb.kill()
            for _ in range(4):
                count = chance.randint(1, 700)
                queue.put(lines(count, sent))
                sent += count
                queue.flush()
            if turn % 2:
                own_influxdb.start()
        wait_until(lambda: not files(tmp_path))
        queue.flush()
        wait_until(lambda: own_influxdb.query("SELECT count(n) FROM m")[0]["count"] == sent)
    assert own_influxdb.query("SELECT sum(n) FROM m")[0]["sum"] == sent * (sent - 1) // 2
