"""Keeps a local cluster running: starts its processes, and starts all again when one dies; drains all when asked to."""

import logging
import signal
import time
from collections.abc import Callable
from threading import Lock
from typing import NamedTuple

from connectors.notify import notifier
from fraudflow.run.cluster import Cluster, Options
from fraudflow.run.health import State
from fraudflow.run.policy import MOST_FAILURES, Pauses, Poison
from fraudflow.run.told import Failure

log = logging.getLogger("fraudflow.run")

DONE, NOT_DRAINED, REFUSED, POISONED = 0, 1, 2, 65
"""Exit codes; 128 and its number after a second signal."""

TICK_S = 0.1
LAST_WORDS_S = 3.0
"""How long the others may take to end by themselves when one has died: so they can say why."""

START_S = 300.0
"""How long a start may take without a sign of life: state is loaded, and what was written is read back."""


class Limits(NamedTuple):
    """Seconds: how long a drain may take, from when on a cluster without a new epoch is told to be unhealthy, and from
    when on it is ended and started again."""

    drain: float = 30.0
    stale: float = 60.0
    hang: float = 180.0


class Supervisor:
    """Runs until the flow has ended or can't go on. `locate` names a failed message by its place in the topic."""

    def __init__(
        self,
        options: Options,
        limits: Limits,
        output: Callable[[int, bytes], None],
        locate: Callable[[Failure], str],
    ) -> None:
        self._options = options
        self._limits = limits
        self._output = output
        self._locate = locate
        self._pauses = Pauses()
        self._poison = Poison()
        self._signals: list[signal.Signals] = []
        self._restarts = 0
        self._why = ""
        self._lock = Lock()
        self._state = State(True, False, {})

    # Asked from outside

    def on_signal(self, number: int, _frame: object = None) -> None:
        """The first asks for a drain, a second ends all at once."""
        self._signals.append(signal.Signals(number))

    @property
    def state(self) -> State:
        """For the probes."""
        with self._lock:
            return self._state

    # Runs

    def run(self) -> int:
        """The exit code, when the flow has ended for good."""
        while True:
            run = _Run(self._options, self._output)
            try:
                self._watch(run)
            finally:
                run.cluster.close()
            code = self._judge(run)
            if code is not None:
                self._publish(run, "ended")
                return code
            self._restarts += 1
            pause = 0.0 if run.restart else self._pauses.after(run.ready_for)
            log.warning("%s; started again in %.1f s (restart %d)", self._why, pause, self._restarts)
            if self._pause(run, pause):
                return DONE

    def _watch(self, run: "_Run") -> None:
        while None in run.cluster.codes:
            run.cluster.listen()
            if run.ready_since is None and run.cluster.ready:
                run.ready_since = time.monotonic()
                log.info("ready: %d processes read transactions", self._options.processes)
                notifier().ready()
            self._attend(run)
            self._publish(run, run.phase)
            if self.state.healthy:
                notifier().epoch()
            time.sleep(TICK_S)

    def _attend(self, run: "_Run") -> None:
        now = time.monotonic()
        asked = next((m.told.restart for m in run.cluster.members if m.told.restart), None)
        if len(self._signals) > 1:
            run.kill()
        elif self._signals and run.drain_until is None:
            log.info("%s: draining", self._signals[0].name)
            run.drain(now + self._limits.drain)
        elif asked and run.drain_until is None:
            log.info("%s: draining, to start again with them", asked)
            run.restart = True
            run.drain(now + self._limits.drain)
        elif run.drain_until is not None and now > run.drain_until:
            log.error(
                "not drained within %g s: ended, the next start goes on from the last snapshot", self._limits.drain
            )
            run.kill()
        elif any(run.cluster.codes):
            run.first_death = run.first_death or now
            if now - run.first_death > LAST_WORDS_S:
                run.kill()
        elif run.drain_until is None and now - run.cluster.last_progress > self._patience(run):
            run.hung = now - run.cluster.last_progress
            run.kill()

    def _patience(self, run: "_Run") -> float:
        return START_S if run.ready_since is None else self._limits.hang

    # What an end means

    def _judge(self, run: "_Run") -> int | None:
        """The exit code, or None where the flow is to be started again; `_why` says what was the matter."""
        codes = run.cluster.codes
        told = [member.told for member in run.cluster.members]
        if len(self._signals) > 1:
            return 128 + self._signals[1]
        if self._signals:
            return DONE if not any(codes) or run.ready_since is None else NOT_DRAINED
        if not any(codes):
            self._why = "drained"
            return None if run.restart else DONE
        refused = next((one.refused for one in told if one.refused), None)
        if refused or REFUSED in codes:
            log.critical("not started again, since that would not help%s", f": {refused}" if refused else "")
            return REFUSED
        failure = next((one.failure for one in told if one.failure), None)
        if self._poison.died(failure):
            assert failure is not None
            log.critical("%s", given_up(failure, self._locate(failure)))
            return POISONED
        self._why = died(run, failure)
        return None

    def _pause(self, run: "_Run", seconds: float) -> bool:
        """Wait; whether a signal came meanwhile."""
        until = time.monotonic() + seconds
        while not self._signals and time.monotonic() < until:
            self._publish(run, "waiting to start again")
            time.sleep(TICK_S)
        return bool(self._signals)

    def _publish(self, run: "_Run", phase: str) -> None:
        now = time.monotonic()
        codes = run.cluster.codes
        alive = all(code in (None, 0) for code in codes) and None in codes
        silent = now - run.cluster.last_progress
        fresh = silent < (START_S if run.ready_since is None else self._limits.stale)
        processes = [
            {
                "process": member.number,
                "pid": member.process.pid,
                "exit_code": code,
                "reached_sources": member.told.reached,
                "reads_transactions": member.told.ready,
                "epochs_seen": member.told.epochs,
            }
            for member, code in zip(run.cluster.members, codes, strict=True)
        ]
        details = {
            "state": phase if fresh else f"{phase}, but no epoch has ended for {silent:.0f} s",
            "restarts": self._restarts,
            "last_trouble": self._why,
            "seconds_since_progress": round(silent, 1),
            "processes": processes,
        }
        ready = alive and fresh and run.ready_since is not None and run.drain_until is None
        with self._lock:
            self._state = State(alive and fresh, ready, details)


