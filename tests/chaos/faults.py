"""The faults: each is done to a system under steady traffic, and returns a row of the table."""

import os
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from tests.chaos.brokers import Brokers
from tests.chaos.traffic import RULES, Outcome, Traffic
from tests.integration.flow import Pipeline, pipeline
from tests.integration.supervised import Supervised, supervised
from tests.servers.influxdb import BUCKET, InfluxDB
from tests.servers.kafka import Cluster, Kafka
from tests.servers.process import tool

RATE = 50.0
SETTLED_S = 5.0
"""Of undisturbed traffic before and after a fault."""


class Broker(Kafka):
    """A real one, which on a busy machine may take its time to come back."""

    start_timeout = 180.0


class Row(NamedTuple):
    """A line of the table."""

    fault: str
    outcome: Outcome
    restarts: int
    note: str

    @property
    def survived(self) -> bool:
        """Nothing lost, nothing repeated."""
        return self.outcome.lost == self.outcome.repeated == 0


class System(NamedTuple):
    """What a fault is done to."""

    flow: Pipeline
    run: Supervised
    traffic: Traffic

    def settle(self) -> None:
        """Undisturbed for a while."""
        time.sleep(SETTLED_S)

    def row(self, fault: str, note: str = "") -> Row:
        """What came of it; the flow must drain in the end."""
        self.settle()
        outcome = self.traffic.finish()
        restarts = self.run.get("/health")[1]["restarts"]
        began = time.monotonic()
        code = self.run.end()
        drained = f"drained in {time.monotonic() - began:.1f} s"
        assert code == 0, self.run.output()[-4000:]
        return Row(fault, outcome, restarts, "; ".join(filter(None, [note, drained])))


@contextmanager
def system(
    kafka: Cluster,
    *,
    half_by_one: bool = False,
    rate: float = RATE,
    environment: Mapping[str, str] | None = None,
    **settings: str,
) -> Iterator[System]:
    """Two processes under traffic, once they are settled."""
    with TemporaryDirectory() as folder, pipeline(kafka, MODEL_FILE="", **settings) as flow:
        rules = Path(folder) / "rules.toml"
        rules.write_text(RULES)
        flow.settings["RULES_FILE"] = str(rules)
        with supervised(flow, "-p", "2", environment=environment) as run:
            run.wait_ready()
            one = System(flow, run, Traffic(flow, rate, half_by_one))
            one.settle()
            yield one


def broker_killed(seconds: float) -> Row:
    """The only broker dies and comes back."""
    with Broker() as kafka, system(kafka) as one:
        kafka.kill()
        time.sleep(seconds)
        kafka.start()
        return one.row(f"broker killed for {seconds:g} s")


def broker_paused(seconds: float) -> Row:
    """The only broker keeps its connections and answers nothing."""
    with Broker() as kafka, system(kafka) as one:
        with kafka.paused():
            time.sleep(seconds)
        return one.row(f"broker paused for {seconds:g} s")


def leader_gone(seconds: float) -> Row:
    """Of three brokers the one dies that leads a partition of the transactions."""
    with Brokers() as kafka, system(kafka) as one:
        leader = kafka.leader(one.flow.topics["TRANSACTION_TOPICS"], 0)
        leader.kill()
        time.sleep(seconds)
        leader.start()
        return one.row(f"leader of a partition gone for {seconds:g} s", "3 brokers")


def influxdb_away(seconds: float) -> Row:
    """InfluxDB is down; alerts go on, and all points are there in the end."""
    with Broker() as kafka, InfluxDB() as influxdb:
        target = {"INFLUX_URL": influxdb.url, "INFLUX_TOKEN": "any:token", "INFLUX_BUCKET": BUCKET}
        with system(kafka, **target) as one:
            influxdb.kill()
            time.sleep(seconds)
            influxdb.start()
            spool = one.flow.recovery / "influxdb-spool"
            one.run.wait_until(lambda: not list(spool.glob("*.lines")), 120)
            row = one.row(f"InfluxDB away for {seconds:g} s")
            if list(spool.glob("*.lines")):  # a slow answer at the very end: for the next run
                with supervised(one.flow) as next_run:
                    next_run.wait_until(lambda: not list(spool.glob("*.lines")), 120)
            points = influxdb.query("SELECT count(alert_id) FROM fraud_alert")[0]["count"]
            lost = row.outcome.lost + abs(row.outcome.expected - points)
            return row._replace(outcome=row.outcome._replace(lost=lost), note=f"{points:,} points; {row.note}")


