"""How large state is kept: as incremental snapshots where there is a recovery directory, and not at all without one."""

import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from threading import get_ident
from typing import Any, Generic, Protocol, TypeVar

from bytewax.operators import StatefulBatchLogic

from connectors.redo.chunks import StateDamaged
from connectors.redo.log import KeyLog, RedoLog, Snapshot
from connectors.redo.manifest import Manifest, is_manifest
from connectors.redo.store import RedoStore

log = logging.getLogger(__name__)

In = TypeVar("In")
Out = TypeVar("Out")
Logic = StatefulBatchLogic[In, Out, Any]
L = TypeVar("L", bound=StatefulBatchLogic[Any, Any, Any])
Make = Callable[[bytes | None], L]


class Record(Generic[In]):
    """What a step's key is given in a batch, as bytes: all that its state can depend on.

    `given` is what the values of a batch are made into, before they are noted down and taken.
    """

    def given(self, logic: Any, values: list[In]) -> list[Any]:
        """Here the values themselves."""
        return values

    def pack(self, given: list[Any], buffer: bytearray) -> None:
        """Behind what is in the buffer."""
        raise NotImplementedError

    def unpack(self, record: memoryview) -> list[Any]:
        """What has the same effect on the state as what was packed."""
        raise NotImplementedError

    def take(self, logic: Any, given: list[Any]) -> tuple[Any, bool]:
        """Have the logic take it, as its `on_batch` does."""
        return logic.on_batch(given)  # type: ignore[no-any-return]

    def again(self, logic: Any, given: list[Any]) -> None:
        """The same after a restart: what came out came out before."""
        self.take(logic, given)


class Keeping(Protocol):
    """Makes the logic of a key of a step from the state that the engine has for it.

    `make` makes it from whole state or anew; `record` notes down what it is given.
    """

    def logic(self, step_id: str, state: bytes | None, make: Make[L], record: Record[Any]) -> Logic[Any, Any]: ...


class Whole:
    """The engine keeps the whole state of each key that was given something, again in each epoch."""

    def logic(self, step_id: str, state: bytes | None, make: Make[L], record: Record[Any]) -> Logic[Any, Any]:
        """The logic as it is."""
        return make(state)


class Nothing:
    """Nothing is kept: a restart begins anew. The engine asks for snapshots all the same, and drops them."""

    def logic(self, step_id: str, state: bytes | None, make: Make[L], record: Record[Any]) -> Logic[Any, Any]:
        """The logic, without its snapshot."""
        made = make(state)
        made.snapshot = bytes  # type: ignore[method-assign]
        return made


class Incremental:
    """What each key is given is written to a redo log, and from time to time its whole state.

    State that is a function of what was given, in the order and the batches it was given in, is the same after a
    restart. Whole state, as versions before the redo log kept it, is taken over.
    """

    def __init__(self, store: RedoStore) -> None:
        self._store = store
        self._logs: dict[tuple[int, str], RedoLog] = {}

    def logic(self, step_id: str, state: bytes | None, make: Make[L], record: Record[Any]) -> Logic[Any, Any]:
        """The logic with its redo log. Raises StateDamaged, and logs it: the engine buries the message."""
        try:
            return self._logic(step_id, state, make, record)
        except StateDamaged as error:
            log.critical("%s: %s", step_id, error)
            raise

    def _logic(self, step_id: str, state: bytes | None, make: Make[L], record: Record[Any]) -> Logic[Any, Any]:
        redo = self._logs.setdefault((get_ident(), step_id), RedoLog(self._store))  # a worker is a thread
        if state is None or not is_manifest(state):
            return _Logged(make(state), redo.key(), record, taken_over=state is not None)
        manifest = Manifest.decode(state, step_id)
        logic = restored(manifest, self._store.folder, make, record)
        return _Logged(logic, redo.key(manifest), record)


def restored(manifest: Manifest, folder: Path, make: Make[L], record: Record[Any]) -> L:
    """The logic as it was: made of its base, and given again what it was given since. Raises StateDamaged."""
    logic = make(manifest.read_base(folder))
    for packed in manifest.read_redo(folder):
        record.again(logic, record.unpack(packed))
    return logic


class _Logged(StatefulBatchLogic[In, Out, Snapshot], Generic[In, Out]):
    def __init__(self, logic: Logic[In, Out], key: KeyLog, record: Record[In], taken_over: bool = False) -> None:
        self._logic = logic
        self._key = key
        self._record = record
        self._needs_base = taken_over

    def on_batch(self, values: list[In]) -> tuple[Any, bool]:
        given = self._record.given(self._logic, values)
        self._key.append(self._record.pack, given)
        done = self._record.take(self._logic, given)
        if self._key.wants_base:
            self._write_base()
        return done

    def on_notify(self) -> tuple[Any, bool]:
        return self._logic.on_notify()

    def on_eof(self) -> tuple[Any, bool]:
        return self._logic.on_eof()

    def notify_at(self) -> datetime | None:
        return self._logic.notify_at()

    def snapshot(self) -> Snapshot:
        if self._needs_base:
            self._write_base()
        return self._key.snapshot()

    def _write_base(self) -> None:
        self._key.rebase(self._logic.snapshot)
        self._needs_base = False