class _Run:
    """One start of all processes, and what has been done to it."""

    def __init__(self, options: Options, output: Callable[[int, bytes], None]) -> None:
        self.cluster = Cluster(options, output)
        self.ready_since: float | None = None
        self.drain_until: float | None = None
        self.first_death: float | None = None
        self.restart = False
        self.hung = 0.0

    @property
    def phase(self) -> str:
        if self.drain_until is not None:
            return "draining"
        return "starting" if self.ready_since is None else "running"

    @property
    def ready_for(self) -> float:
        return 0.0 if self.ready_since is None else time.monotonic() - self.ready_since

    def drain(self, until: float) -> None:
        self.drain_until = until
        self.cluster.signal(signal.SIGTERM)

    def kill(self) -> None:
        self.cluster.signal(signal.SIGKILL)


def died(run: _Run, failure: Failure | None) -> str:
    """Why a run that was not asked to end has ended."""
    if failure is not None:
        return f"step {failure.step} failed ({failure.error})"
    if run.hung:
        return f"nothing went on for {run.hung:.0f} s"
    ends = (f"process {number}: {ended(code)}" for number, code in enumerate(run.cluster.codes) if code)
    return f"ended unasked ({', '.join(ends)})"


def ended(code: int) -> str:
    """An exit code for people."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def given_up(failure: Failure, place: str) -> str:
    """What to tell of a message that no restart gets past."""
    return (
        f"{place} has ended the flow {MOST_FAILURES} times: step {failure.step} fails at it ({failure.error}). "
        "It is not started again, since it would fail again. That is an error in the program or its files: mend it, or "
        "leave the message out with FRAUD_SKIP_MESSAGES=topic/partition/offset, which makes it a dead letter"
    )
