"""The same topology on other systems, on one broker, one core each. Run: make bench-peers

    python -m benchmarks.peers [--events N] [--users N] [--rounds N] [--only NAME ...]

Each system reads the same topic from its beginning and writes its alerts to a topic of its own; it is watched from
outside. Its alerts must be the expected ones. Events a second are those over the second half of its alerts, by the
broker's clock: what it does when it is warm. A round runs all of them forward, the next one backward. What can't be had
on this machine is told and left out. Also written to reports/peers.json.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import tempfile
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple
from uuid import uuid4

from confluent_kafka import Producer

from benchmarks.peers.systems import ROOT, SYSTEMS, Run, System, pinned
from benchmarks.peers.topology import Expected, messages
from benchmarks.peers.watch import Alert, Output, follow
from tests.servers.kafka import Kafka
from tests.servers.process import ServerMissing

REPORT: Final = Path("reports/peers.json")
PARTITIONS: Final = 4
PATIENCE_S: Final = 60.0
CONTROL: Final = ("label", "rule", "list", "model", "model_event", "stats", "dlq")


class Input(NamedTuple):
    """A topic that is full; for each transaction its position, for each position its event time; the alerts due."""

    topic: str
    events: int
    positions: dict[str, int]
    times: list[int]
    expected: dict[str, frozenset[str]]


class Figures(NamedTuple):
    """Of one run. `alerts` is empty, or says what was wrong."""

    events_a_second: float
    whole_events_a_second: float
    microseconds: float
    megabytes: float
    alerts: str


def fill(kafka: Kafka, events: int, users: int) -> Input:
    """Make the topic."""
    topic = f"input-{events}"
    kafka.create_topic(topic, PARTITIONS)
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap, "linger.ms": 50, "queue.buffering.max.messages": 500_000}
    )
    positions: dict[str, int] = {}
    times: list[int] = []
    expected = Expected()
    for message in messages(events, users, seed=1):
        positions[message.transaction_id] = len(times)
        times.append(message.time)
        expected.add(message)
        while True:
            try:
                producer.produce(topic, message.value, message.key)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(120) == 0
    return Input(topic, events, positions, times, expected.alerts)


def run(kafka: Kafka, system: System, given: Input) -> Figures:
    """Start the system, watch it until its last alert is there, end it."""
    target = f"alerts-{uuid4().hex[:8]}"
    kafka.create_topic(target, PARTITIONS, message_timestamp_type="LogAppendTime")
    if system.name.startswith("fraudflow"):
        for name in CONTROL:
            kafka.create_topic(f"{target}-{name}", 1)
    due = {"alerts": len(given.expected), "progress": given.events // 100, "windows": given.events}[system.answers]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        command, environment = system.command(Run(kafka.bootstrap, given.topic, target, Path(folder)))
        output = Output(kafka.bootstrap, target, PARTITIONS)
        stack.callback(output.close)
        log = stack.enter_context((Path(folder) / "log").open("wb"))
        process = subprocess.Popen(
            pinned(command, 0), cwd=ROOT, env={**os.environ, **environment}, stdout=log, stderr=log
        )
        stack.callback(end, process)
        began_ms = time.time_ns() // 1_000_000
        patience = PATIENCE_S if system.answers != "windows" else PATIENCE_S / 2
        usage = follow(output, process.pid, lambda: len(output.alerts) >= due, lambda: process.poll() is None, patience)
        if not output.alerts:
            words = (Path(folder) / "log").read_text(errors="replace").strip()[-1500:]
            raise RuntimeError(f"{system.name} wrote nothing:\n{words}")
        return figures(system, given, output.alerts, began_ms, usage.seconds, usage.megabytes)


def end(process: subprocess.Popen[bytes]) -> None:
    """Asked first."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def figures(
    system: System, given: Input, alerts: Sequence[Alert], began_ms: int, seconds: float, megabytes: float
) -> Figures:
    """What the alerts tell of the pace, and whether they are right."""
    points = sorted((alert.appended, position(system, given, alert)) for alert in alerts)
    last_time, reached = points[-1][0], max(place for _, place in points) + 1
    half = next(time for time, place in points if place >= reached // 2)
    done_at_half = reached // 2
    return Figures(
        (reached - done_at_half) / max(last_time - half, 1) * 1000,
        reached / max(last_time - began_ms, 1) * 1000,
        seconds / reached * 1e6,
        megabytes,
        judged(system, given, alerts),
    )


def position(system: System, given: Input, alert: Alert) -> int:
    """How far in the input a system is that wrote this."""
    if system.answers != "windows":
        return given.positions[alert.transaction_id]
    tail = alert.transaction_id.rpartition("-")[2]
    return min(bisect_left(given.times, int(tail)), given.events - 1)


def judged(system: System, given: Input, alerts: Sequence[Alert]) -> str:
    """What is wrong with the alerts; nothing where they are the expected ones, each once."""
    if system.answers != "alerts":
        return ""
    found = {alert.transaction_id: alert.rules for alert in alerts}
    wrong = sum(found.get(key) != rules for key, rules in given.expected.items())
    more = len(found.keys() - given.expected.keys())
    repeated = len(alerts) - len(found)
    return f"{wrong} missing or wrong, {more} too many, {repeated} repeated" if wrong or more or repeated else ""


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(SYSTEMS), choices=list(SYSTEMS))
    arguments = parser.parse_args()
    found: dict[str, list[Figures]] = defaultdict(list)
    missing: dict[str, str] = {}
    inputs: dict[int, Input] = {}
    with Kafka(lasting=True) as kafka:
        if (os.cpu_count() or 1) > 1:
            os.sched_setaffinity(kafka.process.pid, {1})
        for number in range(arguments.rounds):
            names = arguments.only if number % 2 == 0 else arguments.only[::-1]
            for name in names:
                system = SYSTEMS[name]
                events = max(1000, round(arguments.events * system.share / 1000) * 1000)
                if name in missing:
                    continue
                if events not in inputs:
                    inputs[events] = fill(kafka, events, arguments.users)
                try:
                    result = run(kafka, system, inputs[events])
                except (ServerMissing, RuntimeError) as error:
                    missing[name] = str(error)
                    print(f"{name}: left out: {error}", flush=True)
                    continue
                found[name].append(result)
                print(f"  {name:40} {shown(result)}", flush=True)
    print()
    for name, results in found.items():
        print(line(name, results, found.get("fraudflow")))
    REPORT.parent.mkdir(exist_ok=True)
    machine = {"python": platform.python_version(), "processors": os.cpu_count(), "java": bool(shutil.which("java"))}
    systems = {name: [each._asdict() for each in results] for name, results in found.items()}
    REPORT.write_text(json.dumps({**machine, **vars(arguments), "systems": systems, "missing": missing}, indent=2))
    print(f"also in {REPORT}")


def shown(result: Figures) -> str:
    """One run."""
    wrong = f"  WRONG: {result.alerts}" if result.alerts else ""
    return (
        f"{result.events_a_second:>10,.0f}/s warm {result.whole_events_a_second:>10,.0f}/s whole "
        f"{result.microseconds:>7.1f} us {result.megabytes:>5.0f} MB{wrong}"
    )


def line(name: str, results: Sequence[Figures], ours: Sequence[Figures] | None) -> str:
    """The medians of all runs, their spread, and how ours compares, round by round."""
    rates = [result.events_a_second for result in results]
    middle = Figures(
        median(rates),
        median(result.whole_events_a_second for result in results),
        median(result.microseconds for result in results),
        median(result.megabytes for result in results),
        next((result.alerts for result in results if result.alerts), ""),
    )
    ratio = ""
    if ours:
        pairs = [our.events_a_second / their.events_a_second for our, their in zip(ours, results, strict=False)]
        ratio = f"  fraudflow is {median(pairs):.2f} times as fast ({min(pairs):.2f}..{max(pairs):.2f})"
    return f"{name:40} {shown(middle)} [{min(rates):,.0f}..{max(rates):,.0f}]{ratio}"


if __name__ == "__main__":
    main()
