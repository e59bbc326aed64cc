"""The models of a flow: commands reach their trainers, a rollback forgets, everything survives a restart."""

import json
from pathlib import Path

import pytest

from operators.measurements import MEASUREMENTS, Point
from operators.model.contest import Contest, Output
from operators.model.control import Action, Control
from operators.model.events import ModelEvent
from operators.model.scoring import Scorer, TrainedOn, Weights
from operators.model.state import StateError
from operators.model.training import Trainer
from tests.test_model_training import examples, specification

AT = 1_733_324_400_000


def control(action: Action, name: str = "m", weights: Weights | None = None, at: int = AT) -> Control:
    return Control(action, name, "ana", "because", at, weights)


def published(output: list[Output]) -> list[Weights]:
    return [one for one in output if isinstance(one, Weights)]


def events(output: list[Output]) -> list[ModelEvent]:
    return [one for one in output if isinstance(one, ModelEvent)]


def test_a_frozen_model_learns_and_is_measured_and_publishes_nothing() -> None:
    contest = Contest([specification()])
    (first,) = published(contest.learn(examples(100), now=0))
    (event,) = events(contest.obey(control("freeze", weights=first), now=0))
    assert (event.event, event.version, event.by, event.reason) == ("frozen", 1, "ana", "because")
    out = contest.learn(examples(300, seed=2), now=0)
    assert published(out) == events(out) == []
    measured = [one for one in out if isinstance(one, Point) and one.measurement == "model_quality"]
    assert [point.fields["examples"] for point in measured] == [200, 300, 400]
    assert len({point.time_ns for point in measured}) == 3
    thawed = contest.obey(control("unfreeze"), now=0)
    assert [event.event for event in events(thawed)] == ["unfrozen", "published"]
    assert [(one.version, one.trained_on.examples) for one in published(thawed)] == [(2, 400)]


@pytest.mark.parametrize("optimiser", ["adagrad", "ftrl", "sgd"])
def test_after_a_rollback_it_predicts_and_learns_from_the_older_version_on(optimiser: str) -> None:
    contest = Contest([specification(optimiser)])
    old, *_, newest = published(contest.learn(examples(600, scored=False), now=0))
    assert old.weights != newest.weights
    out = contest.obey(control("rollback", weights=old), now=0)
    assert [event.event for event in events(out)] == ["rolled_back"]
    trainer = contest.trainers["m"]
    inputs = [example.input for example in examples(50, seed=9)]
    assert Scorer(old).scores(inputs) == pytest.approx([trainer.pipeline.predict(x) for x in inputs], abs=1e-9)
    contest.learn(examples(300, seed=3, scored=False), now=0)
    after = published(contest.obey(control("unfreeze"), now=0))
    assert [one.version for one in after] == [newest.version + 1]
    assert Scorer(after[0]).scores(inputs) == pytest.approx([trainer.pipeline.predict(x) for x in inputs], abs=1e-9)
    assert Scorer(after[0]).scores(inputs) != pytest.approx(Scorer(old).scores(inputs), abs=1e-9)


def test_weights_that_are_not_finite_are_rolled_back_by_themselves() -> None:
    contest = Contest([specification(examples=10)])
    (good,) = published(contest.learn(examples(10), now=0))
    broken = [one._replace(input={"amount": float("inf"), "amount is known": 1.0}) for one in examples(10)]
    out = contest.learn(broken * 3, now=0)
    (told, back, *_) = events(out)
    assert (told.event, back.event, back.by) == ("not_published", "rolled_back", "fraudflow")
    assert "not finite: amount" in (back.reason or "")
    (command,) = [one for one in out if isinstance(one, Control)]
    assert (command.action, command.weights) == ("rollback", good)
    contest.obey(control("unfreeze"), now=0)
    (mended,) = published(contest.learn(examples(10, seed=2), now=0))
    assert mended.is_finite()
    assert mended.version == 3


def test_a_command_that_is_read_again_changes_nothing() -> None:
    contest = Contest([specification()])
    first, *_ = published(contest.learn(examples(300), now=0))
    back = control("rollback", weights=first)
    assert contest.obey(back, now=0)
    contest.learn(examples(50, seed=2), now=0)
    before = contest.snapshot()
    assert contest.obey(back, now=0) == []
    assert contest.snapshot() == before
    assert contest.obey(control("rollback", weights=first, at=AT + 1), now=0)


