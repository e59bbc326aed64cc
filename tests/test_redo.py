"""The redo log: whatever is cut off where, what comes back is what an unbroken run has; or it says what is wrong."""

import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from connectors.redo import log as redo_log
from connectors.redo.chunks import FOLDER, StateDamaged
from connectors.redo.files import StateNotWritten, WrittenFile
from connectors.redo.manifest import Manifest
from connectors.redo.store import RedoStore
from flows.exchange import Completed, Featured, Transactions
from flows.keeping import Incremental
from flows.logic import EntityWindowsLogic, LabelJoinLogic, UserWindowsLogic
from flows.redo import JoinRecord, WindowsRecord
from operators.decisions.decide import DecidedBatch
from operators.features.completion import CompletedLabel
from operators.features.fields import Fields, FieldSpec
from operators.features.plan import Plan
from operators.features.windows import Windows
from operators.model.join import LabelJoin
from operators.transactions.records import Label, Transaction
from tests.records import DAY, HOUR, MINUTE, NOON, transaction

ROOT = Path(__file__).parent.parent
FEATURES = (
    "count_1m", "sum_amount_1h", "distinct_location_5m", "max_amount_ever", "count_last3", "seconds_since_last",
    "fraud_rate_28d_by_merchant", "count_1h_by_merchant", "is_new_country_30d_by_merchant",
    "sum_unusual_1h_by_merchant", "fraud_count_unusual_28d_by_merchant",
)  # fmt: skip
FIELDS = Fields([FieldSpec("unusual", "amount > 2 * mean_amount_1h_before")])
PLAN = Plan.of(FEATURES, allowed_lateness=10 * MINUTE, repeats=True, fields=FIELDS)
USER, MERCHANT = PLAN.entities
COLUMNS = 7

TRANSACTIONS = st.builds(
    transaction,
    user_id=st.sampled_from(["ann", "bob", "eve"]),
    at=st.one_of(st.integers(0, 2 * HOUR), st.integers(0, 100 * DAY)),
    amount=st.floats(0, 1e9),
    merchant_id=st.sampled_from([None, "m1", "m2"]),
    location=st.sampled_from([None, "Rome", "Oslo"]),
    country=st.sampled_from([None, "FR", "IT"]),
)
LABELS = st.builds(
    lambda merchant, at, fraud: Label("t", fraud, NOON + at, "analyst", "ann", merchant),
    st.sampled_from([None, "m1", "m2"]),
    st.integers(0, 30 * DAY),
    st.booleans(),
)
BATCHES = st.lists(
    st.one_of(st.lists(TRANSACTIONS, min_size=1, max_size=6), st.lists(LABELS, min_size=1, max_size=3)), max_size=3
)
ACTIONS = st.lists(st.one_of(BATCHES, st.sampled_from(["epoch ends", "crash"])), max_size=25)


def user_windows(keeping: Incremental, state: bytes | None) -> Any:
    def make(snapshot: bytes | None) -> UserWindowsLogic:
        return UserWindowsLogic(Windows(USER, snapshot), COLUMNS)

    return keeping.logic("fraud.user_windows", state, make, WindowsRecord(COLUMNS, USER))


def merchant_windows(keeping: Incremental, state: bytes | None) -> Any:
    def make(snapshot: bytes | None) -> EntityWindowsLogic:
        return EntityWindowsLogic(Windows(MERCHANT, snapshot), COLUMNS)

    return keeping.logic("fraud.merchant_windows", state, make, WindowsRecord(COLUMNS, MERCHANT))


def given_to_users(batch: list[Any]) -> list[Any]:
    return [part if part and isinstance(part[0], Label) else Transactions(part) for part in batch]


def given_to_merchants(batch: list[Any]) -> list[Any]:
    given: list[Any] = []
    for part in batch:
        if part and isinstance(part[0], Label):
            completed = [CompletedLabel(one.is_fraud, one.arrives_at, (one.merchant_id,), ("unusual",)) for one in part]
            given += [part, Completed(completed)]
        else:
            rows = [tuple(t.amount > 1 if name == "unusual" else "row" for name in MERCHANT.given) for t in part]
            given.append(Featured(part, rows, columns=COLUMNS))
    return given


