"""InfluxDB over TLS: a certificate that is trusted, and one that isn't."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.influxdb import InfluxUnavailable, LineQueue, Target
from tests.servers.certificates import Authority
from tests.servers.fake_influxdb import FakeInfluxDB
from tests.servers.process import ServerMissing


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    try:
        return Authority.make(tmp_path)
    except ServerMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def influxdb(authority: Authority) -> Iterator[FakeInfluxDB]:
    key, certificate = authority.vouch("influxdb")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = FakeInfluxDB()
    server.serve_with(context)
    with server:
        yield server


def write(server: FakeInfluxDB, deadline: float) -> None:
    queue = LineQueue(Target(server.url, "hush-hush", "o", "b"), deadline=deadline)
    queue.open()
    queue.put([b"m f=1 1"])
    try:
        queue.flush()
    finally:
        queue.close()


def test_an_authority_of_ones_own(
    influxdb: FakeInfluxDB, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    write(influxdb, 10)
    assert influxdb.stored == [b"m f=1 1"]


def test_a_certificate_that_is_not_trusted_gets_nothing(influxdb: FakeInfluxDB) -> None:
    with pytest.raises(InfluxUnavailable, match="CERTIFICATE_VERIFY_FAILED") as refused:
        write(influxdb, 0.5)
    assert influxdb.stored == []
    assert influxdb.tokens == set()
    assert "hush" not in str(refused.value)
