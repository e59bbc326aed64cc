"""Champion and challengers, and what happens by itself when a model fails; learned and obeyed as in the flow."""

from collections import Counter, deque
from collections.abc import Callable
from random import Random
from statistics import fmean, pvariance

import pytest

from operators.measurements import MEASUREMENTS, Point
from operators.model.challengers import models_of, seen_by_any
from operators.model.comparison import Comparison
from operators.model.confidence import Mean
from operators.model.contest import Contest, Output
from operators.model.control import Control
from operators.model.events import ModelEvent
from operators.model.in_force import ModelsInForce
from operators.model.join import Example
from operators.model.quality import log_loss
from operators.model.safety import Band
from operators.model.scoring import TrainedOn, Weights
from operators.model.specification import ModelError, Promotion, Safety, parse_model

MODEL = """
name = "plain"
prior = 0.05
[learning]
most_frauds = 0.5
{learning}
[publish]
first = 50
examples = 50
seconds = 1e9
[promotion]
frauds = 20
{promotion}
[safety]
after = 500
{safety}
[[feature]]
name = "amount"
value = "amount"
transform = "bins"
bins = [100]
[[challenger]]
name = "sharp"
learning = {{ rate = 0.2 }}
[[challenger.feature]]
name = "night"
value = "is_night"
transform = "flag"
"""
LARGE, SMALL = {"amount >= 100": 1.0}, {"amount < 100": 1.0}


def parsed(promotion: str = "", safety: str = "", learning: str = ""):
    return parse_model(MODEL.format(promotion=promotion, safety=safety, learning=learning))


class Live:
    """Decide, wait until the label is known, learn: the commands that come out are obeyed as if read from the topic."""

    def __init__(self, specification, seed: int = 1, delay: int = 200) -> None:
        self.models = models_of(specification)
        sees = {"plain": frozenset({"amount >= 100", "amount < 100"})}
        self.contest = Contest(self.models, sees=sees)
        self.in_force = ModelsInForce([model.name for model in self.models])
        self.chance, self.delay, self.number = Random(seed), delay, 0
        self.waiting: deque[Example] = deque()
        self.out: list[Output] = []

    def transaction(self) -> tuple[dict[str, float], bool]:
        """A tenth large; nearly all frauds are large and at night, which only `sharp` sees."""
        is_fraud = self.chance.random() < 0.05
        x = dict(LARGE if self.chance.random() < (0.9 if is_fraud else 0.1) else SMALL)
        if self.chance.random() < (0.9 if is_fraud else 0.05):
            x["night"] = 1.0
        return x, is_fraud

    def run(self, examples: int, label: Callable[[bool, dict[str, float]], bool] = lambda fraud, x: fraud) -> None:
        for _ in range(examples):
            self.number += 1
            x, is_fraud = self.transaction()
            (score,) = self.in_force.scorer.scores([x])
            champion, others = self.in_force.beside([x])
            scored = {name: scores[0] for name, scores in others.items() if scores[0] is not None}
            known = label(is_fraud, x)
            at = self.number + self.delay
            self.waiting.append(
                Example(f"t{self.number}", self.number, at, x, score, known, 1.0, 1.0, False, champion, scored)
            )
            if len(self.waiting) > self.delay:
                self.take(self.contest.learn([self.waiting.popleft()], self.number))

    def take(self, out: list[Output]) -> None:
        self.out += out
        for one in out:
            if isinstance(one, Weights):
                self.in_force.use(one)
            elif isinstance(one, Control):
                self.in_force.obey(one)
                assert self.contest.obey(one, self.number) == []  # its own command, read back

    def events(self, *left_out: str) -> list[ModelEvent]:
        return [one for one in self.out if isinstance(one, ModelEvent) and one.event not in {"published", *left_out}]


def test_challengers_are_written_beside_the_first_model() -> None:
    plain, sharp = models_of(parsed())
    assert (plain.name, [feature.name for feature in plain.features]) == ("plain", ["amount"])
    assert (sharp.name, [feature.name for feature in sharp.features]) == ("sharp", ["amount", "night"])
    assert (sharp.learning.rate, sharp.learning.most_frauds, sharp.prior) == (0.2, 0.5, 0.05)
    assert seen_by_any(parsed()).names == ("amount", "is_night")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (('name = "sharp"', 'name = "plain"'), "challenger 'plain': another model has that name"),
        (('name = "night"', 'name = "amount"'), "feature 'amount' is there already"),
        (("rate = 0.2", "rat = 0.2"), r"challenger 'sharp', learning: .*`rat`"),
        (("rate = 0.2", 'rate = "x"'), "challenger 'sharp', learning: .*float"),
        (
            ("learning = {{ rate = 0.2 }}", 'without = ["amonut"]'),
            "no feature 'amonut': did you mean 'amount'",
        ),
        (('transform = "flag"', 'transform = "bins"'), "challenger 'sharp': feature 'night'"),
        (("[safety]", '[safety]\naction = "pray"'), "pray"),
    ],
)
def test_a_challenger_that_can_not_be_is_refused(changed: tuple[str, str], said: str) -> None:
    text = MODEL.replace(*changed).format(promotion="", safety="", learning="")
    with pytest.raises(ModelError, match=said):
        parse_model(text)


