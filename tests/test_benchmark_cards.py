"""The card payments that the shipped model is judged by are what they are said to be."""

import numpy as np
import pytest

from benchmarks.cards import MUCH, World, card_payments
from benchmarks.quality import cards
from operators.model.files import load_model

SMALL = World(customers=60, terminals=120, days=60, reach=15.0, bad_terminals_a_day=1, bad_customers_a_day=1)


def test_the_same_seed_gives_the_same_payments() -> None:
    assert card_payments(SMALL, 1) == card_payments(SMALL, 1)
    assert card_payments(SMALL, 1) != card_payments(SMALL, 2)


def test_frauds_are_of_the_three_kinds() -> None:
    table = card_payments(SMALL, 1)
    amount, fraud = table["amount"].to_numpy(), table["is_fraud"].to_numpy(zero_copy_only=False)
    assert np.all(np.diff(table["timestamp"].to_numpy()) >= np.timedelta64(0))
    assert len(table) > 5_000
    assert fraud[amount > MUCH].mean() == pytest.approx(1.0)
    quiet = card_payments(SMALL._replace(bad_terminals_a_day=0, bad_customers_a_day=0), 1)
    assert quiet["is_fraud"].to_numpy(zero_copy_only=False).sum() == (quiet["amount"].to_numpy() > MUCH).sum()
    terminals = card_payments(SMALL._replace(bad_customers_a_day=0), 1)
    small = terminals["is_fraud"].to_numpy(zero_copy_only=False) & (terminals["amount"].to_numpy() < MUCH)
    assert 0.1 < small.mean() < 0.5  # one of 120 each day, for 28 days: about a fifth


def test_the_shipped_model_is_good_on_payments_that_it_has_not_seen() -> None:
    """On a small world; `python -m benchmarks.quality` judges the whole one (docs/model.md)."""
    world = World(customers=200, terminals=400, days=84, reach=12.0, bad_terminals_a_day=1, bad_customers_a_day=1)
    found = cards(load_model("model.toml"), world, 1)
    assert np.mean(found["weeks"]) > 0.7
    assert found["precision"] > 0.8
    assert found["recall"] > 0.55
    assert found["mean / rate"] == pytest.approx(1, abs=0.1)
    assert found["calibration error"] < 0.01
