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
Replay = Callable[[L, list[Any]], Any]


class Codec(Protocol[In]):
    """What a step's key is given in a batch, as bytes: all that its state can depend on."""

    def pack(self, values: list[In], buffer: bytearray) -> None:
        """Behind what is in the buffer."""

    def unpack(self, record: memoryview) -> list[In]:
        """What has the same effect on the state as the values that were packed."""


def on_batch(logic: Logic[In, Any], values: list[In]) -> None:
    """Give a logic what it was given before."""
    logic.on_batch(values)


class Keeping(Protocol):
    """Makes the logic of a key of a step from the state that the engine has for it.

    `make` makes it from whole state or anew; `replay` gives it what `codec` has packed.
    """

    def logic(
        self, step_id: str, state: bytes | None, make: Make[L], codec: Codec[Any], replay: Replay[L] = on_batch
    ) -> Logic[Any, Any]: ...


class Whole:
    """The engine keeps the whole state of each key that was given something, again in each epoch."""

    def logic(
        self, step_id: str, state: bytes | None, make: Make[L], codec: Codec[Any], replay: Replay[L] = on_batch
    ) -> Logic[Any, Any]:
        """The logic as it is."""
        return make(state)


class Nothing:
    """Nothing is kept: a restart begins anew. The engine asks for snapshots all the same, and drops them."""

    def logic(
        self, step_id: str, state: bytes | None, make: Make[L], codec: Codec[Any], replay: Replay[L] = on_batch
    ) -> Logic[Any, Any]:
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

    def logic(
        self, step_id: str, state: bytes | None, make: Make[L], codec: Codec[Any], replay: Replay[L] = on_batch
    ) -> Logic[Any, Any]:
        """The logic with its redo log. Raises StateDamaged, and logs it: the engine buries the message."""
        try:
            return self._logic(step_id, state, make, codec, replay)
        except StateDamaged as error:
            log.critical("%s: %s", step_id, error)
            raise

    def _logic(
        self, step_id: str, state: bytes | None, make: Make[L], codec: Codec[Any], replay: Replay[L]
    ) -> Logic[Any, Any]:
        redo = self._logs.setdefault((get_ident(), step_id), RedoLog(self._store))  # a worker is a thread
        if state is None or not is_manifest(state):
            return _Logged(make(state), redo.key(), codec, taken_over=state is not None)
        manifest = Manifest.decode(state, step_id)
        logic = restored(manifest, self._store.folder, make, codec, replay)
        return _Logged(logic, redo.key(manifest), codec)


def restored(manifest: Manifest, folder: Path, make: Make[L], codec: Codec[Any], replay: Replay[L] = on_batch) -> L:
    """The logic as it was: made of its base, and given again what it was given since. Raises StateDamaged."""
    logic = make(manifest.read_base(folder))
    for record in manifest.read_redo(folder):
        replay(logic, codec.unpack(record))
    return logic


class _Logged(StatefulBatchLogic[In, Out, Snapshot], Generic[In, Out]):
    def __init__(self, logic: Logic[In, Out], key: KeyLog, codec: Codec[In], taken_over: bool = False) -> None:
        self._logic = logic
        self._key = key
        self._codec = codec
        self._needs_base = taken_over

    def on_batch(self, values: list[In]) -> tuple[Any, bool]:
        self._key.append(self._codec.pack, values)
        done = self._logic.on_batch(values)
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
