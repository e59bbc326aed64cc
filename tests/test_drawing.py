"""The picture of the topology is the topology."""

import re
from pathlib import Path

from pydantic import SecretStr

from flows.drawing import drawing
from flows.settings import Settings

ROOT = Path(__file__).parents[1]


def settings(**changed: object) -> Settings:
    return Settings.load().model_copy(update=changed)


def test_the_picture_in_the_readme_is_current() -> None:
    """To make it anew: FRAUD_INFLUX_URL=http://localhost:8086 python -m fraudflow topology"""
    (shown,) = re.findall(r"```mermaid\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    assert shown == drawing(settings(influx_url="http://localhost:8086", influx_token=SecretStr("t")))


def test_what_is_left_out_of_the_flow_is_left_out_of_the_picture() -> None:
    picture = drawing(settings(influx_url="", model_file=""))
    assert "alerts_out" in picture
    assert not re.search("influx|train|models_in|label_join", picture)


def test_a_way_through_steps_that_are_not_shown_is_one_way() -> None:
    whole, short = drawing(settings(), every_step=True), drawing(settings())
    assert "    rules_in --> changes\n    " in whole
    assert "    changes --> control\n" in whole
    assert "    changes --> decide\n" in short
    assert "control" not in short
    edges = re.findall(r"(\w+) --> (\w+)", short)
    assert len(edges) == len(set(edges))
    assert {name for edge in edges for name in edge} == set(re.findall(r"^    (\w+)[(\[]", short, re.M))