def test_each_model_is_judged_by_its_own_score_and_learns_its_own_features() -> None:
    live = Live(parsed())
    live.run(2_000)
    plain, sharp = live.contest.trainers["plain"], live.contest.trainers["sharp"]
    assert set(plain.pipeline.state().weights) == {"amount >= 100", "amount < 100"}
    assert set(sharp.pipeline.state().weights) == {"amount >= 100", "amount < 100", "night"}
    assert plain.examples == sharp.examples == 1_800
    assert sharp.quality.metrics(0.5)["log_loss"] < 0.8 * plain.quality.metrics(0.5)["log_loss"]
    assert live.in_force.champion == "plain"
    assert {name: scorer.weights.name for name, scorer in live.in_force._scorers.items()} == {
        "plain": "plain", "sharp": "sharp"
    }  # fmt: skip


def test_a_better_challenger_is_told_once_and_promoted_only_by_policy() -> None:
    live = Live(parsed())
    live.run(6_000)
    (told,) = live.events("drift")
    assert (told.event, told.model) == ("better", "sharp")
    assert "fraudflow model promote sharp" in told.message
    assert live.contest.champion == "plain"
    points = [one for one in live.out if isinstance(one, Point) and one.measurement == "model_comparison"]
    assert {(one.tags["model"], one.tags["champion"]) for one in points} == {("sharp", "plain")}
    assert 0 < points[-1].fields["gain_at_least"] < points[-1].fields["gain"]
    for point in points:
        schema = MEASUREMENTS[point.measurement]
        assert (tuple(point.tags), {k: type(v) for k, v in point.fields.items()}) == (schema.tags, dict(schema.fields))


def test_with_the_policy_it_decides_by_itself_and_stays() -> None:
    live = Live(parsed("automatic = true"))
    live.run(8_000)
    (told,) = live.events("drift")
    assert (told.event, told.model, told.by) == ("promoted", "sharp", "fraudflow")
    assert "log-loss lower by" in (told.reason or "")
    assert live.contest.champion == live.in_force.champion == "sharp"
    assert live.in_force.weights is not None
    assert live.in_force.weights.name == "sharp"
    again = Contest(live.models, live.contest.snapshot())
    assert again.champion == "sharp"


def test_equally_good_models_are_rarely_called_better_however_often_one_looks() -> None:
    rng, called = Random(5), 0
    promotion = Promotion(confidence=0.9, frauds=1, examples=2_000)
    for _ in range(200):
        comparison = Comparison(promotion)
        better = False
        for number in range(1, 3_001):
            fraud = rng.random() < 0.03
            own, other = ((rng.random() ** 3 * 0.98 + 0.01) for _ in "ab")
            comparison.add(*((1 - own, 1 - other) if fraud else (own, other)), fraud)
            better |= number >= 500 and number % 50 == 0 and comparison.is_better
        called += better
    assert called <= 0.1 * 200
    assert called > 0  # the bound is not idle


def test_the_mean_and_its_spread_are_those_of_the_numbers() -> None:
    rng, mean = Random(2), Mean()
    numbers = [rng.gauss(3, 2) for _ in range(1_000)]
    for number in numbers:
        mean.add(number)
    assert mean.mean == pytest.approx(fmean(numbers))
    assert mean.squares / mean.number == pytest.approx(pvariance(numbers))
    assert mean.low(0.001, 1_000) < mean.low(0.01, 1_000) < mean.mean
    assert Mean().low(0.01, 100) == float("-inf")


def test_wrong_labels_for_everything_end_in_an_older_version_or_rules_only() -> None:
    live = Live(parsed())
    live.run(4_000)
    assert live.events("better") == []
    before = live.in_force.weights
    live.run(3_000, lambda fraud, x: not fraud)  # every label the wrong way round
    first, *_ = live.events("better", "drift")
    assert first.by == "fraudflow"
    assert first.event in {"rolled_back", "rules_only"}
    assert "above" in (first.reason or "")
    assert live.contest.rules_only
    assert live.in_force.rules_only
    assert before is not None


