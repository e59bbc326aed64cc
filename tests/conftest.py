"""Fixtures that any test may ask for: Kafka of both kinds and InfluxDB, started once a session when first needed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar
from uuid import uuid4

import pytest

from tests import depth
from tests.servers.influxdb import InfluxDB
from tests.servers.kafka import Cluster, Kafka, MockKafka
from tests.servers.process import Server, ServerMissing

depth.register()

S = TypeVar("S", bound=Server)


@contextmanager
def running(server: S) -> Iterator[S]:
    """The server for as long as the block runs; where it can't be had the test is skipped, or fails in CI."""
    try:
        server.__enter__()
    except ServerMissing as missing:
        if os.environ.get("FRAUDFLOW_REQUIRE_SERVERS") == "1":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))
    try:
        yield server
    finally:
        server.__exit__(None, None, None)


@pytest.fixture(scope="session")
def real_kafka() -> Iterator[Kafka]:
    """A real broker that all tests of the session share: use topics of your own, and do not hurt it."""
    with running(Kafka()) as broker:
        yield broker


@pytest.fixture(scope="session")
def mock_kafka() -> Iterator[MockKafka]:
    """The embedded cluster that all tests of the session share."""
    cluster = MockKafka()
    yield cluster
    cluster.close()


@pytest.fixture
def own_kafka() -> Iterator[Kafka]:
    """A real broker for one test, which may do anything to it."""
    with running(Kafka()) as broker:
        yield broker


@pytest.fixture(params=["mock", pytest.param("real", marks=pytest.mark.servers)])
def kafka(request: pytest.FixtureRequest) -> Cluster:
    """Each test that asks for it runs on the embedded cluster and on a real broker."""
    cluster: Cluster = request.getfixturevalue(f"{request.param}_kafka")
    return cluster


@pytest.fixture
def topic(kafka: Cluster) -> str:
    """A new topic with 4 partitions."""
    name = f"topic-{uuid4().hex[:8]}"
    kafka.create_topic(name)
    return name


@pytest.fixture(scope="session")
def _shared_influxdb() -> Iterator[InfluxDB]:
    with running(InfluxDB()) as server:
        yield server


@pytest.fixture
def influxdb(_shared_influxdb: InfluxDB) -> InfluxDB:
    """A real InfluxDB whose bucket is empty."""
    _shared_influxdb.empty()
    return _shared_influxdb


@pytest.fixture
def own_influxdb() -> Iterator[InfluxDB]:
    """A real InfluxDB for one test, which may do anything to it."""
    with running(InfluxDB()) as server:
        yield server
