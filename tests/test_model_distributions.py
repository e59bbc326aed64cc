"""Drift of features and of the score: found when it is there, told once, and silent on what does not move."""

from math import log
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.measurements import MEASUREMENTS, Point
from operators.model.distributions import Distributions, DistributionsState, Shift, ks, psi
from operators.model.events import ModelEvent
from operators.model.files import load_model
from operators.model.join import Example
from operators.model.specification import ModelError, Specification, parse_model
from operators.model.training import Trainer

WINDOW = 1_000
SPECIFICATION = f"""
name = "m"
[monitor]
window = {WINDOW}
[[feature]]
name = "amount"
value = "amount"
transform = "bins"
bins = [10, 100]
[[feature]]
name = "type"
value = "type"
transform = "onehot"
values = ["A", "B"]
missing = true
[[feature]]
name = "mean"
value = "amount"
transform = "log"
[[feature]]
name = "hour"
value = "hour_of_day"
transform = "bins"
bins = [12]
"""


def specification() -> Specification:
    return parse_model(SPECIFICATION)


def window(rng: Random, *, large: float = 0.2, a: float = 0.5, mean: float = 3.0, night: float = 0.5) -> list[Example]:
    made = []
    for number in range(WINDOW):
        x = {
            "amount >= 100" if rng.random() < large else "amount in 10..100": 1.0,
            "type = A" if rng.random() < a else "type = B": 1.0,
            "hour < 12" if rng.random() < night else "hour >= 12": 1.0,
            "mean": rng.gauss(mean, 1.0),
        }
        made.append(Example(f"t{number}", number, number, x, rng.random(), rng.random() < 0.1, 1.0, 5.0))
    return made


def shifts_of(distributions: Distributions, examples: list[Example]) -> dict[str, Shift]:
    found = [
        shift for example in examples for shift in distributions.add(example.input, example.score, example.event_time)
    ]
    assert len({shift.detector for shift in found}) == len(found)
    return {shift.detector: shift for shift in found}


def test_the_first_window_is_the_reference_and_a_still_stream_stays_near_it() -> None:
    rng = Random(1)
    distributions = Distributions(specification())
    assert shifts_of(distributions, window(rng)) == {}
    for _ in range(20):
        found = shifts_of(distributions, window(rng))
        assert set(found) == {"psi:amount", "ks:amount", "psi:type", "psi:mean", "ks:mean", "psi:score", "ks:score"}
        assert max(shift.value for shift in found.values()) < 0.1
        assert not any(shift.drift for shift in found.values())


@pytest.mark.parametrize(
    ("change", "moved", "message"),
    [
        ({"large": 0.6}, {"psi:amount", "ks:amount"}, "amount >= 100: "),
        ({"a": 0.1}, {"psi:type"}, "type = A: "),
        ({"mean": 4.5}, {"psi:mean", "ks:mean"}, "mean part 10: "),
        ({"night": 1.0}, set(), ""),
    ],
)
def test_what_moves_is_found_and_told_once(change: dict[str, float], moved: set[str], message: str) -> None:
    rng = Random(2)
    distributions = Distributions(specification())
    shifts_of(distributions, window(rng))
    found = shifts_of(distributions, window(rng, **change))
    assert {shift.detector for shift in found.values() if shift.begins} == moved
    assert not moved or found[min(moved, key=lambda detector: detector[:2] != "ps")].message.startswith(message)
    again = shifts_of(distributions, window(rng, **change))
    assert {shift.detector for shift in again.values() if shift.drift} == moved
    assert not any(shift.begins for shift in again.values())
    shifts_of(distributions, window(rng))
    assert {s.detector for s in shifts_of(distributions, window(rng, **change)).values() if s.begins} == moved


def test_a_feature_that_few_have_says_nothing_and_gets_its_reference_when_it_comes() -> None:
    rng = Random(3)
    distributions = Distributions(specification())
    without = [example._replace(input={"type = A": 1.0, "type = B": 0.0}) for example in window(rng)]
    shifts_of(distributions, without)
    assert "psi:amount" not in shifts_of(distributions, window(rng))
    assert "psi:amount" in shifts_of(distributions, window(rng))


