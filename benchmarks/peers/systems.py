"""The systems that are compared: how each is made ready and started. Settings are said here, in the open."""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.peers.topology import MOST_IN_A_MINUTE, MOST_IN_AN_HOUR, MOST_LOCATIONS, RULES
from tests.servers.process import cached, run_tool, tool

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent.parent
LIMITS: Final = [str(MOST_IN_A_MINUTE), str(MOST_IN_AN_HOUR), str(MOST_LOCATIONS)]


@dataclass(frozen=True)
class Run:
    """Where one run reads and writes; `folder` is its own."""

    bootstrap: str
    source: str
    target: str
    folder: Path


Command = tuple[list[str], dict[str, str]]


@dataclass(frozen=True)
class System:
    """`share` of the events is enough for a slow one; `answers` says what its output is compared with."""

    name: str
    command: Callable[[Run], Command]
    share: float = 1.0
    answers: str = "alerts"
    """alerts: the expected ones; progress: each hundredth message; windows: one of the three, when it closes."""


def ours(run: Run, *, recovery: bool = True) -> Command:
    """The shipped flow with these three rules and no model: exactly-once alerts, dead letters, statistics, all on."""
    (run.folder / "rules.toml").write_text(RULES)
    names = ["LABEL", "RULE", "LIST", "MODEL", "MODEL_EVENT", "STATS", "DLQ"]
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": run.bootstrap,
        "KAFKA_GROUP": f"fraudflow-{run.target}",
        "TRANSACTION_TOPICS": run.source,
        "ALERT_TOPIC": run.target,
        "RULES_FILE": str(run.folder / "rules.toml"),
        "MODEL_FILE": "",
        **{f"{name}_TOPIC": f"{run.target}-{name.lower()}" for name in names},
    }
    environment = {f"FRAUD_{name}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "bytewax.run", "flows.fraud:get_flow"]
    if recovery:
        state = run.folder / "recovery"
        state.mkdir()
        subprocess.run([sys.executable, "-m", "bytewax.recovery", str(state), "1"], cwd=ROOT, check=True)
        command += ["-r", str(state), "-s", "10", "-b", "0"]
    return command, environment


def plain(work: str) -> Callable[[Run], Command]:
    """A loop on confluent-kafka, without state that survives."""

    def command(run: Run) -> Command:
        arguments = [sys.executable, "-m", "benchmarks.peers.plain_loop"]
        return [*arguments, work, run.bootstrap, run.source, run.target], {}

    return command


def stock(work: str) -> Callable[[Run], Command]:
    """Bytewax's own operators, without recovery."""

    def command(run: Run) -> Command:
        environment = {"PEER_BOOTSTRAP": run.bootstrap, "PEER_INPUT": run.source, "PEER_OUTPUT": run.target}
        return [sys.executable, "-m", "bytewax.run", f"benchmarks.peers.stock_bytewax:{work}"], environment

    return command


def kafka_streams(work: str) -> Callable[[Run], Command]:
    """Kafka Streams 4.3.1, at least once, its state in a changelog topic, a cache that holds all users."""

    def command(run: Run) -> Command:
        recipe = sorted(path for path in (HERE / "streams").rglob("*") if path.is_file())
        jars = cached("kafka-streams", recipe, _build_streams)
        arguments = ["java", "-Xmx1g", "-cp", f"{jars}/*", "fraudflow.peers.Topology", work]
        return [*arguments, run.bootstrap, run.source, run.target, str(run.folder), *LIMITS], {}

    return command


def quix(run: Run) -> Command:
    """Quix Streams, state in RocksDB with a changelog topic, at least once, commits each 5 s: its defaults."""
    python = environment_of("quix")
    return [str(python), str(HERE / "quix.py"), run.bootstrap, run.source, run.target, str(run.folder), *LIMITS], {}


def faust(run: Run) -> Command:
    """Faust, tables in memory with a changelog topic."""
    settings = {
        "PEER_BOOTSTRAP": run.bootstrap,
        "PEER_INPUT": run.source,
        "PEER_OUTPUT": run.target,
        "PEER_FOLDER": str(run.folder),
        "PEER_LIMITS": " ".join(LIMITS),
    }
    return [str(environment_of("faust")), str(HERE / "faust_app.py"), "worker", "-l", "warning"], settings


def environment_of(name: str) -> Path:
    """The Python of a virtual environment with the packages of `requirements-<name>.txt`, made once."""
    requirements = HERE / f"requirements-{name}.txt"

    def build(folder: Path) -> None:
        venv.create(folder / "venv", with_pip=True, symlinks=True)
        install = ["-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(requirements)]
        run_tool([str(folder / "venv" / "bin" / "python"), *install], name, HERE)

    return cached(f"peer-{name}", [requirements], build) / "venv" / "bin" / "python"


def _build_streams(folder: Path) -> None:
    maven = tool("mvn", "Kafka Streams")
    shutil.copytree(HERE / "streams", folder / "source")
    goals = ["package", "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    run_tool([maven, "-q", "-B", *goals], "Kafka Streams", folder / "source")
    shutil.copy(folder / "source" / "target" / "streams-1.jar", folder)


SYSTEMS: Final = {
    system.name: system
    for system in (
        System("fraudflow", ours),
        System("fraudflow, no recovery", lambda run: ours(run, recovery=False)),
        System("plain loop: parse only", plain("floor"), answers="progress"),
        System("plain loop, windows by hand", plain("windows")),
        System("Kafka Streams, Processor API, memory", kafka_streams("memory")),
        System("Kafka Streams, Processor API, RocksDB", kafka_streams("rocksdb")),
        System("Kafka Streams, DSL, one window", kafka_streams("dsl"), 0.2, "windows"),
        System("stock Bytewax, stateful_map", stock("stateful_map"), 0.5),
        System("stock Bytewax, sliding, one window", stock("sliding_windows"), 0.05, "windows"),
        System("Quix Streams, state", quix, 0.2),
        System("Faust, tables", faust, 0.02),
    )
}


def pinned(command: list[str], core: int) -> list[str]:
    """On one core, where there are several."""
    if (os.cpu_count() or 1) < 2 or shutil.which("taskset") is None:
        return command
    return ["taskset", "-c", str(core), *command]
