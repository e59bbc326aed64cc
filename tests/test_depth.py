"""CI looks deeper than one does while one works."""

import pytest
from hypothesis import settings

from tests import depth


@pytest.mark.parametrize(("profile", "times"), [(depth.QUICK, 1), (depth.DEEP, depth.TIMES_DEEPER)])
def test_the_profile_says_how_many_examples(profile: str, times: int) -> None:
    before = settings.get_current_profile_name()
    try:
        settings.load_profile(profile)
        assert depth.examples(300) == 300 * times
    finally:
        settings.load_profile(before)


@pytest.mark.parametrize(
    ("environment", "profile"),
    [
        ({}, depth.QUICK),
        ({"FRAUDFLOW_REQUIRE_SERVERS": "1"}, depth.DEEP),
        ({"FRAUDFLOW_REQUIRE_SERVERS": "1", "HYPOTHESIS_PROFILE": "quick"}, depth.QUICK),
        ({"HYPOTHESIS_PROFILE": "deep"}, depth.DEEP),
    ],
)
def test_ci_looks_deeper(environment: dict[str, str], profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = settings.get_current_profile_name()
    for name in ("FRAUDFLOW_REQUIRE_SERVERS", "HYPOTHESIS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    try:
        depth.register()
        assert settings.get_current_profile_name() == profile
    finally:
        settings.load_profile(before)
