"""The demo: a short one for real, and its pictures and summary over records made by hand."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from rich.console import Console
from typer.testing import CliRunner

from flows.settings import Settings
from fraudflow.broker import start
from fraudflow.cli import app
from fraudflow.demo.board import Board
from fraudflow.demo.feed import weave
from fraudflow.demo.outcome import Outcome
from fraudflow.demo.plots import quality
from fraudflow.demo.processes import Flow, ProcessFailed, environment, settings_of
from fraudflow.demo.records import money
from fraudflow.demo.report import write_report
from fraudflow.demo.screen import Progress, line, picture
from fraudflow.demo.summary import by_scenario, show
from operators.times import iso

ROOT = Path(__file__).parents[1]
SETTINGS = Settings()
NOW = 1_733_300_000_000


class Message:
    """A Kafka message as the client hands it over."""

    def __init__(self, topic: str, value: Any, headers: dict[str, str] | None = None, offset: int = 0) -> None:
        self._topic, self._offset = topic, offset
        self._value = value if isinstance(value, bytes) else orjson.dumps(value)
        self._headers = [(name, text.encode()) for name, text in (headers or {}).items()]

    def topic(self) -> str:
        return self._topic

    def value(self) -> bytes:
        return self._value

    def key(self) -> bytes | None:
        return None

    def headers(self) -> list[tuple[str, bytes]]:
        return self._headers

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return 1, NOW + 12


def alert(identity: str, rules: tuple[str, ...] = (), score: float | None = 0.2, amount: float = 1_234.5) -> Message:
    reasons = [
        {"feature": "amount / own mean in 10..30", "value": 1.0, "contribution": 2.5},
        {"feature": "category = <b>groceries</b>", "value": 1.0, "contribution": -1.25},
    ]
    record = {
        "alert_id": identity,
        "transaction_id": identity,
        "user_id": "c000123",
        "event_time": iso(NOW - 5_000),
        "detected_at": iso(NOW + 3),
        "amount": amount,
        "currency": "EUR",
        "decision": "review",
        "severity": "high",
        "risk_score": score,
        "model": None,
        "rules": [{"id": rule, "version": 1, "severity": "high", "message": "m", "evidence": {}} for rule in rules],
        "reasons": reasons if score is not None else [],
        "suppressed_count": 0,
        "transaction": {"format": "card", "arrived_at": iso(NOW)},
    }
    return Message("fraud-alerts", record)


def label(identity: str, scenario: str) -> Message:
    record = {"transaction_id": identity, "user_id": "u", "is_fraud": True, "source": f"simulator:{scenario}"}
    return Message("fraud-labels", record)


def measured(measurement: str, seconds: int = 0, **fields: Any) -> Message:
    record = {"measurement": measurement, "tags": {}, "fields": fields, "time": iso(NOW + seconds * 1000)}
    return Message("fraud-stats", record)


def records() -> list[Message]:
    card = [{"transaction_id": f"t{number}", "customer_id": "c", "amount": 1} for number in range(6)]
    paysim = {"nameOrig": "C1", "amount": 1, "step": 1}
    inputs: list[Any] = [*card, {**paysim, "isFraud": 1}, {**paysim, "isFraud": 0}, b"nonsense"]
    return [
        *(Message("transactions", value, offset=offset) for offset, value in enumerate(inputs)),
        *(label(f"t{number}", "card_testing") for number in range(4)),
        Message("fraud-labels", b"nonsense"),
        alert("t0", ("velocity", "high_amount"), 0.1),
        alert("t1", ("velocity",), 0.9),
        alert("t2", (), 0.8),
        alert("t4", (), 0.7),
        alert("t5", ("velocity",), None),
        alert("t5", ("velocity",), None),
        alert("transactions-0-6", ("large_transfer",), 0.3),
        Message("transactions-dlq", b"nonsense", {"reason": "not_json", "topic": "transactions"}),
        Message("transactions-dlq", b"nonsense", {"reason": "not_json", "topic": "fraud-labels"}),
        measured("pipeline", 0, transactions=5, alerts=2, latency_p50_ms=3.0, latency_p99_ms=9.0, late=1),
        measured("pipeline", 1, transactions=800, alerts=40, latency_p50_ms=3.0, latency_p99_ms=9.0, late=0),
        measured("pipeline", 2, transactions=3, alerts=1, latency_p50_ms=3.0, latency_p99_ms=9.0, late=0),
        measured("live_stats", 1, count=24_000, frauds=900, amount=2.5e9, fraud_amount=1e9, fraud_share=0.4),
        measured(
            "model_quality", 1, version=3, examples=500, frauds=9, roc_auc=0.91, average_precision=0.4, log_loss=0.1
        ),
        Message("fraud-models", {"name": "fraud-lr", "version": 3, "weights": {"a": 1.0, "b": -2.0}}),
        Message(
            "fraud-model-events", {"event": "drift", "at": iso(NOW), "message": "log-loss rose", "detector": "adwin"}
        ),
    ]


def outcome_of(messages: list[Message]) -> Outcome:
    outcome = Outcome(SETTINGS)
    for message in messages:
        outcome.add(message)  # type: ignore[arg-type]
    return outcome


def board_of(messages: list[Message]) -> Board:
    board = Board(SETTINGS)
    for message in messages:
        board.add(message)  # type: ignore[arg-type]
    return board


def test_the_outcome_is_what_the_topics_say() -> None:
    outcome = outcome_of(records())
    assert (outcome.messages, outcome.transactions, outcome.labels) == (9, 8, 5)
    assert outcome.rules == {"velocity": 3, "high_amount": 1, "model only": 2, "large_transfer": 1}
    assert outcome.dead == {"not_json": 2}
    assert outcome.repeated == 1
    assert by_scenario(outcome) == {
        "card_testing": {"rules": 1, "both": 1, "model": 1, "": 1},
        "paysim": {"rules": 1},
    }


@pytest.mark.parametrize("width", [80, 140])
def test_the_summary_fits_and_says_what_the_model_added(width: int) -> None:
    console = Console(width=width, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    show(outcome_of(records()), console)
    text = console.export_text()
    assert "9 messages: 8 transactions (6 card, 2 paysim), 1 unusable; 4 labels, 1 more unusable" in re.sub(
        r"\s+", " ", text
    )
    assert "1 frauds that no rule found, for 1 false alarms of its own" in re.sub(r"\s+", " ", text)
    assert re.search(r"card_testing\s+4\s+3 \(75%\)\s+1\s+1\s+1\s+1", text)
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("size", [(80, 24), (140, 40), (100, 30), (200, 60)])
@pytest.mark.parametrize("count", [0, 200])
def test_the_picture_fits_its_terminal(size: tuple[int, int], count: int) -> None:
    width, height = size
    board = board_of(records() + [alert(f"x{number}", ("velocity", "several_locations")) for number in range(count)])
    console = Console(width=width, height=height, record=True, force_terminal=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(picture(board, Progress("real and simulated transactions", 31.0, 25_000, 40_000, NOW), width, height))
    lines = console.export_text().splitlines()
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for shown in ("800", "24,000", "40.0%", "0.910", "c000123", "1,234.50", "velocity", "+2.5", "-1.2", "1 found"):
        assert shown in text, shown
    # Ten lines at the least, two for an alert where it is narrow.
    assert text.count("c000123") >= (5 if width < 110 else 7)


def test_many_alerts_of_one_rule_do_not_hide_the_others() -> None:
    board = board_of([alert("fraud", ("velocity",)), *(alert(f"x{n}", ("large_transfer",), 0.0) for n in range(100))])
    shown = [(shown.transaction_id, count) for shown, count in board.newest_alerts(10)]
    assert shown == [("x99", 1), ("x98", 1), ("x97", 98), ("fraud", 1)]
    console = Console(width=140, height=40, record=True, force_terminal=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(picture(board, Progress("real and simulated transactions", 31.0, 25_000, 40_000, NOW), 140, 40))
    assert "×98 large_transfer" in console.export_text()


def test_drift_at_one_place_is_one_annotation() -> None:
    points = [measured("model_quality", n, examples=n * 1_000, roc_auc=0.9, log_loss=0.1) for n in range(1, 5)]
    drifts = []
    for detector, examples in (("adwin", 1_500), ("ddm", 1_500), ("adwin", 1_600), ("ddm", 3_500)):
        record = {"measurement": "model_drift", "tags": {"detector": detector}, "time": iso(NOW)}
        drifts.append(Message("fraud-stats", {**record, "fields": {"drift": True, "examples": examples}}))
    plot = quality(outcome_of(points + drifts))
    assert plot is not None
    assert [one.text for one in plot.layout.annotations] == ["drift: adwin<br>ddm", "drift: ddm"]
    assert len(plot.layout.shapes) == 3


@pytest.mark.parametrize("place", ["/proc/x/demo.html", "README.md/demo.html", "data"])
def test_a_report_that_can_not_be_written_is_refused_before_the_work(place: str) -> None:
    done = CliRunner().invoke(app, ["demo", "--report", place if place[0] == "/" else str(ROOT / place)])
    assert done.exit_code == 1
    assert "demo: --report" in done.stderr
    assert "can't be written" in done.stderr


def test_the_picture_shows_something_before_anything_has_come() -> None:
    board = Board(SETTINGS)
    console = Console(width=80, height=24, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(picture(board, Progress("starting the flow", 1.0, 0, 40_000, NOW), 80, 24))
    assert "waiting for the first alert" in console.export_text()
    assert "starting the flow" in line(board, Progress("starting the flow", 1.0, 0, 40_000, NOW))


def test_the_board_shows_the_latest_whole_second_and_counts_each_late_event_once() -> None:
    again = measured("pipeline", 0, transactions=6, alerts=2, late=2)
    board = board_of([*records(), again])
    assert board.rates() == (800, 40)
    assert board.late == 2
    assert board.latency() == (12, 12)


def test_the_report_needs_nothing_but_itself_and_runs_nothing_that_came_in(tmp_path: Path) -> None:
    path = tmp_path / "reports" / "demo.html"
    write_report(outcome_of(records()), SETTINGS, path)
    page = path.read_text(encoding="utf-8")
    head, _, body = page.partition("</head>")
    assert not re.search(r'(src|href)="(https?:)?//', head.split("<script>")[0] + body)
    assert "<b>groceries</b>" not in body
    assert "&lt;b&gt;groceries&lt;/b&gt;" in body
    assert body.count('class="plotly-graph-div"') == 8
    assert "log-loss rose" in body
    assert not re.search(r"\{\{\w+\}\}", body)


def test_a_report_of_nothing_is_still_a_report(tmp_path: Path) -> None:
    write_report(Outcome(SETTINGS), SETTINGS, tmp_path / "demo.html")
    assert "Nothing to show in this run." in (tmp_path / "demo.html").read_text(encoding="utf-8")


def test_the_feed_is_the_same_every_time_and_keeps_paysim_in_order() -> None:
    settings = settings_of(environment("unused:1"))
    feed = weave(settings, 7)
    assert feed == weave(settings, 7)
    assert feed != weave(settings, 8)
    assert feed.transactions == 39_999
    moments = [message.time for message in feed.messages]
    assert moments == sorted(moments)
    paysim = [message.value for message in feed.messages if b"nameOrig" in message.value]
    assert len(paysim) == 19_999
    assert orjson.loads(paysim[0])["nameOrig"] == "C1231006815"


def test_amounts_are_short() -> None:
    shown = [money(amount) for amount in (0.5, 999.99, 9_999.99, 12_345.6, 250_000, 1_500_000, 2.5e9, 123e9)]
    assert shown == ["0.50", "999.99", "9,999.99", "12.3 k", "250 k", "1.5 m", "2.5 bn", "123 bn"]


def demo(tmp_path: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "fraudflow", "demo", "--report", str(tmp_path / "demo.html"), *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children(process: int) -> list[int]:
    stats = [path.read_text().rpartition(")") for path in Path("/proc").glob("[0-9]*/stat")]
    return [int(before.split()[0]) for before, _, after in stats if int(after.split()[1]) == process]


def test_a_flow_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    cluster, address = start()
    flow = Flow(environment(address), tmp_path)  # no topic has been made yet
    flow.process.wait(60)
    with pytest.raises(ProcessFailed, match=r"(?s)exit code 2.*cannot start.*topics create"):
        flow.check()
    del cluster


def test_a_short_demo_runs_the_production_flow_and_ends_well(tmp_path: Path) -> None:
    with demo(tmp_path, "--share", "0.1", "--seconds", "5") as process:
        told, complaints = process.communicate(timeout=100)
    assert process.returncode == 0, complaints
    assert "100% sent" in told
    assert re.search(r"Out\s+[1-9][\d,]* alerts", told)
    assert "Alerts by rule" in told
    assert "Dead letters by reason" in told
    assert "paysim" in told
    assert (tmp_path / "demo.html").stat().st_size > 1_000_000


def test_a_demo_that_goes_on_ends_well_when_it_is_stopped(tmp_path: Path) -> None:
    with demo(tmp_path, "--share", "0.05", "--seconds", "2", "--keep-running") as process:
        assert process.stdout is not None
        for told in process.stdout:
            if "goes on until Ctrl-C" in told:
                break
        started = children(process.pid)
        assert len(started) == 2, "the broker and the flow"
        process.send_signal(signal.SIGINT)
        told, complaints = process.communicate(timeout=100)
    assert process.returncode == 0, complaints
    assert "Alerts by rule" in told
    assert not [child for child in started if Path(f"/proc/{child}").exists()]
