"""Messages on the topics that the flow reads, up to what becomes of them."""

import pickle
from collections.abc import Sequence

import orjson

from connectors.line_protocol import encode
from flows import encoding
from flows.exchange import Featured, Transactions
from operators.decisions.alerts import to_point
from operators.decisions.cooldown import Cooldown
from operators.decisions.decide import Decider, Thresholds
from operators.decisions.statistics import LiveStatistics, partial_of, partial_of_dead_letters
from operators.features.plan import Plan
from operators.features.windows import Labelled, Windows
from operators.measurements import Point
from operators.model.contest import Contest
from operators.model.control import Control, Refused, read_models
from operators.model.encoding import Encoder
from operators.model.join import Decided as Judged
from operators.model.join import LabelJoin
from operators.model.registry import Registry
from operators.model.scoring import TrainedOn, Weights
from operators.model.specification import parse_model
from operators.rules import ChangeReader, Changes, RulesInForce, known_name, parse_rules, start_of
from operators.transactions.decoding import Decoded, Decoder
from operators.transactions.formats import REASONS, Limits, Rejected, read_transaction
from tests.fuzz.targets import split, target
from tests.records import HOUR, NOON, Batch

LIMITS = Limits(paysim_start=NOON - HOUR, max_id_length=40, max_message_bytes=2_000)
RULES = parse_rules("""
[[rule]]
id = "velocity"
when = "count_1m > 1 and amount > 0"
cooldown = "1h"
message = "{count_1m} of {amount} in {location}"
[[rule]]
id = "odd"
when = "amount / mean_amount_1h > 1 or is_new_location_1h or missing(country) or latitude < 0"
severity = "critical"
""")
MODEL = parse_model("""
name = "m"
[[feature]]
name = "amount"
value = "amount * amount / (amount - 1)"
transform = "log"
[[feature]]
name = "size"
value = "amount"
transform = "standardise"
[[feature]]
name = "country"
value = "country"
transform = "onehot"
values = ["FR"]
missing = true
""")
PLAN = Plan.of((*RULES.names, *MODEL.names), allowed_lateness=HOUR, repeats=True)
ENCODER = Encoder(MODEL, PLAN)
DECODER = Decoder(LIMITS)
READER = ChangeReader(PLAN.name, known_name, "lists")
WEIGHTS = Weights("m", 1, TrainedOn(10, 1), -1.0, {"amount": 1.0, "size": 0.5}, NOON)


def batch(topic: str, *pairs: tuple[bytes | None, bytes | None]) -> Batch:
    """Messages of one partition, a second apart."""
    times = [NOON + 1000 * number for number in range(len(pairs))]
    return Batch(topic, 0, range(len(pairs)), times, [key for key, _ in pairs], [value for _, value in pairs])


def judge(decoded: Decoded, said: Sequence[Weights | Control] = (WEIGHTS,), changes: Sequence[Changes] = ()) -> None:
    """Transactions through windows, rules, model, cooldown, statistics and all that is written of them."""
    windows = Windows(PLAN.entities[0])
    rows = windows.update(decoded.transactions)
    Windows(PLAN.entities[0], windows.snapshot())
    decider = Decider(RULES, PLAN.name, ENCODER, Thresholds(0.5, 0.9))
    for change in changes:
        decider.change(change)
    for one in said:
        if isinstance(one, Weights):
            decider.use(one)
        else:
            decider.obey(one)
    featured = pickle.loads(pickle.dumps(Featured(decoded.transactions, rows)))
    decided = decider.decide(featured.items, featured.rows, NOON + 5)
    cooldown = Cooldown()
    found = cooldown.apply(decided.suspicious)
    Cooldown(cooldown.snapshot())
    for record, alert in zip(encoding.alert_records(found), found, strict=True):
        assert orjson.loads(record.value or b"")["transaction_id"] == alert.decision.transaction.transaction_id
        assert b"\n" not in encode(*to_point(alert))
    for score in decided.scores:
        assert score is None or 0 <= score <= 1, score
    statistics = LiveStatistics()
    statistics.add([partial_of(decided), partial_of_dead_letters(decoded.dead_letters)])
    LiveStatistics(statistics.snapshot())
    for line in encoding.point_lines(statistics.points()):
        assert line.count(b"\n") == 0
    letters = encoding.dead_letter_records(decoded.dead_letters)
    assert all(dict(letter.headers or [])["reason"].decode() in REASONS for letter in letters)
    join = LabelJoin(maturity=HOUR)
    inputs = zip(decided.transactions, decided.inputs, decided.scores, strict=True)
    join.decided(Judged(t.transaction_id, t.event_time, x, score, t.amount) for t, x, score in inputs)
    join.labels(decoded.labels)
    LabelJoin(maturity=HOUR, snapshot=join.snapshot())


