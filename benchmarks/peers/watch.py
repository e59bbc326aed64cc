"""A system seen from outside: its alerts as the broker has them, its time and memory as the kernel has them."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import orjson
from confluent_kafka import Consumer, TopicPartition

TICKS: Final = os.sysconf("SC_CLK_TCK")


class Alert(NamedTuple):
    """One record of the output topic. `appended` is the broker's time in ms."""

    transaction_id: str
    rules: frozenset[str]
    appended: int


class Usage(NamedTuple):
    """Of a process and its threads: seconds of processor time so far, peak memory in MB."""

    seconds: float
    megabytes: float


def usage_of(pid: int) -> Usage:
    """As /proc has it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = Path(f"/proc/{pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return Usage((int(fields[11]) + int(fields[12])) / TICKS, int(peak.split()[1]) / 1024)


class Output:
    """Reads what a system writes."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        self.alerts: list[Alert] = []
        config = {"bootstrap.servers": bootstrap, "group.id": "watch", "enable.auto.commit": False}
        self._consumer = Consumer({**config, "auto.offset.reset": "earliest"})
        self._consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])

    def read(self) -> int:
        """Take what has come; how many."""
        records = self._consumer.consume(10_000, 0.05)
        for record in records:
            value = orjson.loads(record.value() or b"{}")
            rules = (rule if isinstance(rule, str) else rule["id"] for rule in value["rules"])
            self.alerts.append(Alert(value["transaction_id"], frozenset(rules), record.timestamp()[1]))
        return len(records)

    def close(self) -> None:
        self._consumer.close()


def follow(
    output: Output, pid: int, is_done: Callable[[], bool], is_running: Callable[[], bool], patience: float
) -> Usage:
    """Read until all is there, or until nothing has come for `patience` seconds; the usage when the last alert came."""
    last, usage = time.monotonic(), usage_of(pid)
    while not is_done() and is_running():
        if output.read():
            last, usage = time.monotonic(), usage_of(pid)
        elif time.monotonic() - last > patience:
            break
    return usage
