"""Decoding, windows and rules together, in memory, on one core; and the rules alone."""

from statistics import median

from benchmarks.work import BATCH, LATENESS, TEN, THREE, clock, messages, transactions
from operators.features.plan import Plan
from operators.features.windows import Windows
from operators.rules import Rule, RuleSet
from operators.transactions.decoding import Decoder
from operators.transactions.formats import Limits

THREE_RULES = (
    "count_1m > 3", "sum_amount_1h > 40_000", "distinct_location_5m > 3", "amount > 990",
    "amount > 900 and count_1m > 1",
)  # fmt: skip
TEN_RULES = (
    "count_1m > 3 or count_5m > 8", "amount > 5 * mean_amount_24h", "amount > mean_amount_last20 + 4 * std_amount_1h",
    "distinct_location_5m > 3", "max_amount_1h > 990 and count_tumbling_1m > 3",
)  # fmt: skip
WORKS = {
    "decode, 3 features, 5 rules": (THREE, THREE_RULES, 0.0),
    "decode, 10 features, 5 rules": (TEN, TEN_RULES, 0.0),
    "decode, 10 features, 5 rules, 10 % late": (TEN, TEN_RULES, 0.1),
}

MANY_RULES = {
    "of two numbers": "count_1m > 3{0} and amount > 5{0}",
    "of a list": 'location in list("watched{0}")',
}


def rule_set(conditions: tuple[str, ...]) -> RuleSet:
    """Rules of these conditions."""
    return RuleSet([Rule(f"r{number}", condition) for number, condition in enumerate(conditions)])


def events_a_second(name: str, events: int, users: int, seed: int) -> float:
    """Of the median batch of the second half."""
    features, conditions, late = WORKS[name]
    plan = Plan.of((*features, "amount"), allowed_lateness=LATENESS)
    decoder, windows = Decoder(Limits(max_clock_skew=10**9)), Windows(plan.entities[0])
    evaluate = rule_set(conditions).compile(plan.name).evaluate
    times = []
    for batch in messages(events, users, late, seed):
        began = clock()
        decoded = decoder.transactions(batch).transactions
        evaluate(decoded, windows.update(decoded))
        times.append(clock() - began)
        assert len(decoded) == BATCH
    return BATCH / median(times[len(times) // 2 :])


def another_rule(condition: str, rounds: int = 15) -> float:
    """Microseconds an event that each rule of this condition costs after the fifth, up to the fiftieth."""
    plan = Plan.of(THREE, allowed_lateness=LATENESS)
    (batch,) = transactions(BATCH, 1000, 0.0, 1)
    rows = Windows(plan.entities[0]).update(batch)
    many = tuple(condition.format(number) for number in range(50))
    few, all_ = (rule_set(rules).compile(plan.name).evaluate for rules in (many[:5], many))
    costs = []
    for _ in range(rounds):
        began = clock()
        few(batch, rows)
        middle = clock()
        all_(batch, rows)
        costs.append((clock() - middle) - (middle - began))
    return median(costs) / 45 / BATCH * 1e6
