"""Steps of the flow on the engine's own test source and sink."""

from typing import Any

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource, run_main

from flows import steps
from flows.exchange import Featured, Routing
from operators.features.plan import Plan
from tests.records import transaction


@pytest.mark.parametrize("value", [0.0, -0.0, 5.0])
def test_all_transactions_with_one_key_come_to_one_group(value: float) -> None:
    """Also where the key is the number 0, which is a key like any other."""
    (plan,) = Plan.of(["count_1h_by_old_balance"], allowed_lateness=0).entities
    items = [transaction(f"u{number}", number, old_balance=abs(value) if number % 2 else value) for number in range(20)]
    items += [transaction(f"none{number}", number) for number in range(20)]
    out: list[tuple[str, Featured]] = []
    flow = Dataflow("flow")
    source: Any = TestingSource([("any", Featured(items, [()] * len(items)))])
    split = steps.by_entity("by_balance", op.input("in", flow, source), plan, Routing(16, 4))
    op.output("out", split, TestingSink(out))
    run_main(flow)
    groups = {item.user_id: group for group, batch in out for item in batch.items}
    assert len(groups) == 40
    assert len({group for user, group in groups.items() if user.startswith("u")}) == 1
    assert len({group for user, group in groups.items() if user.startswith("none")}) > 1