def test_a_million_stationary_examples_raise_no_alarm() -> None:
    rng = Random(8)
    pool = [example for _ in range(5) for example in window(rng)]
    distributions = Distributions(parse_model(SPECIFICATION.replace(f"window = {WINDOW}", "window = 10_000")))
    drawn = (rng.choice(pool) for _ in range(1_000_000))
    shifts = [shift for example in drawn for shift in distributions.add(example.input, example.score, 0)]
    assert len(shifts) == 99 * 7
    assert max(shift.value for shift in shifts) < 0.05
    assert not any(shift.drift for shift in shifts)


def test_a_window_feature_gets_its_reference_when_its_own_time_window_is_full() -> None:
    rng = Random(7)
    warming = parse_model(SPECIFICATION.replace('value = "amount"\ntransform = "log"', 'value = "count_1h"'))
    distributions = Distributions(warming)
    told = []
    for hour in (0.0, 0.5, 1.0, 2.0, 3.0):
        stream = [example._replace(event_time=int(hour * 3_600_000)) for example in window(rng)]
        told.append({detector.split(":")[1] for detector in shifts_of(distributions, stream)})
    assert told == [set(), {"amount", "type"}, {"amount", "type"}, *[{"amount", "type", "mean", "score"}] * 2]


@given(st.lists(st.integers(1, 50), min_size=2, max_size=8), st.data())
def test_the_distances_are_what_their_definitions_say(before: list[int], data: st.DataObject) -> None:
    now = data.draw(st.lists(st.integers(1, 50), min_size=len(before), max_size=len(before)))
    p, q = [n / sum(before) for n in before], [n / sum(now) for n in now]
    assert psi(p, q)[0] == pytest.approx(sum((b - a) * log(b / a) for a, b in zip(p, q, strict=True)))
    distance = max(abs(sum(p[:n]) - sum(q[:n])) for n in range(1, len(p) + 1))
    assert ks(before, now)[0] == pytest.approx(distance)
    assert psi(p, p)[0] == ks(before, before)[0] == 0.0


def test_restored_in_the_middle_of_a_window_it_continues() -> None:
    rng = Random(4)
    stream = [*window(rng), *window(rng, large=0.7)]
    whole, first = Distributions(specification()), Distributions(specification())
    expected = shifts_of(whole, stream)
    for cut in (300, 1_300):
        first = Distributions(specification())
        before = shifts_of(first, stream[:cut])
        stored = msgspec.msgpack.encode(first.state())
        second = Distributions(specification(), msgspec.msgpack.decode(stored, type=DistributionsState))
        assert before | shifts_of(second, stream[cut:]) == expected
        assert second.state() == whole.state()


def test_a_reference_of_other_bins_is_given_up() -> None:
    rng = Random(5)
    first = Distributions(specification())
    shifts_of(first, window(rng))
    other = parse_model(SPECIFICATION.replace("bins = [10, 100]", "bins = [10, 200]"))
    found = shifts_of(Distributions(other, first.state()), window(rng))
    assert "psi:type" in found
    assert "psi:amount" not in found


def test_the_trainer_tells_drift_in_points_and_events() -> None:
    rng = Random(6)
    trainer = Trainer(specification())
    output = trainer.learn([*window(rng), *window(rng, large=0.7)], now=0)
    points = [one for one in output if isinstance(one, Point) and ":" in one.tags.get("detector", "")]
    assert {point.tags["detector"] for point in points if point.fields["drift"]} == {"psi:amount", "ks:amount"}
    for point in points:
        schema = MEASUREMENTS[point.measurement]
        assert tuple(point.tags) == schema.tags
        assert {name: type(value) for name, value in point.fields.items()} == dict(schema.fields)
    events = [one for one in output if isinstance(one, ModelEvent) and one.detector and ":" in one.detector]
    assert [event.detector for event in events] == ["psi:amount", "ks:amount"]
    assert "of the reference" in events[0].message


def test_every_feature_of_the_shipped_model_that_has_categories_is_watched() -> None:
    watched = Distributions(load_model("model.toml"))
    names = {feature.name for feature in load_model("model.toml").features if feature.transform != "flag"}
    assert set(watched._categories) == names - {"hour_of_day"}


def test_no_feature_can_be_called_score() -> None:
    with pytest.raises(ModelError, match="score"):
        parse_model('name = "m"\n[[feature]]\nname = "score"\nvalue = "amount"')
