"""What people write, in files and in the environment: rules, the model, settings; and the small notations in them."""

import math
from contextlib import suppress

from connectors.line_protocol import encode
from flows.settings import Settings, SettingsError
from operators.durations import LONGEST, parse_duration
from operators.expressions import ExpressionError
from operators.features.names import UnknownFeature, parse_feature
from operators.features.plan import Plan
from operators.features.windows import Windows
from operators.model.encoding import Encoder
from operators.model.specification import ModelError, parse_model
from operators.rules import Rule, RuleError, RuleSet, parse_rules
from operators.rules.checking import check_rules
from operators.times import LARGEST, iso, parse_time
from tests.fuzz.messages import SOME
from tests.fuzz.targets import split, target
from tests.records import NOON

FEW = 12
"""Names that are tried at once: more windows than that make a run slow, and show nothing new."""


def run_rules(rules: RuleSet) -> None:
    """Keep what the rules name, and judge some transactions by them."""
    if len(rules.names) > FEW:
        return
    plan = Plan.of(rules.names, allowed_lateness=0)
    compiled = rules.compile(plan.name, {"trusted": {"1": NOON}})
    rows = [()] * len(SOME.transactions)
    for entity in plan.entities:
        own = Windows(entity).update(SOME.transactions)
        rows = [row + more for row, more in zip(rows, own, strict=True)]
    for number, transaction in enumerate(SOME.transactions):
        for rule in range(len(compiled.rules)):
            compiled.evidence(rule, transaction, rows[number])
    compiled.evaluate(SOME.transactions, rows)


@target(
    "count_1m > 3 and amount >= 10_000 or not missing(country)",
    'user_id in list("trusted") or type not in ("A", "B")',
    "1 < amount / (amount - amount) % 3 <= -sqrt(abs(latitude)) + log(amount) * round(amount / 7)",
    "max(amount, event_time * event_time, 3) == min(1e18, count_1h_by_merchant * hour_of_day)",
    "z == 1 and is_night",
    "amount = 5 && x || y",
)
def expressions(data: bytes) -> None:
    """A text is a condition that can be evaluated on any transaction, or is refused with its place."""
    text = data.decode(errors="replace")
    try:
        run_rules(RuleSet([Rule("r", text)]))
    except RuleError:
        pass
    except ExpressionError as error:
        error.caret()
    except UnknownFeature:
        pass


@target(
    '[[rule]]\nid = "velocity"\nwhen = "count_1m > 3"\nseverity = "high"\nmessage = "{count_1m} in a minute"\n',
    '[[rule]]\nid = "a"\nwhen = "amount>1"\n[[rule.examples]]\nfires = true\ntransaction = {userId="1", amount=2}\n',
    'rule = [{id = "b", when = "is_night", cooldown = "5m", mode = "shadow", version = 2}]\n',
)
def rule_files(data: bytes) -> None:
    """A file holds rules that run, or is refused; `rules check` has an answer for either."""
    text = data.decode(errors="replace")
    for problem in check_rules(text).problems:
        problem.shown("rules.toml", text)
    with suppress(RuleError, UnknownFeature):
        run_rules(parse_rules(text))


@target(
    'name = "m"\n[[feature]]\nname = "amount"\nvalue = "amount"\ntransform = "log"\n',
    'name = "m"\nprior = 0.5\n[learning]\noptimiser = "ftrl"\n[[feature]]\nname = "c"\nvalue = "country"\n'
    'transform = "onehot"\nvalues = ["FR"]\nmissing = true\n[[feature]]\nname = "b"\nvalue = "amount / latitude"\n'
    'transform = "bins"\nbins = [1, 2.5]\nwhen = "not is_night"\n',
    'name = "m"\n[monitor]\nwindow = 5\n[[feature]]\nname = "x"\nvalue = "amount * amount"\ntransform="clip"\nlow=1\n',
    'name = "m"\n[[feature]]\nname = "x"\nvalue = "sqrt(amount)"\ntransform = "standardise"\n[publish]\nseconds = 1\n',
)
def model_files(data: bytes) -> None:
    """A file says what a model sees, and finite inputs come of it, or it is refused."""
    try:
        model = parse_model(data)
        if len(model.names) > FEW:
            return
        plan = Plan.of(model.names, allowed_lateness=0)
        encoder = Encoder(model, plan)
    except (ModelError, UnknownFeature):
        return
    rows = [()] * len(SOME.transactions)
    for entity in plan.entities:
        own = Windows(entity).update(SOME.transactions)
        rows = [row + more for row, more in zip(rows, own, strict=True)]
    for x in encoder.encode(SOME.transactions, rows):
        assert all(map(math.isfinite, x.values())), x


@target(
    "FRAUD_LABEL_DELAY=1h\nFRAUD_TRANSACTION_TOPICS=a,b\nFRAUD_MODEL_FILE=",
    "FRAUD_KAFKA_CONFIG_SASL_PASSWORD=x\nFRAUD_INFLUX_URL=http://h:1\nFRAUD_SHARDS=3\nFRAUD_PAYSIM_START=2024-01-01",
)
def environments(data: bytes) -> None:
    """Variables are settings that can be told and read again, or are refused."""
    lines = data.decode(errors="replace").splitlines()
    named = dict(line.split("=", 1) for line in lines if "=" in line)
    # What a file holds is no part of the input.
    named = {name: value for name, value in named.items() if not name.endswith("_FILE")}
    try:
        settings = Settings.load(named, env_file=None)
    except SettingsError:
        return
    settings.describe()
    settings.kafka_config()


@target("2024-12-04T15:00:00Z", "2024-12-04 15:00:00.123456+01:00", "1733313600", "1733313600000.5", "2024-W49-3", "5m")
def notations(data: bytes) -> None:
    """Times, durations, names of features: read within their bounds, or a ValueError."""
    text = data.decode(errors="replace")
    with suppress(ValueError, OverflowError):
        moment = parse_time(text)
        assert 0 <= moment <= LARGEST
        assert parse_time(iso(moment)) == moment
    with suppress(ValueError):
        assert 0 <= parse_duration(text) <= LONGEST
    with suppress(UnknownFeature):
        feature = parse_feature(text)
        assert parse_feature(feature.name) == feature


@target("m\n5", "a b,c=d\\\nx=1 y")
def line_formats(data: bytes) -> None:
    """Any text is one line of one field and one tag, which a strict reading gives back."""
    first, second = (part.decode(errors="replace") for part in split(data))
    line = encode(first or "m", {"t": second}, {"f": first, "n": len(first)}, 7)
    assert b"\n" not in line
    assert b"\r" not in line
    head, quote, rest = line.decode().partition(' f="')
    assert quote, line
    body, ending = rest.rsplit('"', 1)
    assert ending == f",n={len(first)}i 7"
    plain = body.replace("\\\\", "\0").replace('\\"', "\1")
    assert '"' not in plain, line
    assert "\\" not in plain, line
    assert plain.replace("\0", "\\").replace("\1", '"') == first.replace("\n", " ").replace("\r", " ").replace(
        "\0", "\\"
    ).replace("\1", '"')
    assert " " not in head.replace("\\ ", "").replace("\\,", "").replace("\\=", ""), head