@target(
    '{"userId":"1","amount":15000,"timestamp":"2024-12-04T11:00:00Z","location":"paris"}',
    '{"transaction_id":"x1","customer_id":"c1","amount":12.5,"merchant":"m7","country":"FR","category":"grocery",'
    '"timestamp":"2024-12-04T11:00:00.123Z","latitude":48.8,"longitude":2.3,"is_fraud":true}',
    '{"step":1,"type":"TRANSFER","amount":250000.0,"nameOrig":"C1","oldbalanceOrg":250000.0,"newbalanceOrig":0,'
    '"nameDest":"M2","oldbalanceDest":0.0,"isFraud":1,"isFlaggedFraud":0}',
    '{"user_id":7,"amount":"1e3","timestamp":1733310000,"transactionId":"\\u00e9"}\n{"userId":"7","amount":1}',
)
def transactions(data: bytes) -> None:
    """Each message is a transaction or a dead letter; the short way to it gives what the long one gives."""
    values = data.split(b"\n")
    messages = batch("transactions", *((b"k", value) for value in values))
    decoded = DECODER.transactions(messages)
    assert len(decoded.transactions) + len(decoded.dead_letters) == len(values)
    pickle.loads(pickle.dumps(Transactions(decoded.transactions)))
    found = {transaction.arrived_at: transaction for transaction in decoded.transactions}
    for number, value in enumerate(values):
        try:
            message = orjson.loads(value)
            long_way = (
                read_transaction(message, f"transactions-0-{number}", messages.timestamps[number], LIMITS)[0]
                if type(message) is dict and len(value) <= LIMITS.max_message_bytes
                else None
            )
        except (Rejected, ValueError):
            long_way = None
        assert found.get(messages.timestamps[number]) == long_way
    judge(decoded)


@target(
    '{"transaction_id":"x1","user_id":"c1","is_fraud":true,"labelled_at":"2024-12-04T11:00:00Z","source":"analyst"}',
    '{"transaction_id":5,"user_id":"c1","is_fraud":"0","merchant_id":"m","receiver_id":"r"}',
)
def labels(data: bytes) -> None:
    """Each message is a label or a dead letter; what is known of it is kept."""
    values = data.split(b"\n")
    decoded = DECODER.labels(batch("labels", *((None, value) for value in values)))
    assert len(decoded.labels) + len(decoded.dead_letters) == len(values)
    encoding.dead_letter_records(decoded.dead_letters)
    join = LabelJoin(maturity=HOUR)
    join.labels(decoded.labels)
    join.decided([Judged("x1", NOON, {"amount": 1.0}, 0.5, 1.0)])
    LabelJoin(maturity=HOUR, snapshot=join.snapshot())
    plan = Plan.of(("fraud_rate_7d",), allowed_lateness=HOUR).entities[0]
    windows = Windows(plan)
    windows.labels([Labelled.of(label, plan) for label in decoded.labels])
    Windows(plan, windows.snapshot())


