"""What the sink makes of every answer of InfluxDB: no line is lost without a trace."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any

import bytewax.operators as op
import bytewax.testing
import pytest
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSource

from connectors import influxdb_writer
from connectors.influxdb import InfluxRefused, InfluxSink, InfluxUnavailable, LineQueue, RejectedLine, Target, encode
from tests.servers.fake_influxdb import FakeInfluxDB
from tests.servers.influxdb import InfluxDB
from tests.servers.process import free_ports

run_main: Any = bytewax.testing.run_main
TOKEN = "secret-token"


def lines(count: int, first: int = 0) -> list[bytes]:
    return [encode("m", {"t": "x"}, {"n": number}, 1_000 + number) for number in range(first, first + count)]


@contextmanager
def queue_to(url: str, bucket: str = "fraud", **options: Any) -> Iterator[LineQueue]:
    queue = LineQueue(Target(url, TOKEN, "org", bucket), **{"deadline": 20.0, **options})
    queue.open()
    try:
        yield queue
    finally:
        queue.close()


def test_a_flush_returns_when_all_is_stored() -> None:
    with FakeInfluxDB() as server, queue_to(server.url) as queue:
        queue.put(lines(12_000))
        queue.flush()
        assert server.stored == lines(12_000)
        assert len(server.requests) == 3
        assert server.tokens == {f"Token {TOKEN}"}
        assert server.paths[0] == "/api/v2/write?org=org&bucket=fraud&precision=ns"


def test_lines_are_stored_soon_without_a_flush_and_few_requests() -> None:
    with FakeInfluxDB() as server, queue_to(server.url) as queue:
        began = time.monotonic()
        for number in range(20):
            queue.put(lines(1, number))
            time.sleep(0.02)
        while len(server.stored) < 20:
            assert time.monotonic() - began < 1.5
            time.sleep(0.01)
        assert len(server.requests) <= 4


def test_points_without_a_field_are_left_out() -> None:
    with FakeInfluxDB() as server, queue_to(server.url) as queue:
        queue.put([b"", *lines(1), b""])
        queue.flush()
        assert server.stored == lines(1)


@pytest.mark.parametrize("answer", [429, 500, 502, 503, 408, "reset", "late"])
def test_what_may_pass_is_tried_again_until_it_is_stored(answer: int | str) -> None:
    with FakeInfluxDB(answer, answer) as server, queue_to(server.url) as queue:
        queue.put(lines(10))
        queue.flush()
        assert set(server.stored) == set(lines(10))
        assert len(server.requests) == 3


def test_retry_after_is_waited_for() -> None:
    with FakeInfluxDB((429, {"Retry-After": "1"})) as server, queue_to(server.url) as queue:
        queue.put(lines(1))
        queue.flush()
        (pause,) = [later - earlier for earlier, later in pairwise(server.requests)]
        assert 1.0 <= pause < 2.0


def test_a_server_that_hangs_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(influxdb_writer, "READ_MS", 300)
    with FakeInfluxDB("hang") as server, queue_to(server.url) as queue:
        queue.put(lines(3))
        queue.flush()
        assert server.stored == lines(3)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_bad_line_is_found_reported_and_costs_no_other(status: int, caplog: pytest.LogCaptureFixture) -> None:
    rejected: list[RejectedLine] = []
    bad = [b'm n="bad' + b"x" * 5_000 + b'" 1', b'm n="bad" 2']
    # 413 comes of the size: only the long line is bad then.
    server = FakeInfluxDB(limit=4_000) if status == 413 else FakeInfluxDB(poison="bad")
    expected = bad[:1] if status == 413 else bad
    with server, queue_to(server.url, on_rejected=rejected.extend) as queue, caplog.at_level(logging.ERROR):
        queue.put([*lines(700), bad[0], *lines(700, 700), bad[1], *lines(100, 1_400)])
        queue.flush()
        assert sorted({line for line in server.stored if b"bad" not in line}) == sorted(lines(1_500))
        assert sorted(line for line, _ in rejected) == sorted(expected)
        assert all("told to answer" in reason for _, reason in rejected)
        assert sum("rejects a point" in record.message for record in caplog.records) == len(expected)
        assert len(server.requests) < 100


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "FRAUD_INFLUX_TOKEN"), (403, "may not write to bucket fraud"), (404, "FRAUD_INFLUX_ORG")],
)
def test_wrong_settings_stop_at_once_and_say_which(status: int, advice: str) -> None:
    with FakeInfluxDB(status) as server, queue_to(server.url) as queue:
        queue.put(lines(1))
        with pytest.raises(InfluxRefused, match=rf"{status} told to answer.*{advice}") as refused:
            queue.flush()
        assert TOKEN not in str(refused.value)
        assert len(server.requests) == 1
        with pytest.raises(InfluxRefused):
            queue.put(lines(1))


def test_past_the_deadline_the_flow_stops_and_says_why() -> None:
    (port,) = free_ports(1)
    with queue_to(f"http://127.0.0.1:{port}", deadline=1.0) as queue:
        queue.put(lines(1))
        with pytest.raises(InfluxUnavailable, match=rf"fraud at http://127.0.0.1:{port}.*took nothing for.*refused"):
            queue.flush()


def test_a_slow_server_holds_up_nobody_who_puts() -> None:
    with FakeInfluxDB(*[503] * 4) as server, queue_to(server.url) as queue:
        began = time.monotonic()
        for number in range(1_000):
            queue.put(lines(1, number))
        assert time.monotonic() - began < 0.2
        queue.flush()
        assert set(server.stored) == set(lines(1_000))


def test_closing_in_a_crash_neither_waits_nor_raises() -> None:
    (port,) = free_ports(1)
    began = time.monotonic()
    with queue_to(f"http://127.0.0.1:{port}", deadline=60.0) as queue:
        queue.put(lines(1))
        time.sleep(0.5)
    assert time.monotonic() - began < 3


def test_in_the_engine_an_epoch_closes_only_when_its_lines_are_stored() -> None:
    with FakeInfluxDB(503, 503) as server:
        flow = Dataflow("test")
        items = [(f"key {number % 7}", lines(10, number * 10)) for number in range(100)]
        queue = LineQueue(Target(server.url, TOKEN, "org", "fraud"))
        op.output("out", op.input("in", flow, TestingSource(items)), InfluxSink(queue))
        run_main(flow, epoch_interval=timedelta(0))
        assert sorted(server.stored) == sorted(lines(1_000))


@pytest.mark.servers
def test_a_real_server_stores_each_point_once_also_when_written_twice(influxdb: InfluxDB) -> None:
    with queue_to(influxdb.url, influxdb.bucket) as queue:
        for _ in range(2):
            queue.put(lines(7_000))
            queue.flush()
    assert influxdb.query("SELECT count(n), sum(n) FROM m") == [{"time": 0, "count": 7_000, "sum": sum(range(7_000))}]


@pytest.mark.servers
def test_a_real_server_that_rejects_a_line_stores_the_others(influxdb: InfluxDB) -> None:
    rejected: list[RejectedLine] = []
    conflict = encode("m", {"t": "x"}, {"n": "a text where a number was"}, 9_999)
    broken = b"this is no line"
    with queue_to(influxdb.url, influxdb.bucket, on_rejected=rejected.extend) as queue:
        queue.put(lines(1))
        queue.flush()
        queue.put([*lines(500), conflict, *lines(500, 500), broken])
        queue.flush()
    assert influxdb.query("SELECT count(n) FROM m") == [{"time": 0, "count": 1_000}]
    assert sorted(line for line, _ in rejected) == sorted([conflict, broken])


@pytest.mark.servers
def test_a_real_server_without_the_bucket_is_a_wrong_setting(influxdb: InfluxDB) -> None:
    with queue_to(influxdb.url, "nowhere") as queue:
        queue.put(lines(1))
        with pytest.raises(InfluxRefused, match=r"nowhere at http.*404.*FRAUD_INFLUX_BUCKET"):
            queue.flush()


@pytest.mark.servers
def test_a_real_server_that_is_killed_or_paused_gets_all_when_it_is_back(own_influxdb: InfluxDB) -> None:
    with queue_to(own_influxdb.url, own_influxdb.bucket, deadline=100.0) as queue:
        queue.put(lines(100))
        queue.flush()
        own_influxdb.kill()
        queue.put(lines(100, 100))
        time.sleep(0.5)
        own_influxdb.start()
        queue.flush()
        with own_influxdb.paused():
            queue.put(lines(100, 200))
            time.sleep(0.5)
        queue.flush()
    assert own_influxdb.query("SELECT count(n) FROM m") == [{"time": 0, "count": 300}]
