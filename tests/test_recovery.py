"""The recovery directory: one owner, and no silent start from nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, TestingSource, run_main

from connectors.recovery import RecoveryRefused, Run, check, lock, make, stored_keys


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    init_db_dir(tmp_path, 2)
    return tmp_path


def run(directory: Path, step: str = "count") -> None:
    flow = Dataflow("fraud")
    up = op.input("in", flow, TestingSource([("a", 1), ("b", 2)]))
    counted = op.stateful_map(step, up, lambda state, value: ((state or 0) + value, value))
    op.output("out", counted, TestingSink([]))
    run_main(flow, recovery_config=RecoveryConfig(str(directory)))


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        (["flows.fraud:get_flow"], {}, Run()),
        (["flows.fraud:get_flow", "-r", "state", "-s", "10", "-b", "60"], {}, Run(Path("state"), backup=60)),
        (["x", "--recovery-directory", "state", "-i", "1", "-a", "h:1;h:2"], {}, Run(Path("state"), 1, 2)),
        (["x", "-w", "2"], {"BYTEWAX_RECOVERY_DIRECTORY": "state", "BYTEWAX_PROCESS_ID": "2"}, Run(Path("state"), 2)),
        (["x"], {"BYTEWAX_ADDRESSES": "h:1;h:2;h:3", "BYTEWAX_RECOVERY_BACKUP_INTERVAL": "5"}, Run(None, 0, 3, 5)),
    ],
)
def test_it_is_found_as_the_engine_finds_it(arguments, environment, expected):
    assert Run.of(arguments, environment) == expected


def test_a_second_owner_is_refused_with_the_pid_of_the_first(directory: Path):
    script = f"from connectors.recovery import lock; from pathlib import Path; lock(Path({str(directory)!r}), 0)\n"
    script += "print('locked', flush=True); input()"
    owner = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "locked\n"
        with pytest.raises(RecoveryRefused, match=f"in use by process {owner.pid}"):
            lock(directory, 0)
        lock(directory, 1, processes=2)
        owner.kill()
        owner.wait()
        lock(directory, 0, processes=2)
        assert (directory / "owner-0.lock").read_text() == f"{os.getpid()}\n"
    finally:
        owner.kill()
        owner.communicate()


def test_a_directory_without_partitions_is_refused_with_how_to_make_them(tmp_path: Path):
    with pytest.raises(RecoveryRefused, match=r"python -m bytewax\.recovery"):
        lock(tmp_path, 0)


def test_a_directory_is_made_once(tmp_path: Path):
    place = tmp_path / "deep" / "recovery"
    make(place)
    assert place.stat().st_mode & 0o077 == 0
    run(place)
    before = stored_keys(place)
    make(place)
    assert stored_keys(place) == before
    assert {path.suffix for path in place.iterdir()} <= {".sqlite3", ".sqlite3-wal", ".sqlite3-shm"}


def test_what_the_engine_has_stored_is_read(directory: Path):
    assert stored_keys(directory) == {}
    run(directory)
    stored = stored_keys(directory)
    assert stored["fraud.in"] == {"iterable"}
    (step,) = [step for step in stored if step.startswith("fraud.count")]
    assert stored[step] == {"a", "b"}


def test_state_that_fits_is_accepted(directory: Path):
    run(directory)
    steps = stored_keys(directory)
    check(directory, steps, {"fraud.in:SETTING": {"iterable", "other"}})
    check(directory, [*steps, "fraud.new"], {})


def test_a_renamed_step_is_refused(directory: Path):
    run(directory)
    with pytest.raises(RecoveryRefused, match=r"state of fraud\.count\S*, which this flow does not have"):
        check(directory, ["fraud.in", "fraud.out", "fraud.counted"], {})


def test_keys_that_no_longer_exist_are_refused_with_the_setting(directory: Path):
    run(directory)
    with pytest.raises(RecoveryRefused, match="does not fit FRAUD_TOPICS"):
        check(directory, stored_keys(directory), {"fraud.in:FRAUD_TOPICS": {"another"}})


def test_a_broken_file_is_named(directory: Path):
    run(directory)
    for path in directory.glob("part-0*"):
        path.write_bytes(b"not a database, though long enough to be looked at as one" * 100)
    with pytest.raises(RecoveryRefused, match=r"part-0\.sqlite3 can't be read"):
        stored_keys(directory)
