"""One target under atheris, in a process of its own: libFuzzer never gives it back."""

import sys
from collections.abc import Mapping

from tests.fuzz.targets import TARGETS, Entry


def targets() -> Mapping[str, Entry]:
    """All targets by name."""
    from tests.fuzz import files, framed, messages, snapshots

    modules = files, framed, messages, snapshots  # each registers its own
    assert {entry.run.__module__ for entry in TARGETS.values()} == {module.__name__ for module in modules}
    return TARGETS


def main() -> None:
    """`python -m tests.fuzz.run TARGET [libFuzzer's arguments]`."""
    import atheris

    with atheris.instrument_imports(include=["operators", "flows", "connectors.line_protocol", "tomllib"]):
        run = targets()[sys.argv[1]].run
    atheris.Setup([sys.argv[0], *sys.argv[2:]], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
