"""The trainer: predicts before it learns, publishes what scorers need, continues to the bit, says what goes wrong."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from msgspec import structs

from operators.measurements import MEASUREMENTS, Point
from operators.model.events import ModelEvent
from operators.model.join import Example
from operators.model.scoring import Scorer, Weights
from operators.model.specification import Specification, parse_model
from operators.model.state import StateError
from operators.model.training import Output, Trainer


def specification(
    optimiser: str = "adagrad", name: str = "m", examples: int = 100, first: int | None = None, most: float = 0.2
) -> Specification:
    return parse_model(
        f'name = "{name}"\nprior = 0.02\n[learning]\noptimiser = "{optimiser}"\nrate = 0.3\nfraud_weight = 2\n'
        f"most_frauds = {most}\n[publish]\nfirst = {first or examples}\nexamples = {examples}\nseconds = 10\n"
        "[monitor]\nwindow = 300\n"
        '[[feature]]\nname = "amount"\nvalue = "amount"\ntransform = "standardise"\n'
        '[[feature]]\nname = "type"\nvalue = "type"\ntransform = "onehot"\nvalues = ["A"]\n'
    )


def examples(n: int, seed: int = 1, scored: bool = True) -> list[Example]:
    rng = Random(seed)
    made = []
    for number in range(n):
        is_fraud = rng.random() < 0.05
        kind = "type = A" if is_fraud != (rng.random() < 0.05) else "type = other"
        x = {"amount": rng.gauss(100 + 40 * is_fraud, 30), "amount is known": 1.0, kind: 1.0}
        score = rng.random() if scored else None
        made.append(Example(f"t{number}", number, 1_000 + number // 3, x, score, is_fraud, 1.0, 10.0))
    return made


@dataclass
class Sorted:
    weights: list[Weights]
    events: list[ModelEvent]
    points: list[Point]


def by_kind(output: list[Output]) -> Sorted:
    return Sorted(
        [one for one in output if isinstance(one, Weights)],
        [one for one in output if isinstance(one, ModelEvent)],
        [one for one in output if isinstance(one, Point)],
    )


def test_weights_are_published_every_so_many_examples_with_counts_metrics_and_points() -> None:
    history = examples(250)
    out = by_kind(Trainer(specification()).learn(history, now=5_000))
    assert [(w.version, w.trained_on.examples, w.published_at) for w in out.weights] == [(1, 100, 5000), (2, 200, 5000)]
    assert out.weights[1].trained_on.frauds == sum(example.is_fraud for example in history[:200])
    assert [event.event for event in out.events] == ["published"] * 2
    quality = [point for point in out.points if point.measurement == "model_quality"]
    assert [point.fields["examples"] for point in quality] == [100, 200]
    assert quality[1].time_ns == history[199].matured_at * 1_000_000 + 2
    assert dict(out.weights[1].metrics).items() <= dict(quality[1].fields).items()


def test_points_are_what_the_schema_says_and_no_two_share_an_identity() -> None:
    out = by_kind(Trainer(specification(examples=20)).learn(examples(500), now=0))
    identities = [(point.measurement, tuple(sorted(point.tags.items())), point.time_ns) for point in out.points]
    assert len(set(identities)) == len(identities) == 5 * 25
    for point in out.points:
        schema = MEASUREMENTS[point.measurement]
        assert tuple(point.tags) == schema.tags
        assert {name: type(value) for name, value in point.fields.items()}.items() <= dict(schema.fields).items()


def test_weights_are_published_after_so_many_seconds_if_there_was_anything_new() -> None:
    trainer = Trainer(specification())
    assert trainer.learn(examples(5), now=1_000) == []
    assert trainer.learn([], now=10_999) == []
    assert len(by_kind(trainer.learn([], now=11_000)).weights) == 1
    assert trainer.learn([], now=99_000) == []


def test_flush_publishes_what_is_left_once() -> None:
    trainer = Trainer(specification())
    trainer.learn(examples(5), now=0)
    assert [weights.trained_on.examples for weights in by_kind(trainer.flush(1)).weights] == [5]
    assert trainer.flush(2) == []


def test_published_weights_score_as_the_pipeline_predicts() -> None:
    trainer = Trainer(specification())
    (weights,) = by_kind(trainer.learn(examples(100), now=0)).weights
    inputs = [example.input for example in examples(50, seed=9)]
    assert Scorer(weights).scores(inputs) == pytest.approx([trainer.pipeline.predict(x) for x in inputs], abs=1e-9)


def test_quality_is_judged_by_the_score_of_the_decision() -> None:
    trainer = Trainer(specification())
    trainer.learn(examples(30), now=0)
    assert list(trainer.quality.scores) == [example.score for example in examples(30)]


def test_without_a_score_it_predicts_before_it_learns() -> None:
    trainer = Trainer(specification())
    trainer.learn(examples(30, scored=False), now=0)
    scores = list(trainer.quality.scores)
    assert scores[0] == pytest.approx(0.02)
    again = Trainer(specification())
    for example, score in zip(examples(30, scored=False), scores, strict=True):
        assert again.pipeline.predict(example.input) == score
        again.learn([example], now=0)


@pytest.mark.parametrize("optimiser", ["adagrad", "ftrl", "sgd"])
@pytest.mark.parametrize("cut", [0, 1, 150, 333])
def test_a_restored_trainer_continues_to_the_bit(optimiser: str, cut: int) -> None:
    spec, history = specification(optimiser), examples(400, scored=False)
    history[100:100] = [example._replace(is_fraud=True) for example in examples(60, seed=7)]  # some of them wait
    history[300:300] = [correction(example) for example in history[50:110]]
    whole, first = Trainer(spec), Trainer(spec)
    before = first.learn(history[:cut], now=0)
    second = Trainer(spec, first.snapshot())
    assert second.snapshot() == first.snapshot()
    after = second.learn(history[cut:], now=0) + second.flush(0)
    assert before + after == whole.learn(history, now=0) + whole.flush(0)
    assert second.snapshot() == whole.snapshot()


def test_batches_do_not_matter() -> None:
    whole, parts = Trainer(specification()), Trainer(specification())
    history = examples(250)
    cut = [one for i in range(0, 250, 7) for one in parts.learn(history[i : i + 7], now=0)]
    assert cut == whole.learn(history, now=0)


def test_a_young_model_is_published_more_often() -> None:
    out = by_kind(Trainer(specification(first=10, examples=100)).learn(examples(600), now=0))
    counts = [weights.trained_on.examples for weights in out.weights]
    assert counts[:8] == [10, 20, 30, 40, 50, 62, 77, 96]
    assert counts[-1] - counts[-2] == 100


def test_nothing_is_published_or_judged_before_the_first_legitimate_example() -> None:
    trainer = Trainer(specification(examples=10))
    history = examples(40)
    frauds = [example._replace(is_fraud=True) for example in history[:20]]
    assert trainer.learn(frauds, now=0) == []
    assert trainer.learn([], now=10**9) == []
    assert trainer.flush(10**9) == []
    assert trainer.quality.metrics(0.5) == {}
    assert (trainer.examples, trainer.balance.waiting) == (0, 20)
    first = history[20]._replace(is_fraud=False)
    trainer.learn([first], now=10**9)
    assert (trainer.examples, trainer.frauds) == (1, 0)
    assert list(trainer.quality.frauds) == [False]


def test_an_early_flood_of_frauds_does_not_make_everything_fraud() -> None:
    """Labels of frauds after an hour, legitimate transactions at maturity: what a new model meets."""
    history = [example._replace(score=None) for example in examples(3_000)]
    frauds = [example for example in history if example.is_fraud]
    rest = [example for example in history if not example.is_fraud]
    trainer = Trainer(specification(most=0.1))
    trainer.learn([*frauds, *rest], now=0)
    called = [example for example in rest if trainer.pipeline.predict(example.input) >= 0.5]
    assert len(called) < 0.1 * len(rest)
    assert trainer.frauds == len(frauds)
    assert trainer.balance.waiting == 0


def test_waiting_frauds_are_judged_when_they_mature_not_when_they_are_learned() -> None:
    trainer = Trainer(specification())
    legitimate, *rest = (example._replace(is_fraud=False) for example in examples(40))
    frauds = [example._replace(is_fraud=True) for example in rest[:10]]
    trainer.learn([legitimate, *frauds], now=0)
    assert list(trainer.quality.scores) == [example.score for example in (legitimate, *frauds)]
    trainer.learn(rest[10:], now=0)
    assert len(trainer.quality.scores) == 1 + 10 + len(rest[10:])


def correction(example: Example) -> Example:
    return example._replace(is_fraud=not example.is_fraud, matured_at=2_000, corrects=True)


@pytest.mark.parametrize("optimiser", ["adagrad", "ftrl"])
def test_a_corrected_model_comes_close_to_one_that_never_saw_the_wrong_label(optimiser: str) -> None:
    history = examples(2_000, scored=False)
    odd = {number for number, example in enumerate(history) if not example.is_fraud and number % 50 == 0}
    right: list[Example] = []
    wrong: list[Example] = []
    corrected: list[Example] = []
    for number, example in enumerate(history):
        mistaken = example._replace(is_fraud=True) if number in odd else example
        right.append(example)
        wrong.append(mistaken)
        corrected.append(mistaken)
        if number - 50 in odd:
            corrected.append(correction(wrong[number - 50]))
    never, misled, mended = (Trainer(specification(optimiser)) for _ in range(3))
    never.learn(right, now=0)
    misled.learn(wrong, now=0)
    mended.learn(corrected, now=0)

    def distance(trainer: Trainer) -> float:
        inputs = [example.input for example in examples(200, seed=9)]
        return sum(abs(trainer.pipeline.predict(x) - never.pipeline.predict(x)) for x in inputs)

    assert distance(mended) < 0.7 * distance(misled)
    assert mended.frauds < misled.frauds
    assert mended.examples == never.examples


def test_a_correction_is_not_judged_again() -> None:
    trainer = Trainer(specification())
    history = examples(30)
    trainer.learn(history, now=0)
    trainer.learn([correction(history[3])], now=0)
    assert len(trainer.quality.scores) == 30


def test_a_correction_of_a_fraud_that_still_waits_takes_its_place() -> None:
    corrected, never = Trainer(specification()), Trainer(specification())
    fraud, *rest = (example._replace(is_fraud=number == 0) for number, example in enumerate(examples(40)))
    corrected.learn([fraud, correction(fraud), *rest], now=0)
    never.learn([fraud._replace(is_fraud=False), *rest], now=0)
    assert corrected.pipeline.state() == never.pipeline.state()
    assert corrected.balance.waiting == 0


def test_a_correction_that_still_waits_can_be_taken_back() -> None:
    trainer = Trainer(specification())
    history = [example._replace(is_fraud=False) for example in examples(3)]
    trainer.learn(history, now=0)
    before = trainer.pipeline.state()
    to_fraud = correction(history[0])
    trainer.learn([to_fraud, correction(to_fraud)], now=0)
    assert trainer.pipeline.state() == before
    assert trainer.balance.waiting == 0


def test_a_flood_of_wrong_labels_moves_the_model_within_the_bound() -> None:
    trainer = Trainer(specification(most=0.1))
    trainer.learn(examples(3_000, scored=False), now=0)
    flood = [example._replace(is_fraud=True) for example in examples(5_000, seed=4, scored=False)]
    before = trainer.frauds
    trainer.learn(flood, now=0)
    assert trainer.frauds - before <= 0.1 * 2_000
    calm = examples(20_000, seed=5, scored=False)
    trainer.learn([e for pair in zip(flood, calm, strict=False) for e in pair], now=0)
    scores = [trainer.pipeline.predict(example.input) for example in examples(1_000, seed=6)]
    assert sum(scores) / len(scores) <= 0.2


def test_weights_that_are_not_finite_are_not_published_and_an_event_says_which() -> None:
    trainer = Trainer(specification(examples=10))
    broken = examples(10)
    broken[4] = broken[4]._replace(input={"amount": float("inf"), "amount is known": 1.0})
    out = by_kind(trainer.learn(broken, now=0))
    assert out.weights == []
    assert [event.event for event in out.events] == ["not_published"]
    assert "amount" in out.events[0].message


def test_a_concept_change_is_an_event_with_what_moved() -> None:
    trainer = Trainer(specification(examples=10_000))
    calm = [example._replace(score=0.9 if example.is_fraud else 0.01) for example in examples(6_000, seed=2)]
    changed = [example._replace(score=0.01) for example in examples(3_000, seed=3)]
    assert by_kind(trainer.learn(calm, now=0)).events == []
    out = by_kind(trainer.learn(changed, now=0))
    assert {event.detector for event in out.events} == {"adwin", "page_hinkley", "cusum:frauds"}
    (apart,) = [event for event in out.events if event.detector == "cusum:frauds"]
    assert re.fullmatch(r"frauds score lower: 0\.0100 on average over the latest \d+, 0\.\d+ before", apart.message)
    record = json.loads(next(event for event in out.events if event.detector == "adwin").to_json())
    assert record["event"] == "drift"
    assert record["model"] == "m"
    assert record["at"].endswith("Z")
    assert "log-loss rose from" in record["message"]
    assert record["value"] > 0.01
    drift_points = [point for point in by_kind(trainer.flush(0)).points if point.measurement == "model_drift"]
    assert [point.fields["drift"] for point in drift_points] == [1, 1, 1, 0]


def test_a_state_of_another_model_or_optimiser_is_refused_with_what_to_do() -> None:
    snapshot = Trainer(specification()).snapshot()
    with pytest.raises(StateError, match="give it back its name"):
        Trainer(specification(name="other"), snapshot)
    with pytest.raises(StateError, match="set it back"):
        Trainer(specification("ftrl"), snapshot)
    with pytest.raises(StateError, match="empty recovery directory"):
        Trainer(specification(), b"junk")


def test_a_stored_state_of_today_still_loads() -> None:
    """Version 2; never change the file."""
    snapshot = (Path(__file__).parent / "data" / "trainer_state_2.msgpack").read_bytes()
    trainer = Trainer(specification(), snapshot)
    assert (trainer.version, trainer.examples, trainer.frauds) == (1, 150, 11)
    (weights,) = by_kind(trainer.flush(0)).weights
    assert weights.bias == pytest.approx(-3.7213517999318393)
    assert weights.weights["type = A"] == pytest.approx(1.0561545380426463)


def test_a_stored_old_state_still_loads() -> None:
    """Version 1, written before the balance of frauds was kept; never change the file."""
    snapshot = (Path(__file__).parent / "data" / "trainer_state_1.msgpack").read_bytes()
    trainer = Trainer(specification(), snapshot)
    assert (trainer.version, trainer.examples, trainer.frauds) == (1, 150, 6)
    (weights,) = by_kind(trainer.flush(0)).weights
    assert weights.version == 2
    assert weights.bias == pytest.approx(-3.785220838654895)
    assert weights.weights["type = A"] == pytest.approx(0.017619495894004942)


def sampled(share: float) -> Specification:
    spec = specification(examples=10_000)
    return structs.replace(spec, learning=structs.replace(spec.learning, legitimate_share=share))


def test_a_sample_of_the_legitimate_examples_stands_for_all_of_them() -> None:
    """As many in the sample as its share says, each with the weight that makes up for the others."""
    whole, part = Trainer(sampled(1.0)), Trainer(sampled(0.25))
    learned: list[tuple[bool, float]] = []
    learn = part.pipeline.learn
    part.pipeline.learn = lambda x, is_fraud, weight: (  # type: ignore[method-assign,assignment]
        learned.append((is_fraud, weight)),
        learn(x, is_fraud, weight),
    )
    history = examples(8_000)
    whole.learn(history, now=0)
    part.learn(history, now=0)
    assert (part.examples, part.frauds) == (whole.examples, whole.frauds)
    assert {weight for is_fraud, weight in learned if is_fraud} == {2.0}
    assert {weight for is_fraud, weight in learned if not is_fraud} == {4.0}
    legitimate = [is_fraud for is_fraud, _ in learned].count(False)
    assert legitimate == pytest.approx(0.25 * (whole.examples - whole.frauds), rel=0.1)
    scores = [[trainer.pipeline.predict(one.input) for one in examples(500, seed=8)] for trainer in (whole, part)]
    assert sum(scores[1]) == pytest.approx(sum(scores[0]), rel=0.25)


def test_a_correction_takes_back_only_what_was_learned() -> None:
    history = [example._replace(is_fraud=False) for example in examples(400)]
    trainer = Trainer(sampled(0.25))
    trainer.learn(history, now=0)
    weights: list[float] = []
    trainer.pipeline.learn = lambda x, is_fraud, weight: weights.append(weight)  # type: ignore[method-assign,assignment]
    trainer.learn([correction(example) for example in history[:80]], now=0)
    passed_over = [weight for weight in weights if weight == 2.0]
    assert 0 < len(passed_over) < len(weights)
    assert all(weight > 2.0 for weight in weights if weight not in passed_over)
