"""What an evaluation writes: each file is there whole or not at all, and the same for the same history."""

import csv
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson

from fraudflow.evaluation.comparison import changes
from fraudflow.evaluation.judged import UNKNOWN, Judged
from operators.decisions.decide import VERDICTS
from operators.times import iso

QUOTE = '"'
SPECIAL = re.compile('[,"\\r\\n]')


def write_scores(path: Path, judged: Judged) -> None:
    """`scores.csv`: a row for each transaction, in event-time order; what is not known is empty."""
    times = np.datetime_as_string(judged.time.astype("datetime64[ms]"), unit="ms", timezone="UTC").tolist()
    verdicts = [VERDICTS[verdict] for verdict in judged.verdict.tolist()]
    labels = [_label(label) for label in (0, 1, UNKNOWN)]  # the last one is at -1
    columns = (quoted(judged.ids), times, judged.score.tolist(), verdicts, judged.rules, judged.label.tolist())
    with whole(path) as file:
        file.write("transaction_id,event_time,risk_score,decision,rules,is_fraud\n")
        file.writelines(
            f"{identity},{time},{score if score == score else ''},{verdict},{' '.join(rules)},{labels[label]}\n"  # noqa: PLR0124
            for identity, time, score, verdict, rules, label in zip(*columns, strict=True)
        )


def quoted(texts: Sequence[str]) -> Sequence[str]:
    """As the fields of a CSV file: as they are, nearly always, which is found out for all of them at once."""
    if not SPECIAL.search("\0".join(texts)):
        return texts
    return [f'"{text.replace(QUOTE, QUOTE * 2)}"' if SPECIAL.search(text) else text for text in texts]


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
