"""The state in a recovery directory, as the next run would find it. For a directory that no run in this process has."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from zlib import crc32

from connectors.recovery_rows import Resume, Row, resume
from connectors.redo.chunks import FOLDER
from connectors.redo.manifest import Manifest, is_manifest
from flows.keeping import restored
from flows.logic import EntityWindowsLogic, LabelJoinLogic, UserWindowsLogic
from flows.parts import Parts
from flows.redo import JoinRecord, WindowsRecord
from flows.settings import Settings
from operators.decisions.decide import NOTHING
from operators.features.plan import EntityPlan
from operators.features.windows import Windows
from operators.model.join import LabelJoin

WINDOWS = "_windows"


class Kept:
    """What `directory` holds. Windows are made by the rules and the model of the settings, as a run now would make them
    (without rules that came through their topic). Raises RecoveryRefused, StateDamaged, StateError."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        self.directory = directory
        self.parts = Parts(settings, NOTHING)

    @cached_property
    def resume(self) -> Resume:
        """What the next run begins with."""
        return resume(self.directory)

    def of_step(self, name: str) -> list[Row]:
        """The rows of one step."""
        return [row for row in self.resume.rows if row.step.rpartition(".")[2] == name and row.value]

    def windows(self, entity: str, key: str | None = None) -> Iterator[tuple[str, Windows]]:
        """The key groups of an entity with their windows; with `key` only the group that it belongs to."""
        plan = next((plan for plan in self.parts.plan.entities if plan.entity == entity), None)
        if plan is None:
            return
        for row in self.of_step(entity + WINDOWS):
            if key is None or _group_of(row.key, key):
                yield row.key, self._windows(row, plan)

    def joins(self) -> Iterator[tuple[str, LabelJoin]]:
        """The shards with their pending labels."""
        for row in self.of_step("label_join"):
            yield row.key, self._join(row)

    def _manifest(self, row: Row) -> Manifest:
        return Manifest.decode(row.value, f"{self.directory}, {row.step} {row.key}")

    def _windows(self, row: Row, plan: EntityPlan) -> Windows:
        if not is_manifest(row.value):
            return Windows(plan, row.value)
        columns, folder, manifest = self.parts.columns, self.directory / FOLDER, self._manifest(row)
        codec = WindowsRecord(columns, plan)
        if plan.entity == self.parts.plan.entities[0].entity:
            users = restored(manifest, folder, lambda state: UserWindowsLogic(Windows(plan, state), columns), codec)
            return users.windows
        others = restored(manifest, folder, lambda state: EntityWindowsLogic(Windows(plan, state), columns), codec)
        return others.windows

    def _join(self, row: Row) -> LabelJoin:
        if not is_manifest(row.value):
            return self.parts.label_join(row.value)

        def make(state: bytes | None) -> LabelJoinLogic:
            return LabelJoinLogic(self.parts.label_join(state))

        manifest, folder = self._manifest(row), self.directory / FOLDER
        return restored(manifest, folder, make, JoinRecord()).join


def _group_of(group: str, key: str) -> bool:
    """Whether a key belongs to a group: its name says which of how many it is (flows/exchange.py)."""
    number, _, groups = group[1:].partition("/")
    return crc32(key.encode()) % int(groups) == int(number)
