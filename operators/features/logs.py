"""The logs of all keys of a group: opening, late insertion, trimming, forgetting."""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from operators.features import busy, texts
from operators.features.busy import Counter, Extreme
from operators.features.labels import Key, Labels
from operators.features.layout import DROPPED, ID_HASHES, TRIM_AT, Layout, Log, log_of, reach
from operators.features.pages import Pages

SPARE: Final = 8
"""Events that a log may hold beyond one and a half times what it needs, before it is trimmed."""
LONG_LOG: Final = 1 << 14
"""Entries of a log: a longer one is kept in pages, as a copy of it would take 10 us and more."""
LONG_TRIM: Final = 1024
"""Events after which a long log is trimmed."""
SHORT_LOG: Final = 64
"""Times of so many events are copied out of the log before a bisection: a third of what looking into it costs."""
BUSY_LOG: Final = 128
"""A log of more events is wide: one that grew further would cost too much at once to be made wide."""
MOST_KEPT: Final = 1 << 19
"""Events of one key. Beyond it the oldest sixteenth leaves its windows early: what one key can cost has an end."""
FORGOTTEN_AT_ONCE: Final = 64
REBASED_FROM: Final = 0xF000_0000
"""Milliseconds after the base (46 days), from where on a new base is taken."""
FURTHEST_BACK: Final = 1 << 31
HELD: Final = 1 << 63
"""What an entry of a wide log can't hold any more."""