def test_a_version_that_fails_is_replaced_by_the_older_one_that_would_have_done_best() -> None:
    live = Live(parsed())
    live.run(4_000)
    good = live.in_force.weights
    assert good is not None
    live.run(400)
    bad = Weights("plain", 999, TrainedOn(1, 1), 4.0, {}, 0)  # calls everything fraud
    live.take([bad])
    live.contest.trainers["plain"].freeze()  # nothing newer comes
    live.contest.trainers["plain"].frozen = False
    for _ in range(1_500):
        live.in_force.use(bad)
        live.run(1)
        if live.events("better", "drift"):
            break
    (told,) = live.events("better", "drift")
    assert told.event == "rolled_back"
    assert live.in_force.weights != bad
    assert live.in_force.weights is not None
    assert live.in_force.weights.version <= live.contest.trainers["plain"].version
    live.out.clear()
    live.run(4_000)
    assert live.events("better", "drift") == []
    assert not live.in_force.rules_only


@pytest.mark.parametrize(
    ("action", "event"), [("freeze", "frozen"), ("rules_only", "rules_only"), ("tell", "out_of_band")]
)
def test_what_happens_by_itself_is_a_setting(action: str, event: str) -> None:
    live = Live(parsed(safety=f'action = "{action}"'))
    live.run(2_000)
    live.run(1_000, lambda fraud, x: "amount < 100" in x)
    assert live.events("better", "drift")[0].event == event


def test_a_poor_but_calibrated_model_raises_no_alarm() -> None:
    rng, alarms = Random(3), 0
    for _ in range(5):
        band = Band(Safety(), 0.01)
        for number in range(40_000):
            score = rng.choice([0.005, 0.01, 0.015])
            is_fraud = rng.random() < score
            band.know(is_fraud)
            alarms += band.add(score, {}, is_fraud, number)
    assert alarms == 0


def test_a_model_that_says_nothing_is_fraud_or_everything_leaves_its_band() -> None:
    rng, found = Random(4), Counter[str]()
    for kind, score in (("nothing", 1e-5), ("everything", 0.6)):
        band = Band(Safety(), 0.02)
        for number in range(4_000):
            is_fraud = rng.random() < 0.02
            band.know(is_fraud)
            if number >= 1_000 and band.add(score, {}, is_fraud, number):
                found[kind] = number - 999
                break
    assert 0 < found["everything"] <= 300
    assert 0 < found["nothing"] <= 2_500


def test_of_older_versions_only_those_count_that_had_not_learned_the_examples() -> None:
    band = Band(Safety(), 0.05)
    for number in range(300):
        is_fraud = number % 20 == 0
        band.know(is_fraud)
        band.add(0.9, {"odd": 1.0} if is_fraud else {}, is_fraud, 1_000 + number)
    right, later, poor = (
        Weights("m", version, TrainedOn(1, 1), -4.0, {"odd": weight}, 0)
        for version, weight in ((1, 5.0), (2, 9.0), (3, -5.0))
    )
    assert band.best([(900, right), (900, poor), (1_001, later)]) == right
    assert band.best([(900, poor)]) is None
    assert band.best([]) is None


@pytest.mark.parametrize("cut", [700, 3_100, 5_000])
def test_a_restored_contest_of_several_models_continues_to_the_bit(cut: int) -> None:
    whole = Live(parsed("automatic = true"))
    part = Live(parsed("automatic = true"))
    whole.run(6_000)
    part.run(cut)
    part.contest = Contest(part.models, part.contest.snapshot(), sees=part.contest._sees)
    part.in_force = ModelsInForce(part.in_force.names, part.in_force.state())
    part.run(6_000 - cut)
    assert part.out == whole.out
    assert part.contest.snapshot() == whole.contest.snapshot()
    assert part.in_force.state() == whole.in_force.state()


def test_a_challenger_can_be_added_and_taken_away() -> None:
    live = Live(parsed())
    live.run(1_000)
    plain, _ = live.models
    alone = Contest([plain], live.contest.snapshot())
    assert list(alone.trainers) == ["plain"]
    again = Contest(live.models, alone.snapshot())
    assert again.trainers["plain"].examples == live.contest.trainers["plain"].examples
    assert again.trainers["sharp"].examples == 0


def test_the_loss_that_is_compared_is_the_one_that_is_told() -> None:
    comparison = Comparison(Promotion())
    comparison.add(0.2, 0.1, False)
    comparison.add(0.3, 0.8, True)
    pairs = ((0.2, 0.1, False), (0.3, 0.8, True))
    gains = [log_loss(own, fraud, 1e-6) - log_loss(other, fraud, 1e-6) for own, other, fraud in pairs]
    assert comparison.gains.mean == pytest.approx(fmean(gains))
    assert f"lower by {fmean(gains):.5f}" in str(comparison)
    assert "2 examples, 1 of them frauds" in str(comparison)