def label_join(keeping: Incremental, state: bytes | None) -> Any:
    return keeping.logic("fraud.label_join", state, join_logic, JoinRecord())


def join_logic(state: bytes | None) -> LabelJoinLogic:
    return LabelJoinLogic(LabelJoin(maturity=DAY, max_pending=12, max_corrections=3, snapshot=state))


def given_to_join(batch: list[Any]) -> list[Any]:
    """Judged by one model or by two; labels of the transactions that there are few of, and of others."""
    values: list[Any] = []
    for part in batch:
        if isinstance(part[0], Label):
            values.append([structs.replace(label, transaction_id=f"ann@{label.arrives_at % 7}") for label in part])
            continue
        part = [structs.replace(t, transaction_id=f"ann@{t.event_time % 9}") for t in part]
        inputs = [{f"x{t.event_time % 5}": 1.0, "amount": t.amount} for t in part]
        scores = [t.amount / 1e9 for t in part]
        champion, others = ("lr", {"ftrl": [0.5] * len(part)}) if len(part) % 2 else ("", {})
        values.append(DecidedBatch(part, inputs, scores, [], {}, 0, champion=champion, others=others))
    return values


STEPS = {
    "user": (user_windows, given_to_users, lambda: UserWindowsLogic(Windows(USER), COLUMNS)),
    "merchant": (merchant_windows, given_to_merchants, lambda: EntityWindowsLogic(Windows(MERCHANT), COLUMNS)),
    "join": (label_join, given_to_join, lambda: join_logic(None)),
}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that little state has many chunks and bases."""
    monkeypatch.setattr(redo_log, "CHUNK", 300)
    monkeypatch.setattr(redo_log, "SMALL", 700)
    monkeypatch.setattr(redo_log, "SHARE", 1.0)


def kept(snapshot: Any) -> bytes:
    """As the engine stores and loads it."""
    loaded = pickle.loads(pickle.dumps(snapshot))
    assert type(loaded) is bytes
    return loaded


def uncounted(done: tuple[list[Any], bool]) -> list[Any]:
    """Without how many repeats were left out since they were last told of: a restart may forget to tell."""
    return [structs.replace(item, repeated=0) if isinstance(item, Featured) else item for item in done[0]]


@pytest.mark.parametrize("step", STEPS)
@settings(max_examples=120, deadline=None)
@given(actions=ACTIONS)
def test_state_after_any_crash_is_that_of_an_unbroken_run(step: str, actions: list[Any]):
    make, values, begin = STEPS[step]
    with TemporaryDirectory() as folder:
        logic = make(Incremental(RedoStore(Path(folder))), None)
        state, since = None, []
        unbroken = begin()
        for action in actions:
            if action == "epoch ends":
                state, since = kept(logic.snapshot()), []
            elif action == "crash":
                logic = make(Incremental(RedoStore(Path(folder))), state)
                for batch in since:
                    logic.on_batch(batch)
            else:
                batch = values(action)
                since.append(batch)
                assert uncounted(logic.on_batch(batch)) == uncounted(unbroken.on_batch(batch))
        restored = make(Incremental(RedoStore(Path(folder))), kept(logic.snapshot()))
        assert restored._logic.snapshot() == logic._logic.snapshot() == unbroken.snapshot()


def events(count: int, begin: int = 0) -> list[Transaction]:
    return [transaction(f"u{n % 7}", at=n * 1000, transaction_id=f"t{n}") for n in range(begin, begin + count)]


def filled(folder: Path, epochs: int = 3) -> Manifest:
    """State of some epochs, with a base and chunks behind it."""
    logic = user_windows(Incremental(RedoStore(folder)), None)
    for epoch in range(epochs):
        for start in range(0, 30, 5):
            logic.on_batch([Transactions(events(5, epoch * 30 + start))])
        state = kept(logic.snapshot())
    return Manifest.decode(state, "here")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_a_base_is_written_once_the_log_has_outgrown_it(folder: Path):
    manifest = filled(folder)
    assert manifest.base is not None
    assert manifest.redo
    assert manifest.size < 6_000  # of 30 KB that were written


def test_whole_state_of_versions_before_is_taken_over(folder: Path):
    before = UserWindowsLogic(Windows(USER), COLUMNS)
    before.on_batch([Transactions(events(50))])
    logic = user_windows(Incremental(RedoStore(folder)), before.snapshot())
    state = kept(logic.snapshot())  # without another event
    assert Manifest.decode(state, "here").base is not None
    restored = user_windows(Incremental(RedoStore(folder)), state)
    assert restored.on_batch([Transactions(events(9, 50))]) == before.on_batch([Transactions(events(9, 50))])
    assert restored._logic.snapshot() == before.snapshot()


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)


def overwritten(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def of_another_version(path: Path) -> None:
    path.write_bytes(b"FRDO\x09" + path.read_bytes()[5:])


def of_another_file(path: Path) -> None:
    path.write_bytes(next(p for p in path.parent.iterdir() if p.suffix == path.suffix and p != path).read_bytes())


@pytest.mark.parametrize("kind", ["base", "redo"])
@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (Path.unlink, "is missing"),
        (cut_off, "was cut off: it ends before byte"),
        (emptied, "is no file of the redo log, or was cut off"),
        (flipped, "is damaged: the checksum"),
        (overwritten, "is no file of the redo log"),
        (of_another_version, "has format 9, this program reads 1"),
        (of_another_file, "is damaged|was cut off"),
    ],
)
def test_a_damaged_file_is_refused_by_its_name(folder: Path, kind: str, harm: Callable[[Path], None], said: str):
    manifest = filled(folder)
    place = manifest.base if kind == "base" else manifest.redo[-1]
    assert place is not None
    harm(folder / FOLDER / place.file)
    with pytest.raises(StateDamaged, match=f"{place.file} .*({said}).* fraudflow state reset"):
        user_windows(Incremental(RedoStore(folder)), manifest.encode())


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda encoded: encoded[:9], "no manifest"),
        (lambda encoded: encoded[:-1], "its checksum is wrong"),
        (lambda encoded: encoded[:4] + b"\x09" + encoded[5:], "format 9, this program reads 1"),
    ],
)
def test_a_damaged_manifest_is_refused(folder: Path, harm: Callable[[bytes], bytes], said: str):
    with pytest.raises(StateDamaged, match=said):
        user_windows(Incremental(RedoStore(folder)), harm(filled(folder).encode()))


def test_files_are_private_and_their_names_never_used_again(folder: Path):
    manifest = filled(folder)
    assert (folder / FOLDER).stat().st_mode & 0o077 == 0
    for place in manifest.places:
        path = folder / FOLDER / place.file
        assert path.stat().st_mode & 0o077 == 0
        with pytest.raises(StateNotWritten, match="File exists"):
            WrittenFile(path)


def test_a_disk_that_is_full_stops_the_flow_with_what_to_do(folder: Path):
    script = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
from pathlib import Path
from tests.test_redo import Transactions, Incremental, RedoStore, events, user_windows
logic = user_windows(Incremental(RedoStore(Path({str(folder)!r}))), None)
logic.on_batch([Transactions(events(100))])
logic.snapshot()
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "StateNotWritten" in done.stderr
    assert "can't be written: File too large. Make room on its disk" in done.stderr


def soon(condition: Callable[[], bool]) -> None:
    """What is done in the background is done in the end."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_superseded_is_deleted_and_an_epoch_back_is_always_whole(folder: Path):
    store = RedoStore(folder)
    logic = user_windows(Incremental(store), None)
    states = [logic.snapshot().manifest]
    for epoch in range(60):
        logic.on_batch([Transactions(events(10, epoch * 10))])
        states.append(kept(logic.snapshot()))
        for state in states[-2:]:
            Manifest.decode(state, "here").verify(store.folder, set())
    newest = Manifest.decode(states[-1], "here")
    needed = {place.file for state in states[-3:] for place in Manifest.decode(state, "here").places}
    soon(lambda: len(list(store.folder.iterdir())) <= len(needed) + 2)
    assert {place.file for place in newest.places} <= {path.name for path in store.folder.iterdir()}


def test_with_a_backup_interval_what_is_superseded_stays(folder: Path):
    store = RedoStore(folder, backup_s=3600)
    logic = user_windows(Incremental(store), None)
    states = []
    for epoch in range(20):
        logic.on_batch([Transactions(events(10, epoch * 10))])
        states.append(kept(logic.snapshot()))
    for state in states:
        Manifest.decode(state, "here").verify(store.folder, set())
