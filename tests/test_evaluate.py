"""`fraudflow evaluate` as a command: what it writes, the same each time, what it refuses."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fraudflow.cli import app
from fraudflow.evaluation.files import quoted

ROOT = Path(__file__).parents[1]
EXCERPT = ROOT / "data" / "paysim_excerpt.csv.gz"
OTHER_RULES = """
[[rule]]
id = "large_transfer"
when = 'format == "paysim" and type == "TRANSFER" and amount > 400_000'
"""


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The PaySim excerpt, against rules with another limit."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "other.toml").write_text(OTHER_RULES)
    options = ("--label-delay", "1h", "--capacity", 20, "--costs", "missed=amount,review=10,block=100")
    done = evaluate(EXCERPT, *options, "--output", folder / "out", "--against", folder / "other.toml")
    assert done.exit_code == 0, done.output
    assert "19,999 transactions, 81 of them frauds" in done.output
    return folder / "out"


def metrics_of(folder: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return metrics


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_metrics_agree_with_the_scores_that_are_written(whole: Path) -> None:
    metrics, rows = metrics_of(whole), rows_of(whole / "scores.csv")
    assert len(rows) == metrics["transactions"] == 19_999
    scored = [(float(row["risk_score"]), row["is_fraud"] == "1") for row in rows if row["risk_score"]]
    assert metrics["score"]["scored"] == len(scored)
    above = [fraud for score, fraud in scored if score >= 0.5]
    at = metrics["score"]["at_review_threshold"]
    assert (at["above"], at["precision"]) == (len(above), sum(above) / len(above))
    alerted = [row for row in rows if row["decision"] != "allow"]
    assert metrics["decisions"]["hits"] == len(alerted)
    assert metrics["decisions"]["frauds"] == sum(row["is_fraud"] == "1" for row in alerted)
    assert metrics["rules"]["large_transfer"]["hits"] == sum("large_transfer" in row["rules"] for row in rows)
    assert metrics["score"]["brier"] == pytest.approx(sum((s - f) ** 2 for s, f in scored) / len(scored))
    assert metrics["at_capacity"]["cards_a_day"] == 20
    assert metrics["costs"]["each"] == {"missed": "amount", "review": 10.0, "block": 100.0}


def test_the_model_finds_what_it_could_know(whole: Path) -> None:
    """Labels an hour late: nothing is scored in the first hour."""
    rows = rows_of(whole / "scores.csv")
    assert not any(row["risk_score"] for row in rows if row["event_time"] < "2026-01-01T02")
    assert metrics_of(whole)["score"]["average_precision"] > 0.6


def test_changed_decisions_are_listed_and_counted(whole: Path) -> None:
    changed = rows_of(whole / "changes.csv")
    against = metrics_of(whole)["against"]
    assert against["files"] == ["other.toml"]
    assert sum(change["transactions"] for change in against["changes"]) == len(changed) > 0
    assert {(row["decision"], row["against_decision"]) for row in changed} == {("review", "allow")}
    assert all(200_000 < float(row["amount"]) <= 400_000 for row in changed)


def test_the_report_needs_nothing_else_and_holds_every_chart(whole: Path) -> None:
    report = (whole / "report.html").read_text(encoding="utf-8")
    for title in ("Precision and recall", "ROC", "Scores", "Calibration", "Cost against threshold", "Weights"):
        assert f"<h2>{title}</h2>" in report
        assert f'id="{title.lower().replace(" ", "-")}"' in report
    assert "cheapest: " in report
    assert 'src="http' not in report
    assert "Nothing to show" not in report


def test_a_replay_of_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    history = tmp_path / "h.jsonl"
    history.write_text("\n".join(json.dumps(row) for row in mixed(2_000)))
    names = ("report.html", "metrics.json", "scores.csv", "changes.csv")
    (tmp_path / "other.toml").write_text(OTHER_RULES)
    for run in "ab":
        done = evaluate(
            history, "--label-delay", "1h", "--output", tmp_path / run, "--against", tmp_path / "other.toml"
        )
        assert done.exit_code == 0, done.output
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def mixed(count: int) -> list[dict[str, Any]]:
    """All three formats, some labelled, a row that can't be used."""
    rows: list[dict[str, Any]] = [{"amount": 1}]
    for number in range(count):
        time = 1_767_225_600_000 + number * 20_000
        fraud = number % 40 == 0
        amount = 900.0 if fraud else 20.0 + number % 17
        match number % 3:
            case 0:
                row = {"userId": f"u{number % 50}", "amount": amount, "timestamp": time, "isFraud": fraud}
            case 1:
                row = {
                    "customer_id": f"c{number % 50}",
                    "amount": amount,
                    "timestamp": time,
                    "merchant": f"m{number % 9}",
                }
                row |= {"is_fraud": fraud} if number % 2 else {}
            case _:
                row = {"nameOrig": f"C{number}", "amount": amount, "step": number * 20 // 3_600, "type": "CASH_OUT"}
                row |= {"oldbalanceOrg": amount, "isFraud": int(fraud)}
        rows.append(row)
    return rows


def test_judged_from_and_to_but_learned_from_the_start(tmp_path: Path) -> None:
    options = ("--label-delay", "1h", "--from", "2026-01-01T03:00:00Z", "--to", "2026-01-01T06:00:00Z")
    assert evaluate(EXCERPT, *options, "--output", tmp_path / "part").exit_code == 0
    rows, metrics = rows_of(tmp_path / "part" / "scores.csv"), metrics_of(tmp_path / "part")
    assert {row["event_time"] for row in rows} == {f"2026-01-01T0{hour}:00:00.000Z" for hour in (3, 4, 5)}
    assert metrics["transactions"] == len(rows) == 552 + 565 + 665
    assert metrics["rows"] == 19_999
    assert all(row["risk_score"] for row in rows)


def test_labels_that_have_arrived_make_features(tmp_path: Path) -> None:
    """A fraud at a merchant counts for those who pay there after its label came, not before."""
    rows = [
        {
            "customer_id": f"c{n}",
            "amount": 5.0,
            "timestamp": 1_767_225_600 + n * 60,
            "merchant": "m",
            "is_fraud": n == 0,
        }
        for n in range(400)
    ]
    (tmp_path / "h.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "rules.toml").write_text('[[rule]]\nid = "bad"\nwhen = "fraud_count_30d_by_merchant > 0"\n')
    done = evaluate(
        tmp_path / "h.jsonl", "--label-delay", "5h", "--output", tmp_path / "out", "--rules", tmp_path / "rules.toml"
    )
    assert done.exit_code == 0, done.output
    hit = [row["rules"] == "bad" for row in rows_of(tmp_path / "out" / "scores.csv")]
    assert hit == [n > 300 for n in range(400)]


def test_rejected_rows_are_counted(tmp_path: Path) -> None:
    history = tmp_path / "h.jsonl"
    history.write_text("\n".join(json.dumps(row) for row in mixed(20)))
    done = evaluate(history, "--output", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "not usable: 1 unknown_format" in done.output
    assert "first unknown_format: row " in done.output
    metrics = metrics_of(tmp_path / "out")
    assert (metrics["rows"], metrics["transactions"], metrics["rejected"]) == (21, 20, {"unknown_format": 1})
    assert metrics["model"] is None
    assert "Nothing to show" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_no_label_within_the_history_is_told(tmp_path: Path) -> None:
    done = evaluate(EXCERPT, "--label-delay", "7d", "--output", tmp_path / "out")
    assert done.exit_code == 0, done.output
    said = "o score: no label arrives within the history (7 h) with a label delay of 7 d: try --label-delay 1h"
    assert f"n{said}" in done.stderr
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert f"N{said}" in report
    warming = metrics_of(tmp_path / "out")["warming_up"]
    assert warming["is_new_country_30d"] == "2026-01-31T01:00:00.000Z"
    assert "count_1m" not in warming  # full after a minute of seven hours
    assert "is_new_country_30d until 2026-01-31T01:00" in report


@pytest.mark.parametrize("place", ["/proc/x", "README.md", "README.md/x"])
def test_an_output_that_can_not_be_written_is_refused_before_the_work(place: str) -> None:
    done = evaluate(EXCERPT, "--output", place)
    assert done.exit_code == 1
    assert f"--output {place}: can't be written" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["h.csv", "--label-delay", "soon"], "--label-delay: 'soon'"),
        (["h.csv", "--from", "yesterday"], "--from: 'yesterday'"),
        (["h.csv", "--costs", "review=x"], "wanted a number of 0 or more"),
        (["h.csv", "--against", "nothing.toml"], "neither rules"),
        (["h.csv"], "no usable row"),
        (["h.txt"], "not a kind of file"),
        (["h.none.csv"], "h.none.csv: No such file or directory"),
        (["h.csv", "--model", "none.toml"], "none.toml: No such file or directory"),
        ([EXCERPT, "--from", "2030-01-01"], "the file holds 2026-01-01T01:00:00.000Z to 2026-01-01T08:00:00.000Z"),
        ([EXCERPT, "--from", "2026-01-01T05:00Z", "--to", "2026-01-01T03:00Z"], "leave no transaction"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_written(tmp_path: Path, arguments: list[str | Path], message: str) -> None:
    for name in ("h.csv", "h.txt", "nothing.toml"):
        (tmp_path / name).write_text("")
    paths = [tmp_path / word if str(word).startswith(("h.", "nothing.")) else word for word in arguments]
    done = evaluate(*paths, "--output", tmp_path / "out")
    assert done.exit_code == 1
    assert message in done.stderr
    assert "Errno" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_csv_must_quote_is_quoted() -> None:
    texts = ["plain", 'a "b"', "x,y", "two\nlines", "r\r", ""]
    for part in (texts, texts[:1], []):
        written = "".join(f"{text},1\n" for text in quoted(part))
        assert [row[0] for row in csv.reader(io.StringIO(written, newline=""))] == part