def drain_with_influxdb_away(seconds: float) -> Row:
    """SIGTERM while InfluxDB is down: the note tells how long the drain takes."""
    with Broker() as kafka:
        target = {"INFLUX_URL": "http://127.0.0.1:9", "INFLUX_TOKEN": "any:token", "DELIVERY_TIMEOUT": "10m"}
        with system(kafka, **target) as one:
            time.sleep(seconds)
            return one.row("SIGTERM with InfluxDB away")


def processes_killed(times: int) -> Row:
    """kill -9 of one process after the other."""
    with Broker() as kafka, system(kafka) as one:
        for number in range(times):
            one.run.wait_ready()
            time.sleep(1 + number % 3)
            os.kill(one.run.pids[number % 2], signal.SIGKILL)
            one.run.wait_until(lambda wanted=number + 1: one.run.get("/health")[1]["restarts"] >= wanted)
        return one.row(f"a process killed {times} times")


def clock_jumps(seconds: float) -> Row:
    """The clock of the flow's processes goes an hour ahead, and back."""
    with TemporaryDirectory() as folder, Broker() as kafka:
        library, offset = Path(folder) / "clock.so", Path(folder) / "offset"
        source = Path(__file__).with_name("clock.c")
        compiler = [tool("gcc", "a clock that jumps"), "-shared", "-fPIC", "-O1"]
        subprocess.run([*compiler, "-o", str(library), str(source), "-ldl"], check=True)
        offset.write_bytes(struct.pack("q", 0))
        shifted = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(offset)}
        with system(kafka, environment=shifted) as one:
            jump(offset, 3600)
            time.sleep(seconds)
            jump(offset, 0)
            return one.row("clock an hour ahead, and back")


def jump(offset: Path, seconds: int) -> None:
    """Shift the clock; in place, since the file is mapped."""
    with offset.open("r+b") as file:
        file.write(struct.pack("q", seconds))


def one_user(seconds: float) -> Row:
    """One user sends half of all traffic."""
    with Broker() as kafka, system(kafka, half_by_one=True, rate=10 * RATE) as one:
        time.sleep(seconds)
        return one.row(f"one user sends half of {10 * RATE:g} messages/s")


def burst(seconds: float) -> Row:
    """Ten times as much as before."""
    with Broker() as kafka, system(kafka) as one:
        before = memory(one.run.pids)
        much = Traffic(one.flow, 10 * RATE)
        time.sleep(seconds)
        most = memory(one.run.pids)
        outcome = much.finish()
        row = one.row(f"ten times the traffic for {seconds:g} s", f"memory {before} → {most} MB")
        return row._replace(outcome=outcome)


def memory(pids: list[int]) -> int:
    """Resident memory of processes, in MB."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1024


FAULTS: dict[str, tuple[Callable[..., Row], float, float]] = {
    "broker_killed": (broker_killed, 60, 10),
    "broker_paused": (broker_paused, 30, 10),
    "leader_gone": (leader_gone, 30, 10),
    "influxdb_away": (influxdb_away, 600, 20),
    "drain_with_influxdb_away": (drain_with_influxdb_away, 5, 5),
    "processes_killed": (processes_killed, 20, 3),
    "clock_jumps": (clock_jumps, 10, 5),
    "one_user": (one_user, 60, 10),
    "burst": (burst, 60, 10),
}
"""By name: what is done, for how many seconds (or how many times), and with --quick."""
