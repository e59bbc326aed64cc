"""What the manifests name that the engine has stored. Run: python -m connectors.redo.named DIR prints the files.

Not to be called in a process whose engine has the directory open: see RedoStore.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from connectors.recovery_rows import Row, resume, rows_with
from connectors.redo.chunks import FOLDER, StateDamaged
from connectors.redo.manifest import MAGIC, Manifest


def named_files(directory: Path) -> set[str]:
    """The files that any manifest in the engine's store names. Raises RecoveryRefused, StateDamaged."""
    return {
        place.file
        for row in rows_with(directory, MAGIC)
        for place in Manifest.decode(row.value, f"{directory}, {row.step} {row.key}").places
    }


def loaded_manifests(directory: Path) -> Iterator[tuple[Row, Manifest]]:
    """What the next run will read. Raises RecoveryRefused, StateDamaged."""
    for row in resume(directory).rows:
        if row.value.startswith(MAGIC):
            yield row, Manifest.decode(row.value, f"{directory}, {row.step} {row.key}")


def state_size(row: Row) -> int:
    """The bytes of one key's state, in the engine's store and in files. Raises StateDamaged."""
    if not row.value.startswith(MAGIC):
        return len(row.value)
    return len(row.value) + Manifest.decode(row.value, f"{row.step} {row.key}").size


def verify(directory: Path) -> int:
    """Read every file that the next run will, and check all checksums; how many states there are. Raises StateDamaged,
    RecoveryRefused. A run may be at it: what it supersedes and deletes meanwhile is looked for again."""
    manifests = list(loaded_manifests(directory))
    known: set[tuple[str, int]] = set()
    try:
        for _, manifest in manifests:
            manifest.verify(directory / FOLDER, known)
    except StateDamaged:
        if list(loaded_manifests(directory)) == manifests:
            raise
        return verify(directory)
    return len(manifests)


if __name__ == "__main__":
    print("\n".join(sorted(named_files(Path(sys.argv[1])))))