class Logs:
    """Key -> log. A key is forgotten once the newest time of the group went on by the plan's retention, twice at most,
    without an event of it: keys in use move to `young`, and from time to time what stayed in `old` goes.

    Times inside are relative to `base`. From `soon` on `tick` must be called; up to `doubt` a forgotten event could be
    missing from the windows of a key in `unsure`. Events have been coming in `since` (event time), for features that a
    changed plan added since `started`. `cut` counts the events that `MOST_KEPT` took out of a window. Memory
    a key: see docs/windows.md.
    """

    def __init__(self, layout: Layout) -> None:
        plan = layout.plan
        self.layout = layout
        self.young: dict[Key, Log] = {}
        self.old: dict[Key, Log] = {}
        self.dying: dict[Key, Log] = {}
        self.seen: dict[Key, list[set[int]]] = {}
        self.busy: dict[Key, dict[int, Counter | Extreme]] = {}
        self.unsure: set[Key] = set()
        self.texts = texts.Texts()
        self.labels = {field: Labels(plan, field) for field in plan.label_fields}
        self.base = 0
        self.soon = self.doubt = -(1 << 62)
        self.rotate_at: int | None = None
        self.cut = 0
        self.newest = 0
        self.since: int | None = None
        self.started: dict[str, int] = {}
        self._kept_time = plan.span + plan.furthest_back
        self._retention = max(plan.retention, 60_000)
        self._kept_last, self._furthest_back = plan.last, plan.furthest_back
        self._first, self._size = first, size = layout.first, layout.size
        self._short = first + size * (1 + SHORT_LOG)
        self._heads, self._found = tuple(layout.head_slots.values()), tuple(layout.found_slots.values())
        trim_at = first + size * (1 + SPARE)
        self._blank = array("I", [trim_at] + [0] * (first - 1 + size))
        for slot in self._heads:
            self._blank[slot] = first

    def all(self) -> Iterator[tuple[Key, Log]]:
        """Every key that is remembered, with its log."""
        return chain(self.young.items(), self.old.items())

    # --- keys and time

    def open(self, key: Key) -> Log:
        """The log of a key that is not in `young`, which it enters: an old one, or a new one."""
        log = self.old.pop(key, None)
        if log is None:
            self.seen.pop(key, None)
            log = self._blank[:]
        self.young[key] = log
        return log

    def is_unsure(self, key: Key, at: int) -> bool:
        """Whether an event of the key may lack some that were forgotten. A key that must be opened for it is unsure."""
        if at > self.doubt:
            return False
        if key not in self.young and key not in self.old:
            self.unsure.add(key)
        return key in self.unsure

    def tick(self, now: int) -> None:
        """Called once an event reaches `soon`: keys are forgotten, the base moves."""
        if self.rotate_at is None:
            self.since = now
            self.base = now - min(self._kept_time, FURTHEST_BACK) - (1 << 20)
            self.rotate_at = now + self._retention
        elif now >= self.rotate_at:
            self.bury(len(self.dying))
            if self.old:
                self.doubt = self.rotate_at - self._retention + self.layout.plan.span - self.base
            self.dying, self.old, self.young = self.old, self.young, {}
            self.busy = {key: parts for key, parts in self.busy.items() if key in self.old}
            self.unsure &= self.old.keys()
            self.rotate_at = now + self._retention
        if now - self.base >= REBASED_FROM:
            self._rebase(now - min(self._kept_time, FURTHEST_BACK) - (1 << 20))
        self.soon = min(self.rotate_at - self.base, REBASED_FROM)

    def bury(self, most: int = FORGOTTEN_AT_ONCE) -> None:
        """Free up to `most` forgotten keys: a group's keys are never freed in one go."""
        for _ in range(min(most, len(self.dying))):
            key, _ = self.dying.popitem()
            if key not in self.young and key not in self.old:
                self.seen.pop(key, None)

    def held_texts(self) -> Iterator[Iterable[int]]:
        """The numbers of texts in all logs, some at a time, while events go on.

        A log is looked through from its end, by the distance from it: whatever is put in or dropped meanwhile, what was
        not seen yet does not come nearer to the end.
        """
        first, size = self._first, self._size
        for key in [*self.young, *self.old]:
            for k in self.layout.ids():
                seen = 0
                while (log := self.young.get(key) or self.old.get(key)) and seen * size < len(log) - first:
                    seen += texts.AT_ONCE
                    start = max(first, len(log) - seen * size)
                    yield log[start + k : start + texts.AT_ONCE * size : size]
            for column, seen_before in zip(self.layout.seen, self.seen.get(key, ()), strict=False):
                if column.content == "id":
                    yield list(seen_before)

    def _rebase(self, base: int) -> None:
        """Take another base: 1 us a key, once in weeks of event time."""
        by = base - self.base
        layout = self.layout
        carried = [k for k, column in enumerate(layout.columns, 1) if column.kind == "carry_time"]
        for logs in (self.young, self.old):
            for key, log in logs.items():
                header = log[: layout.first]
                columns = [layout.entries(log, k).tolist() for k in range(layout.size)]
                times = columns[0] = [time - by for time in columns[0]]
                times[0] = max(times[0], 0)  # that of no event
                for k in carried:
                    columns[k] = [
                        time - by if known else 0 for time, known in zip(columns[k], columns[k + 1], strict=True)
                    ]
                logs[key] = log_of(header, columns)
        self.base = base
        self.doubt -= by

    # --- events

    def head(self, log: Log, at: int) -> int:
        """The place of the last event up to the time; the first record's where there is none."""
        first, size = self._first, self._size
        if len(log) <= self._short:
            return first + size * bisect_right(log[first + size :: size], at)
        return first + size * bisect_right(range(first + size, len(log), size), at, key=log.__getitem__)

    def repeated(self, key: Key, log: Log, at: int, *hashes: int) -> int:
        """The place of the event with these hashes of its id, within the allowed lateness of `at`; 0 for none."""
        layout, size = self.layout, self.layout.size
        lateness = layout.plan.allowed_lateness
        first, second = (layout.index(column) for column in ID_HASHES)
        low, high = self.head(log, at - lateness - 1), self.head(log, at + lateness)
        is_busy = high - low > busy.BUSY_FROM * size and high + size == len(log)
        if is_busy and not self.counter(key, -1, first).has(log, low, high, hashes[0]):
            return 0
        column = log[low + size + first : high + first + 1 : size]
        if hashes[0] not in column:
            return 0
        for number, found in enumerate(column, 1):
            if found == hashes[0] and log[low + number * size + second] == hashes[1]:
                return low + number * size
        return 0

    def place(self, key: Key, log: Log, at: int, record: Sequence[int]) -> tuple[Log, int]:
        """Enter an event that does not simply fit at the end. Returns the key's log, which may be another one, and the
        event's place. It goes behind all with its own time.

        `record` has a value for each column: what is added to a sum, an event's own value (for carry too), and 0 for
        carry_time.
        """
        if len(log) > log[TRIM_AT]:
            log = self.trim(key, log)
        try:
            place = self._insert(log, at, record)
        except OverflowError:
            log, place = self._refitted(key, log, at, record)
            self.young[key] = log
        layout = self.layout
        last = place + layout.size == len(log)
        for slot in layout.head_slots.values():
            if log[slot] >= place:
                log[slot] += layout.size
        for slot in layout.found_slots.values():
            log[slot] = 0
        if not last and key in self.busy:
            for part in self.busy[key].values():
                part.inserted(log, place)
        return log, place

    def _insert(self, log: Log, at: int, record: Sequence[int]) -> int:
        layout, size, kind = self.layout, self.layout.size, log.typecode
        place = self.head(log, at) + size
        before = log[place - size : place]
        entered = [at]
        tails: list[tuple[int, array[int]]] = []
        known = False
        for k, (column, value) in enumerate(zip(layout.columns, record, strict=True), 1):
            behind = place + size + k
            if column.kind == "sum":
                entered.append(before[k] + value)
                if value:
                    tails.append((behind, array(kind, [entry + value for entry in log[place + k :: size]])))
                continue
            if column.kind == "own":
                entered.append(value)
                continue
            if column.kind == "carry_time":  # its carry follows, and has the value of both
                # Far too late is an event when what the log was cut off from is newer: that stays carried.
                known = record[k] != 0 and not (before[k + 1] and before[k] > at)
                value = at
            entered.append(value if known else before[k])
            if known:
                own = log[place + layout.index(column._replace(kind="own")) :: size]
                lacking = next((i for i, entry in enumerate(own) if entry), len(own))
                tails.append((behind, array(kind, [value]) * lacking))
        log[place:place] = array(kind, entered)  # all is made before the first is written: an overflow changes nothing
        for start, tail in tails:
            log[start : start + len(tail) * size : size] = tail
        return place

    def counter(self, key: Key, number: int, column: int) -> Counter:
        """What counts the values of a column in the window of feature `number`, for a busy key."""
        part = self.busy.setdefault(key, {}).get(number)
        if not isinstance(part, Counter):
            part = self.busy[key][number] = Counter(self.layout.size, column)
        return part

    def extreme(self, key: Key, slot: int, column: int, sign: int) -> Extreme:
        """What knows the extreme of a column in the window of a found slot, for a busy key."""
        part = self.busy.setdefault(key, {}).get(-slot)
        if not isinstance(part, Extreme):
            part = self.busy[key][-slot] = Extreme(self.layout.size, column, sign)
        return part

    def set_heads(self, log: Log) -> None:
        """Derive where each window of the latest event begins."""
        latest = log[-self.layout.size]
        for window, slot in self.layout.head_slots.items():
            log[slot] = self.head(log, latest - reach(window, latest + self.base))

    # --- room

    def trim(self, key: Key, log: Log) -> Log:
        """Drop what no event can ask for that is not too late. Returns the key's log, which may be another one."""
        first, size = self._first, self._size
        last = self._last_dropped(log)
        by = last - first
        if by > 0:
            if self.layout.ever:
                self._remember(key, log, last)
            if key in self.busy:
                for part in self.busy[key].values():
                    part.trimmed(by, first)
            for slot in self._heads:
                head = log[slot]
                log[slot] = head - by if head > last else first
            for slot in self._found:
                found = log[slot]
                log[slot] = found - by if found > last else 0
            del log[first:last]
        events = (len(log) - first) // size - 1
        if events > BUSY_LOG and log.typecode == "I":
            log = self.young[key] = array("q", log)
        if isinstance(log, Pages):
            if len(log) < LONG_LOG // 2:
                log = self.young[key] = log.flat()
        elif len(log) > LONG_LOG:
            log = self.young[key] = Pages(log, first)
        log[TRIM_AT] = len(log) + size * (min(events // 2, LONG_TRIM) + SPARE)
        return log

    def _last_dropped(self, log: Log) -> int:
        first, size = self._first, self._size
        latest = log[-size]
        last = self.head(log, latest - self._kept_time)
        if self._kept_last:
            last = min(last, self.head(log, latest - self._furthest_back - 1) - self._kept_last * size)
        events = (len(log) - last) // size - 1
        if events > MOST_KEPT:
            kept = MOST_KEPT - MOST_KEPT // 16
            self.cut += events - kept
            last = len(log) - (kept + 1) * size
        return max(first, min(last, len(log) - 2 * size))  # the latest time is what lateness is measured against

    def _remember(self, key: Key, log: Log, last: int) -> None:
        """The events up to `last` go: what features of all time need of them stays."""
        layout = self.layout
        log[DROPPED] += (last - layout.first) // layout.size

        def values(k: int) -> set[int]:
            return set(log[layout.first + layout.size + k : last + k + 1 : layout.size]) - {0}

        for (aggregate, field), slot in layout.extreme_slots.items():
            dropped = values(layout.index(layout.own(field))) | ({log[slot]} - {0})
            if dropped:
                log[slot] = min(dropped) if aggregate == "min" else max(dropped)
        if layout.seen:
            seen = self.seen.setdefault(key, [set() for _ in layout.seen])
            for column, before in zip(layout.seen, seen, strict=True):
                before |= values(layout.index(column))

    def _refitted(self, key: Key, log: Log, at: int, record: Sequence[int]) -> tuple[Log, int]:
        """A log in which the event fits, narrow where possible, with the event in it, and its place."""
        layout = self.layout
        header = log[: layout.first]
        columns = [layout.entries(log, k).tolist() for k in range(layout.size)]
        sums = layout.sums()
        if not layout.ever or any(not -HELD <= columns[k][-1] + record[k - 1] < HELD for k in sums):
            self._begin_sums(header, columns)
        new = log_of(header, columns)
        while True:
            try:
                return new, self._insert(new, at, record)
            except OverflowError:
                if new.typecode == "q":
                    self._halve(key, header, columns)
                new = array("q", log_of(header, columns))

    def _begin_sums(self, header: Log, columns: list[list[int]]) -> None:
        """The sums, and so `ever`, begin anew with what is kept."""
        header[DROPPED] = 0
        for k in self.layout.sums():
            columns[k] = [entry - columns[k][0] for entry in columns[k]]

    def _halve(self, key: Key, header: Log, columns: list[list[int]]) -> None:
        """The older half leaves its windows early: the totals of all have no room in 64 bits."""
        half = len(columns[0]) // 2
        self.cut += half
        columns[:] = [column[half:] for column in columns]
        for slot in self.layout.head_slots.values():
            header[slot] = max(header[slot] - half * self.layout.size, self.layout.first)
        self._begin_sums(header, columns)
        self.busy.pop(key, None)
