"""`fraudflow train`: what a first model is, that everything goes on from it, what is refused."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner, Result

from fraudflow.cli import app
from fraudflow.first_models import read_first
from fraudflow.training.quantiles import edges, with_bins
from operators.model.first import FirstModel
from operators.model.scoring import WeightsError
from operators.model.specification import FeatureSpec, ModelError, parse_model
from operators.model.training import Trainer
from tests.servers.clients import read_topic
from tests.servers.kafka import Cluster
from tests.test_model_training import by_kind, examples, specification

ROOT = Path(__file__).parents[1]
START = 1_767_225_600_000
MODEL = """
name = "small"
prior = 0.05
[[feature]]
name = "amount"
value = "amount"
transform = "bins"
quantiles = 4            # of equal size
[[feature]]
name = "unusual"
value = "amount / mean_amount_30d_before"
transform = "bins"
bins = [
  0.5, 2,
]
missing = true
[[feature]]
name = "bad merchant"
value = "fraud_rate_7d_by_merchant"
transform = "log"
"""
FITTED = MODEL.replace("quantiles = 4            # of equal size\n", "bins = [10, 50, 300]\n")


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def train(*arguments: object, **environment: str) -> Result:
    named = {f"FRAUD_{name}": value for name, value in environment.items()}
    return CliRunner().invoke(app, ["train", *map(str, arguments)], env=named)


def history(count: int = 600) -> list[dict[str, Any]]:
    """Card payments a minute apart; every 20th is a fraud of a great amount."""
    return [
        {
            "transaction_id": f"t{n}",
            "customer_id": f"c{n % 40}",
            "amount": 900.0 + n % 7 if n % 20 == 19 else 20.0 + n % 50,
            "merchant": f"m{n % 9}",
            "timestamp": START + n * 60_000,
            "is_fraud": n % 20 == 19,
        }
        for n in range(count)
    ]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "model.toml").write_text(FITTED)
    written(tmp_path / "h.jsonl.gz", history())
    return tmp_path


def trained(place: Path, *options: object, **environment: str) -> Result:
    model = ("--model", place / "model.toml", "--output", place / "first.json")
    return train(place / "h.jsonl.gz", "--label-delay", "1h", *model, *options, **environment)


def scores(place: Path, *options: object) -> list[dict[str, str]]:
    arguments = ["evaluate", str(place / "h.jsonl.gz"), "--output", str(place / "out"), *map(str, options)]
    done = CliRunner().invoke(app, [*arguments, "--model", str(place / "model.toml")])
    assert done.exit_code == 0, done.output
    with (place / "out" / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_has_learned_everything_and_tells_how_good_it_was(place: Path) -> None:
    done = trained(place)
    assert done.exit_code == 0, done.output
    first = read_first(place / "first.json")
    assert (first.weights.name, first.weights.trained_on.examples, first.weights.trained_on.frauds) == (
        "small",
        600,
        30,
    )
    assert "which has learned from 600 examples, 30 of them frauds" in done.output
    parts = [line for line in done.output.splitlines() if line.startswith("2026-01-01T")]
    assert len(parts) == 4
    assert [part.split()[1:3] for part in parts] == [["150", "7"], ["150", "8"], ["150", "7"], ["150", "8"]]
    assert parts[0].split()[3:5] == ["0", "–"]
    assert parts[3].split()[3:5] == ["150", "1.0000"]


@pytest.mark.parametrize("name", ["h.csv", "h.parquet"])
def test_the_same_history_gives_the_same_bytes_in_every_kind_of_file(place: Path, name: str) -> None:
    assert trained(place).exit_code == 0
    file = written(place / name, history())
    model = ("--model", place / "model.toml", "--output", place / "other.json")
    assert train(file, "--label-delay", "1h", *model).exit_code == 0
    assert (place / "other.json").read_bytes() == (place / "first.json").read_bytes()


def test_an_evaluation_that_begins_with_it_scores_from_the_first_event(place: Path) -> None:
    assert trained(place).exit_code == 0
    cold = scores(place, "--label-delay", "1h")
    warm = scores(place, "--label-delay", "1h", "--begin-with", place / "first.json")
    assert not any(row["risk_score"] for row in cold[:60])
    assert all(row["risk_score"] for row in warm)
    assert [n for n in range(600) if warm[n]["decision"] == "review"] == list(range(59, 600, 20))
    assert {row["decision"] for row in cold} == {"allow"}


def test_it_goes_on_from_an_earlier_one(place: Path) -> None:
    assert trained(place).exit_code == 0
    assert trained(place, "--begin-with", place / "first.json").exit_code == 0
    second = read_first(place / "first.json")
    assert (second.weights.trained_on.examples, second.weights.trained_on.frauds) == (1_200, 60)


def test_quantiles_are_found_and_written_into_the_file(place: Path) -> None:
    (place / "model.toml").write_text(MODEL)
    done = trained(place)
    assert done.exit_code == 1
    assert "feature 'amount': its quantiles have no `bins` yet" in done.stderr
    assert trained(place, "--fit").exit_code == 0
    found = (place / "model.toml").read_text()
    behind = "quantiles = 4            # of equal size\n"
    assert found == MODEL.replace(behind, f"{behind}bins = [33, 46, 59]\n")
    assert trained(place).exit_code == 0


def test_edges_cut_values_into_parts_of_equal_size() -> None:
    feature = FeatureSpec("a", "amount", "bins", quantiles=4)
    assert edges(feature, [float(n) for n in range(1, 101)]) == (26.0, 51.0, 76.0)
    assert edges(feature, [0.0] * 80 + [3.33333, 4.0, *[7.0] * 38]) == (3.333, 7.0)
    for nothing in ([], [5.0] * 9):
        with pytest.raises(ModelError, match="feature 'a': no quantiles"):
            edges(feature, nothing)


def test_only_the_features_that_want_them_get_bins() -> None:
    text = with_bins(MODEL, {"amount": (1.5, 2.0), "unusual": (9.0,)})
    (amount, unusual, _) = parse_model(text).features
    assert amount.bins == (1.5, 2.0)
    assert unusual.bins == (0.5, 2.0)


def test_a_trainer_goes_on_from_a_first_model_to_the_bit() -> None:
    for optimiser in ("adagrad", "ftrl", "sgd"):
        spec, stream = specification(optimiser), examples(400, scored=False)
        whole = Trainer(spec)
        whole.learn(stream[:300], now=0)
        first = FirstModel.from_json(whole.as_first(5).to_json())
        assert first is not None
        second = Trainer(spec, first=first)
        assert second.pipeline.state() == whole.pipeline.state()
        assert (second.examples, second.frauds) == (whole.examples, whole.frauds)
        out = by_kind(second.learn(stream[300:], now=6))
        assert [(w.version, w.trained_on.examples) for w in out.weights] == [(whole.version + 2, 400)]


def test_a_trainer_with_a_state_of_its_own_passes_a_first_model_over() -> None:
    spec = specification()
    own, other = Trainer(spec), Trainer(spec)
    own.learn(examples(50), now=0)
    other.learn(examples(300, seed=3), now=0)
    restored = Trainer(spec, own.snapshot(), first=other.as_first(0))
    assert restored.snapshot() == own.snapshot()


def test_weights_alone_are_no_first_model() -> None:
    trainer = Trainer(specification())
    (weights,) = by_kind(trainer.learn(examples(100), now=0)).weights
    assert FirstModel.from_json(weights.to_json()) is None
    record = trainer.as_first(0).to_json()
    assert record.startswith(b'{"name":"m"')
    with pytest.raises(WeightsError, match="not the record of a first model"):
        FirstModel.from_json(record.replace(b'"squares"', b'"sqares"'))


def test_it_is_published_above_what_is_there(place: Path, mock_kafka: Cluster) -> None:
    mock_kafka.create_topic("first-models")
    environment = {"KAFKA_BOOTSTRAP_SERVERS": mock_kafka.bootstrap, "MODEL_TOPIC": "first-models"}
    assert trained(place).exit_code == 0
    older = json.loads((place / "first.json").read_bytes())
    producer = Producer({"bootstrap.servers": mock_kafka.bootstrap})
    for value in (None, json.dumps({**older, "version": 70}).encode(), b"broken"):
        producer.produce("first-models", value, b"small")
    producer.produce("first-models", json.dumps({**older, "name": "another", "version": 900}).encode(), b"another")
    assert producer.flush(20) == 0
    done = trained(place, "--publish", **environment)
    assert done.exit_code == 0, done.output
    assert "written to" in done.output
    held = {message.key(): message.value() for message in read_topic(mock_kafka, "first-models")}
    assert held[b"small"] == (place / "first.json").read_bytes()
    assert json.loads(held[b"small@71"] or b"")["weights"] == older["weights"]
    assert read_first(place / "first.json").weights.version == 71


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--label-delay", "soon"], "--label-delay: 'soon'"),
        (["--model", "none.toml"], "none.toml: No such file"),
        (["--begin-with", "none.json"], "none.json: No such file"),
        (["--begin-with", "model.toml"], "model.toml: not a model record"),
        (["--output", "/proc/x/y"], "--output /proc/x"),
    ],
)
def test_what_is_wrong_is_told_before_the_work(place: Path, options: list[str], words: str) -> None:
    done = trained(place, *options)
    assert done.exit_code == 1
    assert words in done.stderr
    assert "Errno" not in done.stderr


def test_another_optimiser_or_name_is_refused(place: Path) -> None:
    assert trained(place).exit_code == 0
    (place / "model.toml").write_text(FITTED.replace("[[feature]]", '[learning]\noptimiser = "ftrl"\n[[feature]]', 1))
    done = trained(place, "--begin-with", place / "first.json")
    assert "the first model learns with 'adagrad', the specification has 'ftrl'" in done.stderr
    (place / "model.toml").write_text(FITTED.replace('"small"', '"large"'))
    done = trained(place, "--begin-with", place / "first.json")
    assert "the first model is named 'small', the specification has 'large'" in done.stderr


def test_a_history_without_a_fraud_is_refused(place: Path) -> None:
    written(place / "h.jsonl.gz", [{**row, "is_fraud": None} for row in history()])
    done = trained(place)
    assert done.exit_code == 1
    assert "600 usable rows, none of them labelled as fraud: nothing to learn from" in done.stderr