SOME = DECODER.transactions(
    batch(
        "transactions",
        (None, b'{"userId":"1","amount":1e9,"timestamp":"2024-12-04T11:00:00Z","location":"paris"}'),
        (None, b'{"userId":"1","amount":0}'),
        (None, b'{"customer_id":"1","amount":0.01,"country":"FR","latitude":48.8,"longitude":2.3}'),
        (None, b'{"step":1,"type":"A","amount":2e5,"nameOrig":"1","oldbalanceOrg":1e300,"nameDest":"M"}'),
    )
)


@target(
    'big\n{"id":"big","version":2,"when":"amount > 5 and count_1m > 0","message":"{amount}"}',
    'a\n{"when":"amount * 1000000000000000000 % 7 > -1","mode":"shadow","cooldown":"5m","decision":"block"}',
    'b\n{"when":"user_id in list(\\"trusted\\") or type in (\\"A\\",\\"B\\") and not missing(country)"}',
    'c\n{"when":"sqrt(amount) > log(latitude) or round(amount/3) == min(amount,1,2)","severity":"low"}',
    'e\n{"when":"amount>1","examples":[{"fires":true,"transaction":{"userId":"1","amount":5}}]}',
    "velocity\n",
)
def rules(data: bytes) -> None:
    """A message on the rules' topic changes a rule that then can be run, or is refused with one event."""
    key, value = split(data)
    messages = batch("rules", (key, value))
    changes = READER.read(messages)
    (event,) = changes.events
    assert orjson.loads(event.to_json())["event"] in ("rule_changed", "rule_refused")
    assert (event.event == "rule_changed") == bool(changes.rules)
    judge(SOME, changes=[changes])
    in_force = RulesInForce(RULES, PLAN.name, start_of([], {}, known_name, "lists"))
    in_force.apply(changes)
    in_force.restore(in_force.state())
    start_of([messages], {}, known_name, "lists")


@target(
    'trusted/u3\n{"list":"trusted","value":"u3","expires_at":"2999-01-01T00:00:00Z","note":"n"}',
    "blocked/u5\n",
    'blocked/\\u00e9\n{"list":"blocked","value":"é"}',
)
def lists(data: bytes) -> None:
    """A message on the lists' topic changes an entry, or is refused with one event."""
    key, value = split(data)
    messages = batch("lists", (key, value))
    changes = READER.read(messages)
    (event,) = changes.events
    assert orjson.loads(event.to_json())["event"] in ("list_changed", "list_refused")
    assert (event.event == "list_changed") == bool(changes.lists)
    in_force = RulesInForce(RULES, PLAN.name, start_of([messages], {}, known_name, "lists"))
    in_force.apply(changes)
    in_force.restore(in_force.state())


@target(
    b"m\n" + WEIGHTS.to_json(),
    b"m@00000001\n" + WEIGHTS.to_json(),
    b"control/m\n" + Control("freeze", "m", "someone", "a test", NOON, WEIGHTS).to_json(),
    b"control/champion\n" + Control("promote", "m", "someone", "a test", NOON).to_json(),
    'm\n{"name":"m","version":9223372036854775807,"trained_on":{"examples":1,"frauds":0},"bias":1e308,'
    '"weights":{"amount":-1e308,"size":1e300},"published_at":"2024-12-04T11:00:00+01:00"}',
)
def models(data: bytes) -> None:
    """A record on the models' topic is a model that gives scores in [0, 1], a command that is obeyed, or is refused."""
    messages = batch("models", split(data))
    registry = Registry([messages])
    for name in registry.names:
        registry.in_force(name)
        registry.kept(name)
    for found in read_models(messages):
        if isinstance(found, Refused):
            assert str(found)
            continue
        assert type(found).from_json(found.to_json()) == found
        judge(SOME, [found])
        for told in Contest([MODEL]).obey(found, NOON) if isinstance(found, Control) else ():
            if not isinstance(told, Point | Weights):
                orjson.loads(told.to_json())
