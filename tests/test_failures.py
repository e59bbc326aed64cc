"""A step that fails names the message; a message that is named can be left out."""

import logging

import bytewax.operators as op
import bytewax.testing
import pytest
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.testing import TestingSink, TestingSource
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka_source import RawBatch
from flows.exchange import Featured, Transactions
from flows.failures import culprit, flat_map_batch, map_value, place_of, split, stateful_batch
from flows.settings import Settings, SettingsError
from flows.skipping import leaving_out
from operators.transactions.decoding import Decoder
from operators.transactions.formats import Limits
from tests.records import NOON, transaction


def batch(count: int, first: int = 100, topic: str = "tx", partition: int = 3) -> RawBatch:
    values = [b'{"userId": "u%d", "amount": 1, "timestamp": "2024-12-04T10:00:00Z"}' % i for i in range(count)]
    return RawBatch(topic, partition, range(first, first + count), [NOON] * count, [b"k"] * count, values)


def fails_at(user: str):
    def check(items):
        for item in items:
            if item.user_id == user:
                raise ZeroDivisionError(user)

    return check


@given(st.integers(1, 30), st.integers(0, 29))
def test_the_offset_of_a_message_is_found(count, bad):
    def read(one):
        if any(value.find(b'"u%d"' % bad) >= 0 for value in one.values):
            raise ValueError("bad")

    found = culprit([batch(count, 100), batch(count, 500, "other")], read)
    if bad < count:
        assert found.place == {"topic": "tx", "partition": 3, "offset": 100 + bad}
    else:
        assert found is None


@pytest.mark.parametrize("make", [Transactions, lambda items: Featured(items, [(1,)] * len(items))])
def test_a_transaction_is_found_in_any_batch(make):
    values = [make([transaction(f"u{i}", i) for i in range(n)]) for n in (2, 5, 9)]
    found = culprit(values, lambda value: fails_at("u3")(value.items))
    assert found.place == {"transaction_id": "u3@3", "user_id": "u3"}
    assert found.error.args == ("u3",)


def test_a_failure_of_many_together_names_none():
    def together(value):
        if len(value.items) > 3:
            raise MemoryError

    found = culprit([Transactions([transaction(f"u{i}") for i in range(9)])], together)
    assert found.place == {}


def test_values_of_one_message_are_as_the_step_got_them():
    one = split(("key", batch(3)))[1]
    assert one[0] == "key"
    assert (one[1].offsets, one[1].keys, one[1].topic) == ([101], [b"k"], "tx")
    assert place_of(one) == {"topic": "tx", "partition": 3, "offset": 101}


class Logic(StatefulBatchLogic):
    def on_batch(self, values):
        for value in values:
            fails_at("u7")(value.items)
        return list(values), StatefulBatchLogic.RETAIN

    def snapshot(self):
        return None


def each(value):
    fails_at("u7")(value.items)
    return value


@pytest.mark.parametrize(
    "step",
    [
        lambda up: stateful_batch("decide", up, lambda state: Logic()),
        lambda up: map_value("decide", up, each),
        lambda up: flat_map_batch("decide", up, lambda pairs: [(key, each(value)) for key, value in pairs]),
    ],
    ids=["stateful_batch", "map_value", "flat_map_batch"],
)
@pytest.mark.parametrize("bad", [True, False])
def test_in_the_engine_a_failed_step_tells_and_a_good_one_works(step, bad, caplog):
    items = [("a", Transactions([transaction("u1"), transaction("u7" if bad else "u2", 5)]))]
    flow, out = Dataflow("test"), []
    op.output("out", step(op.input("in", flow, TestingSource(items))), TestingSink(out))
    with caplog.at_level(logging.CRITICAL):
        if bad:
            with pytest.raises(BaseException):  # noqa: B017, PT011  the engine's own, of no public type
                bytewax.testing.run_main(flow)
            assert caplog.messages == ["step decide fails at transaction 'u7@5' of user 'u7': ZeroDivisionError: u7"]
        else:
            bytewax.testing.run_main(flow)
            assert [value.items for _, value in out] == [items[0][1].items]


def test_messages_that_are_named_are_left_out_as_dead_letters():
    settings = Settings.load({"FRAUD_SKIP_MESSAGES": "tx/3/101, tx/3/104,tx/2/100,a/b/3/100"}, env_file=None)
    assert settings.skip_messages == (("tx", 3, 101), ("tx", 3, 104), ("tx", 2, 100), ("a/b", 3, 100))
    assert "FRAUD_SKIP_MESSAGES=tx/3/101,tx/3/104,tx/2/100,a/b/3/100" in settings.describe()
    read = leaving_out(Decoder(Limits()).transactions, settings.skip_messages)
    decoded = read(batch(5))
    assert [found.user_id for found in decoded.transactions] == ["u0", "u2", "u3"]
    assert [(letter.reason, letter.offset, letter.value) for letter in decoded.dead_letters] == [
        ("left_out", 101, batch(5).values[1]),
        ("left_out", 104, batch(5).values[4]),
    ]
    assert len(read(batch(5, 200)).transactions) == 5


def test_without_names_reading_costs_nothing():
    read = Decoder(Limits()).transactions
    assert leaving_out(read, ()) is read


@pytest.mark.parametrize("text", ["tx", "tx/3", "tx/3/x", "/3/1", "tx/-1/5", "tx 3 5"])
def test_a_wrong_name_is_told(text):
    with pytest.raises(SettingsError, match=r"FRAUD_SKIP_MESSAGES: .* is not topic/partition/offset"):
        Settings.load({"FRAUD_SKIP_MESSAGES": text}, env_file=None)
