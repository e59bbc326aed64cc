"""Which published versions of a model are kept for a rollback."""

LATEST = 8
"""So many of the latest versions are kept, then every second of twice as many, every fourth of four times as many."""


def version_key(name: str, version: int) -> str:
    """The key of a kept version on the models' topic, whose newest one is under the name alone."""
    return f"{name}@{version}"


def is_newest(key: bytes | None) -> bool:
    """Whether a record of the models' topic holds the newest weights of a model: no kept version, no command."""
    return key is not None and b"@" not in key and b"/" not in key


def given_up(version: int, latest: int = LATEST) -> list[int]:
    """The versions that are no longer kept once `version` is there.

    A version divisible by 2^n, and no higher power, is kept while fewer than `latest` · 2^n came after it: about
    `latest` / 2 · log2 of the newest, ever sparser towards the first. It hangs on the numbers alone, so nothing has to
    be remembered.
    """
    found, step = [], 1
    while (old := version - latest * step) > 0:
        if old % step == 0 and old // step % 2:
            found.append(old)
        step *= 2
    return found
