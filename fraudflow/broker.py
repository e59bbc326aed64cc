"""The embedded broker: librdkafka's mock cluster, enough Kafka for the demo and the tests, in a process of its own.

Topics make themselves, with 4 partitions. A partition keeps at most 5 MB or 100,000 messages, and nothing outlives the
process. It has no topic administration and no transactions to rely on.
"""

import os
import select
import signal
import sys
from typing import Any

from confluent_kafka import Producer


def start() -> tuple[Producer, str]:
    """A running mock cluster and its address; it ends with the producer that is handed back."""
    # The broker lives inside this client, which itself sends nothing.
    config: dict[str, Any] = {"bootstrap.servers": "embedded", "test.mock.num.brokers": 1, "log_level": 0}
    cluster = Producer(config)
    brokers = cluster.list_topics(timeout=10).brokers
    address = next(iter(brokers.values()))
    return cluster, f"{address.host}:{address.port}"


def run(*, until_stdin_closes: bool) -> None:
    """Prints the address as one line, then serves until SIGTERM or Ctrl-C, or until standard input ends.

    A parent that hands over a pipe as standard input takes the broker with it however it dies.
    """
    stopped, stop = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.write(stop, b"."))
    cluster, address = start()
    print(address, flush=True)
    watched = [stopped, sys.stdin.fileno()] if until_stdin_closes else [stopped]
    while True:
        ready, _, _ = select.select(watched, [], [])
        if stopped in ready or not os.read(sys.stdin.fileno(), 4096):
            break
    del cluster
