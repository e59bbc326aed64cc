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


def test_batches_of_user_groups_are_merged_alike_with_and_without_a_look_at_their_events() -> None:
    routing = Routing(16, 4)
    batches = []
    for number in range(40):
        items = [transaction(f"u{number}", at) for at in range(number % 3 + 1)]
        marks = [number + at for at in range(len(items))] if number % 2 else ()
        batches.append((routing.group(f"u{number}"), Featured(items, [(number,)] * len(items), marks, number, 7)))
    assert merged(batches, routing, by_user=True) == merged(batches, routing, by_user=False)


def merged(batches: list[tuple[str, Featured]], routing: Routing, *, by_user: bool) -> tuple[Any, ...]:
    """What reaches each shard, event by event, and the total of the repeated ones."""
    out: list[tuple[str, Featured]] = []
    flow = Dataflow("flow")
    source: Any = TestingSource(batches, batch_size=len(batches))
    op.output(
        "out", steps.by_shard("by_shard", op.input("in", flow, source), routing, by_user=by_user), TestingSink(out)
    )
    run_main(flow)
    assert len({shard for shard, _ in out}) == len(out) == 4
    assert {batch.columns for _, batch in out} == {7}
    events = {
        shard: sorted((item.user_id, item.event_time, row, mark) for item, row, mark in zip(*parts(batch), strict=True))
        for shard, batch in out
    }
    return events, sum(batch.repeated for _, batch in out)


def parts(batch: Featured) -> tuple[Any, ...]:
    """Items, rows and a mark for each."""
    return batch.items, batch.rows, batch.marks or [0] * len(batch.items)
