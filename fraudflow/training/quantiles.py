"""The bins of `quantiles`, found in a history and written into `model.toml`."""

import re
import tomllib
from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from msgspec import structs

from fraudflow.evaluation.history import Labelled
from fraudflow.evaluation.replay import Features
from operators.features.fields import Fields
from operators.features.plan import Plan
from operators.model.encoding import Encoder
from operators.model.specification import FeatureSpec, ModelError, Specification

Bins = Mapping[str, tuple[float, ...]]
BATCH = 1_000
DIGITS = 4
"""An edge is for people to read too."""
TABLE = re.compile(r"\s*\[")
FEATURE = re.compile(r"\s*\[\[\s*feature\s*\]\]")
QUANTILES = re.compile(r"\s*quantiles\s*=")


def unfitted(specification: Specification) -> list[FeatureSpec]:
    """The features whose bins are still to be found."""
    return [feature for feature in specification.features if feature.quantiles and not feature.bins]


def find_bins(
    specification: Specification,
    history: Sequence[Labelled],
    *,
    allowed_lateness: int,
    label_delay: int,
    progress: Callable[[int], None],
) -> Bins:
    """The inner edges that cut each unfitted feature's values into parts of equal size: values that were met, rounded
    to four digits, each once. Raises ModelError where a feature has no two different values."""
    wanted = unfitted(specification)
    # Standardised: the one transform that keeps a number as it is, and tells 0 from what is missing.
    plain = [structs.replace(feature, transform="standardise", quantiles=0, missing=False) for feature in wanted]
    bare = structs.replace(specification, features=tuple(plain))
    plan = Plan.of(bare.names, allowed_lateness=allowed_lateness, fields=Fields(bare.fields))
    features, encoder = Features(plan, label_delay), Encoder(bare, plan)
    values = {feature.name: array("d") for feature in wanted}
    for start in range(0, len(history), BATCH):
        rows = history[start : start + BATCH]
        for x in encoder.encode([row.transaction for row in rows], features.of(rows)):
            for name, column in values.items():
                if name in x:
                    column.append(x[name])
        progress(start + len(rows))
    return {feature.name: edges(feature, values[feature.name]) for feature in wanted}


def edges(feature: FeatureSpec, values: Sequence[float]) -> tuple[float, ...]:
    """The inner edges for one feature: each the least value of its upper part, which a bin's lower edge belongs to;
    where the least value of all fills a part, the next greater one. Raises ModelError."""
    ranked = np.sort(np.asarray(values, dtype=np.float64))
    places = [len(ranked) * number // feature.quantiles for number in range(1, feature.quantiles)]
    greater = int(np.searchsorted(ranked, ranked[0], side="right")) if len(ranked) else 0
    found = [float(ranked[max(place, greater)]) for place in places] if greater < len(ranked) else []
    distinct = sorted({float(f"{edge:.{DIGITS}g}") for edge in found})
    if not distinct:
        raise ModelError(
            f"feature {feature.name!r}: no quantiles in {len(values):,} values that are all the same: "
            "give it bins of your own, or another history"
        )
    return tuple(distinct)


def with_bins(source: str, bins: Bins) -> str:
    """The text of `model.toml` with the `bins` behind their `quantiles`; all else stays as it is."""
    lines = source.splitlines(keepends=True)
    starts = [number for number, line in enumerate(lines) if TABLE.match(line)] + [len(lines)]
    for start, end in reversed(list(pairwise(starts))):
        if not FEATURE.match(lines[start]):
            continue
        name = tomllib.loads("".join(lines[start:end]))["feature"][0].get("name")
        for number in range(start, end):
            if name in bins and QUANTILES.match(lines[number]):
                numbers = ", ".join(_number(edge) for edge in bins[name])
                lines.insert(number + 1, f"bins = [{numbers}]\n")
                break
    return "".join(lines)


def _number(edge: float) -> str:
    return str(int(edge)) if edge.is_integer() and abs(edge) < 1e15 else repr(edge)
