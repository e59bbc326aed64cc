"""What an evaluation writes: each file is there whole or not at all, and the same for the same history."""

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson

from fraudflow.evaluation.comparison import changes
from fraudflow.evaluation.judged import UNKNOWN, Judged
from operators.decisions.decide import VERDICTS
from operators.times import iso


def write_scores(path: Path, judged: Judged) -> None:
    """`scores.csv`: a row for each transaction, in event-time order; what is not known is empty."""
    times = np.datetime_as_string(judged.time.astype("datetime64[ms]"), unit="ms", timezone="UTC")
    columns = (times, judged.score, judged.verdict, judged.label)
    rows = zip(judged.ids, *(column.tolist() for column in columns), judged.rules, strict=True)
    with whole(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["transaction_id", "event_time", "risk_score", "decision", "rules", "is_fraud"])
        writer.writerows(
            (identity, time, _score(score), VERDICTS[verdict], " ".join(rules), _label(label))
            for identity, time, score, verdict, label, rules in rows
        )


def write_changes(path: Path, judged: Judged, other: Judged) -> None:
    """`changes.csv`: a row for each transaction that is decided on otherwise."""
    with whole(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        names = ("decision", "risk_score", "rules")
        both = [*names, *(f"against_{name}" for name in names)]
        writer.writerow(["transaction_id", "event_time", "amount", "is_fraud", *both])
        for index in changes(judged, other):
            first = [judged.ids[index], iso(int(judged.time[index])), repr(float(judged.amount[index]))]
            each = [
                (VERDICTS[one.verdict[index]], _score(float(one.score[index])), " ".join(one.rules[index]))
                for one in (judged, other)
            ]
            writer.writerow([*first, _label(int(judged.label[index])), *each[0], *each[1]])


def write_json(path: Path, metrics: dict[str, Any]) -> None:
    """`metrics.json`."""
    with whole(path) as file:
        file.write(orjson.dumps(metrics, option=orjson.OPT_INDENT_2).decode() + "\n")


@contextmanager
def whole(path: Path) -> Iterator[IO[str]]:
    """A file that appears under its name only when it is complete."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        yield file
    os.replace(partial, path)


def _score(score: float) -> str:
    return "" if score != score else repr(score)  # noqa: PLR0124  what is no number is not equal to itself


def _label(label: int) -> str:
    return "" if label == UNKNOWN else str(label)