def test_a_version_number_that_the_topic_holds_is_not_given_again() -> None:
    contest = Contest([specification()])
    contest.heard(Weights("m", 41, TrainedOn(1, 0), 0.0, {}, 0))
    contest.heard(Weights("other", 99, TrainedOn(1, 0), 0.0, {}, 0))
    assert [one.version for one in published(contest.learn(examples(100), now=0))] == [42]


def test_a_command_to_a_model_that_is_not_there_is_an_event() -> None:
    (event,) = events(Contest([specification()]).obey(control("freeze", "x"), now=0))
    assert event.event == "refused"
    assert "no model is called that; there is m" in event.message


def test_every_event_but_a_publication_is_a_point_too() -> None:
    contest = Contest([specification()])
    (first,) = published(contest.learn(examples(100), now=0))
    out = contest.obey(control("freeze", weights=first), now=0) + contest.obey(control("rules_only", ""), now=0)
    points = [one for one in out if isinstance(one, Point) and one.measurement == "model_event"]
    assert [(point.tags["model"], point.tags["event"]) for point in points] == [("m", "frozen"), ("all", "rules_only")]
    for point in points:
        assert tuple(point.tags) == MEASUREMENTS["model_event"].tags
        types = {name: type(value) for name, value in point.fields.items()}
        assert types.items() <= dict(MEASUREMENTS["model_event"].fields).items()
    record = json.loads(events(out)[0].to_json())
    assert (record["event"], record["by"], record["reason"]) == ("frozen", "ana", "because")
    assert "because" in record["message"]


@pytest.mark.parametrize("cut", [0, 150, 290])
def test_a_restored_contest_continues_to_the_bit(cut: int) -> None:
    def run(contest: Contest, first: int, last: int) -> list[Output]:
        out: list[Output] = []
        for number, example in enumerate(history[first:last], first):
            if number == 120:
                out += contest.obey(control("freeze", weights=weights), now=0)
            if number == 200:
                out += contest.obey(control("rollback", weights=weights), now=0)
            if number == 280:
                out += contest.obey(control("unfreeze"), now=0)
            out += contest.learn([example], now=0)
        return out

    history = examples(400, scored=False)
    (weights,) = published(Contest([specification()]).learn(history[:100], now=0))
    whole, part = Contest([specification()]), Contest([specification()])
    before = run(part, 0, cut)
    restored = Contest([specification()], part.snapshot())
    assert before + run(restored, cut, 400) == run(whole, 0, 400)
    assert restored.snapshot() == whole.snapshot()


def test_the_state_of_flows_with_one_trainer_still_loads() -> None:
    snapshot = (Path(__file__).parent / "data" / "trainer_state_2.msgpack").read_bytes()
    contest = Contest([specification()], snapshot)
    assert contest.trainers["m"].examples == Trainer(specification(), snapshot).examples == 150


def test_a_stored_state_of_a_single_models_contest_still_loads() -> None:
    """Version 1 before there were challengers; never change the file."""
    contest = Contest([specification()], (Path(__file__).parent / "data" / "contest_state_1.msgpack").read_bytes())
    trainer = contest.trainers["m"]
    assert (trainer.version, trainer.examples, trainer.frauds, trainer.frozen) == (3, 300, 21, True)
    assert (contest.champion, contest.rules_only) == ("m", True)


def test_a_stored_state_of_several_models_still_loads() -> None:
    """Never change the file."""
    models = [specification(), specification(name="n")]
    contest = Contest(models, (Path(__file__).parent / "data" / "contest_state_1_two.msgpack").read_bytes())
    assert contest.champion == "n"
    assert {name: trainer.examples for name, trainer in contest.trainers.items()} == {"m": 700, "n": 700}
    assert contest.comparisons["m"].gains.number == 100


def test_a_state_whose_first_model_is_another_is_refused() -> None:
    with pytest.raises(StateError, match=r"the stored models are m, .* begins with 'other'"):
        Contest([specification(name="other")], Contest([specification()]).snapshot())
    with pytest.raises(StateError, match="empty recovery directory"):
        Contest([specification()], b"junk")
