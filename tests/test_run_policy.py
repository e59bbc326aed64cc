"""When a flow that has died is started again, and what its supervisor tells the probes."""

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudflow.run.cluster import Options, command
from fraudflow.run.health import HealthServer, State
from fraudflow.run.policy import GOOD_WHILE_S, LONGEST_PAUSE_S, MOST_FAILURES, Pauses, Poison
from fraudflow.run.told import Failure

AT = (("offset", 7), ("partition", 1), ("topic", "t"))


def test_pauses_grow_to_a_minute_and_begin_anew_after_a_good_while():
    pauses = Pauses(chance=lambda: 1.0)
    assert [pauses.after(ready_for=5.0) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [pauses.after(GOOD_WHILE_S), pauses.after(0.0)] == [1, 2]


@given(st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 1)), min_size=1, max_size=40))
def test_a_pause_is_never_none_and_never_endless(runs):
    for ready_for, chance in runs:
        assert 0.5 <= Pauses(lambda chance=chance: chance).after(ready_for) <= LONGEST_PAUSE_S


@pytest.mark.parametrize(
    ("failures", "given_up"),
    [
        ([Failure("decide", "x", AT)] * MOST_FAILURES, True),
        ([Failure("decide", "x", AT), None, Failure("decide", "y", AT), None, Failure("decide", "z", AT)], True),
        ([Failure("decide", "x", AT), Failure("decide", "x", ()), Failure("decide", "x", AT)], False),
        ([Failure("decide", "x", AT), Failure("train", "x", AT), Failure("decide", "x", AT)], False),
        ([Failure("decide", "x", ())] * MOST_FAILURES, True),
        ([Failure("decide", str(number), ()) for number in range(9)], False),
        ([None] * 50, False),
    ],
)
def test_only_deaths_at_one_message_end_it(failures, given_up):
    poison = Poison()
    assert [poison.died(failure) for failure in failures][-1] is given_up


def test_the_engine_is_started_as_documented():
    options = Options(processes=2, workers=3, recovery=Path("state"), interval=5)
    words = " ".join(command(options, 1, "a:1;b:2")[1:])
    assert words == "-m bytewax.run flows.fraud:get_flow -w 3 -r state -s 5 -b 0 -i 1 -a a:1;b:2"
    assert " ".join(command(Options(), 0, "")[1:]) == "-m bytewax.run flows.fraud:get_flow -w 1"


@pytest.mark.parametrize(
    ("state", "health", "ready"),
    [(State(True, True, {"a": 1}), 200, 200), (State(True, False, {}), 200, 503), (State(False, False, {}), 503, 503)],
)
def test_probes_get_what_they_ask_for(state, health, ready):
    server = HealthServer("127.0.0.1", 0, lambda: state)
    server.start()
    try:
        assert get(f"{server.url}/health") == (health, state.details)
        assert get(f"{server.url}/ready?verbose") == (ready, state.details)
        assert get(f"{server.url}/")[0] == 404
    finally:
        server.stop()


def get(url: str) -> tuple[int, dict]:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
