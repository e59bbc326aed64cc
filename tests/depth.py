"""How many examples property tests look at: some while one works, thousands in CI.

`HYPOTHESIS_PROFILE` names the profile, `quick` or `deep`; where it is not set, CI (`FRAUDFLOW_REQUIRE_SERVERS=1`) takes
the deep one.
"""

import os

from hypothesis import HealthCheck, settings

QUICK, DEEP = "quick", "deep"
TIMES_DEEPER = 4
"""The suite of the windows' oracle then has 5,200 examples, in about a minute of one core."""


def register() -> None:
    """The profiles, and the one in force. No deadlines: the machine may be busy."""
    settings.register_profile(QUICK, deadline=None)
    settings.register_profile(DEEP, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    in_ci = os.environ.get("FRAUDFLOW_REQUIRE_SERVERS") == "1"
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or (DEEP if in_ci else QUICK))


def examples(quick: int) -> int:
    """As many, and in the deep profile several times as many."""
    return quick * (TIMES_DEEPER if settings.get_current_profile_name() == DEEP else 1)
