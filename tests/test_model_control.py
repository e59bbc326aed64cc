"""Commands to models: their records, what is in force in a shard, what the topic tells, which versions are kept."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka_source import RawBatch
from flows.encoding import model_records
from operators.model.control import Action, Control, Refused, newest_of_each, read_models
from operators.model.events import ModelEvent
from operators.model.in_force import ModelsInForce
from operators.model.registry import NoSuchModel, Registry
from operators.model.scoring import TrainedOn, Weights, WeightsError
from operators.model.versions import LATEST, given_up, version_key

AT = 1_733_324_400_000


def weights(version: int, name: str = "m", bias: float = 0.0) -> Weights:
    return Weights(name, version, TrainedOn(version * 100, version), bias, {"amount": 1.0}, AT)


def control(action: Action, name: str = "m", version: int | None = None) -> Control:
    return Control(action, name, "ana", "because", AT, weights(version, name) if version else None)


def batch(*published: Weights | Control) -> RawBatch:
    records = [record for one in published for record in model_records(one)]
    keys, values = [record.key for record in records], [record.value for record in records]
    return RawBatch("fraud-models", 0, range(len(records)), [AT] * len(records), keys, values)


@pytest.mark.parametrize(
    "made",
    [
        control("freeze", version=3),
        control("rollback", version=3),
        control("unfreeze"),
        control("promote"),
        control("rules_only", ""),
        control("resume", ""),
    ],
    ids=lambda made: made.action,
)
def test_a_command_survives_its_topic(made: Control) -> None:
    assert Control.from_json(made.to_json()) == made
    assert made in list(read_models(batch(made)))
    assert json.loads(made.to_json())["at"] == "2024-12-04T15:00:00.000Z"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"action": "destroy"}, "destroy"),
        ({"weights": None}, "wanted `weights`"),
        ({"model": "other"}, "wanted `weights` of that model"),
        ({"action": "promote", "model": ""}, "name of a `model`"),
        ({"weights": {"name": "m"}}, "version"),
        ({"at": "yesterday"}, "at"),
        ({"by": 7}, "by"),
    ],
)
def test_a_record_that_is_no_command_is_refused_with_the_reason(changed: dict[str, Any], said: str) -> None:
    record = json.dumps({**json.loads(control("freeze", version=3).to_json()), **changed}).encode()
    with pytest.raises(WeightsError, match=said):
        Control.from_json(record)
    (refused,) = read_models(RawBatch("fraud-models", 2, [7], [AT], [b"control/m"], [record]))
    assert isinstance(refused, Refused)
    assert str(refused).startswith("fraud-models[2] offset 7 is passed over: ")
    assert refused.event() == ModelEvent("refused", "control/m", 0, AT, str(refused))


def in_force(*names: str) -> ModelsInForce:
    return ModelsInForce(names or ("m",))


def version(models: ModelsInForce) -> int | None:
    return models.weights.version if models.weights else None


def test_a_frozen_model_keeps_its_weights_until_it_is_unfrozen() -> None:
    models = in_force()
    models.use(weights(5))
    models.obey(control("freeze", version=5))
    models.use(weights(6))
    assert version(models) == 5
    models.obey(control("unfreeze"))
    assert version(models) == 5
    models.use(weights(7))
    assert version(models) == 7


def test_a_rollback_counts_for_a_frozen_model_too() -> None:
    models = in_force()
    models.use(weights(5))
    models.obey(control("freeze", version=5))
    models.obey(control("rollback", version=2))
    assert version(models) == 2
    models.use(weights(6))
    assert version(models) == 2


def test_who_is_promoted_decides_and_the_others_score_beside_it() -> None:
    models = in_force("m", "n")
    for name in ("m", "n"):
        models.use(weights(1, name))
    assert models.beside([{}]) == ("m", {"n": [pytest.approx(0.5)]})
    models.obey(control("promote", "n"))
    assert models.beside([{}]) == ("n", {"m": [pytest.approx(0.5)]})
    models.obey(control("promote", "gone"))
    assert models.champion == "m"  # a model that is not there decides nothing


def test_other_models_on_the_topic_are_passed_over() -> None:
    models = in_force()
    models.use(weights(1, "foreign"))
    models.obey(control("freeze", "foreign", 1))
    assert models.weights is None
    models.use(weights(2))
    assert version(models) == 2


def test_what_is_in_force_survives_a_snapshot() -> None:
    models = in_force("m", "n")
    models.use(weights(1, "n"))
    for command in (control("freeze", version=5), control("promote", "n"), control("rules_only", "")):
        models.obey(command)
    again = ModelsInForce(("m", "n"), models.state())
    assert again.state() == models.state()
    assert (again.champion, again.rules_only) == ("n", True)
    again.use(weights(9))
    assert {name: scorer.weights and scorer.weights.version for name, scorer in again._scorers.items()} == {
        "m": 5,
        "n": 1,
    }
    assert ModelsInForce(("m",), models.state()).champion == "m"


commands = st.one_of(
    st.builds(weights, st.integers(1, 9), st.sampled_from(["m", "n"])),
    st.builds(control, st.sampled_from(["freeze", "rollback"]), st.sampled_from(["m", "n"]), st.integers(1, 9)),
    st.builds(control, st.sampled_from(["unfreeze", "promote"]), st.sampled_from(["m", "n"])),
    st.builds(control, st.sampled_from(["rules_only", "resume"]), st.just("")),
)


@given(st.lists(commands, max_size=20))
def test_of_many_messages_the_shorter_list_leaves_the_same_in_force(found: list[Weights | Control]) -> None:
    def after(given: list[Weights | Control]) -> Any:
        models = in_force("m", "n")
        for one in given:
            models.use(one) if isinstance(one, Weights) else models.obey(one)
        return models.state()

    assert after(newest_of_each(found)) == after(found)


@given(st.lists(commands, max_size=20))
def test_a_shard_that_begins_with_the_compacted_topic_has_what_the_others_have(found: list[Weights | Control]) -> None:
    """Of each key only the last record is left; what was published by a race, after a freeze, does no harm."""
    live = in_force("m", "n")
    whole = batch(*found)
    for one in read_models(whole):
        assert not isinstance(one, Refused)
        live.use(one) if isinstance(one, Weights) else live.obey(one)
    kept = sorted({key: number for number, key in enumerate(whole.keys)}.values())
    compacted = RawBatch(
        "t", 0, kept, [AT] * len(kept), *([column[i] for i in kept] for column in (whole.keys, whole.values))
    )
    late = in_force("m", "n")
    for one in read_models(compacted):
        assert not isinstance(one, Refused)
        late.use(one) if isinstance(one, Weights) else late.obey(one)
    assert (late.champion, late.rules_only) == (live.champion, live.rules_only)
    assert late._frozen == live._frozen
    for name in live._frozen:
        assert late._scorers[name].weights == live._scorers[name].weights


@given(st.integers(1, 3_000))
def test_kept_versions_are_dense_at_the_end_and_reach_back_to_the_beginning(newest: int) -> None:
    kept: set[int] = set()
    for number in range(1, newest + 1):
        gone = given_up(number)
        assert kept.issuperset(gone)
        kept = (kept - set(gone)) | {number}
    assert kept.issuperset(range(max(1, newest - LATEST + 1), newest + 1))
    assert len(kept) <= LATEST + 4 * newest.bit_length()
    ages = sorted(newest - number for number in kept)
    assert all(older - younger <= max(1, younger) for younger, older in pairwise(ages))
    assert kept == {number for number in range(1, newest + 1) if newest - number < LATEST * (number & -number)}


def test_the_registry_tells_what_is_kept_and_in_force() -> None:
    published = [weights(number) for number in range(1, 21)]
    registry = Registry([batch(*published)])
    assert [one.version for one in registry.kept("m")] == [20, 19, 18, 17, 16, 15, 14, 13, 12, 10, 8, 6, 4]
    frozen = registry.command("freeze", "m", None, by="ana", reason="odd", at=AT)
    assert frozen.weights == published[-1]
    back = registry.command("rollback", "m", 12, by="ana", reason="odd", at=AT)
    after = Registry([batch(*published, frozen, weights(21), back)])
    assert after.in_force("m").version == 12
    assert after.frozen("m") == back
    assert Registry([batch(*published, back, control("unfreeze"))]).frozen("m") is None
    with pytest.raises(NoSuchModel, match="version 3 of m is not kept: there is 20, 19"):
        registry.command("rollback", "m", 3, by="ana", reason="odd", at=AT)
    with pytest.raises(NoSuchModel, match="there is no model 'n': the topic has m"):
        registry.command("freeze", "n", None, by="ana", reason="odd", at=AT)


def test_weights_are_on_the_topic_under_their_name_and_as_a_version() -> None:
    keys = [record.key for record in model_records(weights(9))]
    assert keys == [b"m@1", version_key("m", 9).encode(), b"m"]
    assert [record.value is None for record in model_records(weights(9))] == [True, False, False]
    assert [record.key for record in model_records(control("rollback", version=3))] == [b"control/m", b"m"]
    assert [record.key for record in model_records(control("freeze", version=3))] == [b"control/m"]
