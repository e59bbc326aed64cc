"""The logs of all keys of a group: opening, growing, late insertion, trimming, forgetting."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

from operators.features.busy import Counter, Extreme
from operators.features.layout import BASE, BASE_BITS, DROPPED, END, LIMIT, Layout, Log, own_column
from operators.features.names import Window

Key = str | float

SMALLEST: Final = 4
MOST_KEPT: Final = 1 << 19
"""Events of one key. Beyond it the older half leaves its windows early: what one key can cost has an end."""
FORGOTTEN_AT_ONCE: Final = 64
TABLE_SLACK: Final = 4096
SUMS_REBASED_FROM: Final = 1 << 30


class Logs:
    """Key -> log. A key is forgotten once the newest time of the group went on by the plan's retention, twice at most,
    without an event of it: keys in use move to `young`, and from time to time what stayed in `old` goes.

    `cut` counts the events that `MOST_KEPT` took out of a window. Memory a key: see docs/windows.md.
    """

    def __init__(self, layout: Layout) -> None:
        plan = layout.plan
        self.layout = layout
        self.young: dict[Key, Log] = {}
        self.old: dict[Key, Log] = {}
        self.dying: dict[Key, Log] = {}
        self.seen: dict[Key, list[set[int]]] = {}
        self.busy: dict[Key, dict[int, Counter | Extreme]] = {}
        self.rotate_at: int | None = None
        self.cut = 0
        self.ids: dict[str | None, int] = {None: 0}
        self.texts: dict[int, str] = {}
        self._free: list[int] = []
        self._sweep_at = TABLE_SLACK
        self._lateness = plan.allowed_lateness
        self._kept_time = plan.span + plan.allowed_lateness
        self._kept_events = plan.last
        self._retention = max(plan.retention, 60_000)
        self._head_slots = tuple(layout.head_slots.values())
        self._rebased = [column.kind == "sum" and not layout.ever for column in layout.columns]

    def all(self) -> Iterator[tuple[Key, Log]]:
        """Every key that is remembered, with its log."""
        return chain(self.young.items(), self.old.items())

    # --- keys

    def open(self, key: Key, now: int) -> Log:
        """The log of a key that is not in `young`, which it enters: an old one, or a new one."""
        log = self.old.pop(key, None)
        if log is None:
            self.seen.pop(key, None)
            log = self.blank(now)
        self.young[key] = log
        return log

    def blank(self, now: int) -> Log:
        """A log without events, for events from about `now` on."""
        first = self.layout.first
        base = (now - self._kept_time) >> BASE_BITS
        columns = len(self.layout.columns)
        length = first + SMALLEST + columns * (SMALLEST + 1)
        log = array("I" if 0 <= base < 1 << 32 else "q", [0]) * length
        log[END], log[LIMIT], log[BASE] = first, first + SMALLEST, base
        for slot in self._head_slots:
            log[slot] = first
        return log

    def rotate(self, now: int) -> None:
        """Called once the newest time has reached `rotate_at`."""
        if self.rotate_at is not None:
            self.bury(len(self.dying))
            self.dying, self.old, self.young = self.old, self.young, {}
            self.busy.clear()
        self.rotate_at = now + self._retention

    def bury(self, most: int = FORGOTTEN_AT_ONCE) -> None:
        """Free up to `most` forgotten keys: a group's keys are never freed in one go."""
        for _ in range(min(most, len(self.dying))):
            key, _ = self.dying.popitem()
            if key not in self.young and key not in self.old:
                self.seen.pop(key, None)

    # --- texts

    def intern(self, text: str) -> int:
        """The number of a text that has none yet."""
        number = self._free.pop() if self._free else len(self.texts) + 1
        self.ids[text] = number
        self.texts[number] = text
        return number

    def sweep(self) -> None:
        """Forget texts that no log holds, once the table has doubled. Not while an event is under way."""
        if len(self.texts) < self._sweep_at:
            return
        columns = self.layout.ids()
        live: set[int] = set()
        for key, log in self.all():
            first, end = self.layout.first, log[END]
            capacity = log[LIMIT] - first
            for k in columns:
                shift = k * capacity + k - 1
                live.update(log[first + shift : end + shift + 1])  # an own column has a spare entry: harmless
            for values in self.seen.get(key, ()):
                live |= values
        for number in self.texts.keys() - live:
            del self.ids[self.texts.pop(number)]
        self.count_texts()

    def count_texts(self) -> None:
        """Find the numbers that are free, after the table was swept or restored."""
        self._free = sorted(set(range(1, max(self.texts, default=0) + 1)) - self.texts.keys(), reverse=True)
        self._sweep_at = 2 * len(self.texts) + TABLE_SLACK

    # --- events

    def place(self, key: Key, log: Log, now: int, record: Sequence[int]) -> tuple[Log, int]:
        """Enter an event that does not simply fit at the end. Returns the key's log, which may be another one, and the
        index after the event.

        `record` has a value for each column: what is added to a sum, an event's own value (for carry too), and 0 for
        carry_time. An event goes behind all with its own time.
        """
        if log[END] == log[LIMIT]:
            log = self.young[key] = self._roomier(key, log)
        try:
            end = self._insert(log, now - (log[BASE] << BASE_BITS), record)
        except OverflowError:
            log, end = self._refit(key, log, now, record)
            self.young[key] = log
        if key in self.busy and end < log[END]:
            for part in self.busy[key].values():
                part.inserted(end - 1, record[part.column - 1])
        return log, end

    def _insert(self, log: Log, at: int, record: Sequence[int]) -> int:
        first, end = self.layout.first, log[END]
        i = bisect_right(log, at, first, end)
        capacity = log[LIMIT] - first
        kind = log.typecode
        tails = [(i, array(kind, [at]) + log[i:end])]
        own = known = 0
        for k, (column, value) in enumerate(zip(self.layout.columns, record, strict=True), 1):
            here, last = i + k * capacity + k - 1, end + k * capacity + k - 1
            if column.kind == "sum":
                tail = array(kind, [before + value for before in log[here : last + 1]])
                tails.append((here + 1, tail))
            elif column.kind == "own":
                tails.append((here, array(kind, [value]) + log[here:last]))
            else:
                # The pair (carry_time, carry) shares its value: that of the carry, which stands second.
                if column.kind == "carry_time":
                    own = record[k]
                    if log[here + capacity + 1] and log[here] > at:
                        own = 0  # far too late: what the log was cut off from is newer
                    known = self._unknown_from(log, i, end, self.layout.index(column._replace(kind="own")))
                new = at if column.kind == "carry_time" else own
                if own:
                    tail = array(kind, [new]) * (1 + known) + log[here + 1 + known : last + 1]
                else:
                    tail = log[here : last + 1]
                tails.append((here + 1, tail))
        for start, tail in tails:  # all are made before the first is written: an overflow leaves the log as it was
            log[start : start + len(tail)] = tail
        log[END] = end + 1
        # A head at or after `i` is now too early by one, never too late: the next event moves it on.
        return i + 1

    def _unknown_from(self, log: Log, i: int, end: int, k: int) -> int:
        """How many events from `i` on lack the value of column k, up to the first that has it."""
        shift = k * (log[LIMIT] - self.layout.first) + k - 1
        for j in range(i, end):
            if log[j + shift]:
                return j - i
        return end - i

    def set_heads(self, log: Log) -> None:
        """Derive where each window of the latest event begins."""
        end = log[END]
        if end > self.layout.first:
            latest = log[end - 1]
            now = latest + (log[BASE] << BASE_BITS)
            for window, slot in self.layout.head_slots.items():
                log[slot] = bisect_right(log, latest - reach(window, now), self.layout.first, end)

    def counter(self, key: Key, number: int, column: int) -> Counter:
        """What counts the values of a column in the window of feature `number`, for a busy key."""
        part = self.busy.setdefault(key, {}).get(number)
        if not isinstance(part, Counter):
            part = self.busy[key][number] = Counter(column)
        return part

    def extreme(self, key: Key, number: int, column: int, sign: int) -> Extreme:
        """What knows the extreme of a column in the window of feature `number`, for a busy key."""
        part = self.busy.setdefault(key, {}).get(number)
        if not isinstance(part, Extreme):
            part = self.busy[key][number] = Extreme(column, sign)
        return part

    # --- room

    def _first_kept(self, log: Log) -> int:
        """Before this index no event can be asked for by one that is not too late."""
        first, end = self.layout.first, log[END]
        latest = log[end - 1]
        kept = bisect_right(log, latest - self._kept_time, first, end)
        if self._kept_events:
            kept = min(kept, bisect_left(log, latest - self._lateness, first, end) - self._kept_events)
        if end - kept > MOST_KEPT:
            self.cut += end - MOST_KEPT // 2 - kept
            kept = end - MOST_KEPT // 2
        return max(first, min(kept, end - 1))  # the latest time is what lateness is measured against

    def _roomier(self, key: Key, log: Log) -> Log:
        """A full log with room: what is too old goes, and where that is little the log grows."""
        first, end = self.layout.first, log[END]
        kept = self._first_kept(log)
        self._drop(key, log, kept)
        count, capacity = end - kept, end - first
        parts = [log[kept:end]]
        start = kept + capacity
        for is_sum in self._rebased:
            part = log[start : start + count + 1]
            if is_sum and part[0] > SUMS_REBASED_FROM:
                part = array(log.typecode, [entry - part[0] for entry in part])
            parts.append(part)
            start += capacity + 1
        if not capacity // 4 <= count <= capacity * 2 // 3:
            return self.joined(log, kept, parts)
        start = first
        for part in parts:
            log[start : start + len(part)] = part
            start += capacity + (start != first)
        log[END] = first + count
        for slot in self._head_slots:
            log[slot] = max(first, log[slot] - kept + first)
        return log

    def _refit(self, key: Key, log: Log, now: int, record: Sequence[int]) -> tuple[Log, int]:
        """A log in which the event fits: another base, narrow where possible. Returns it with the event in it."""
        first, end = self.layout.first, log[END]
        kept = self._first_kept(log) if end > first else first
        self._drop(key, log, kept)
        old_base = log[BASE] << BASE_BITS
        start = min(now, log[kept] + old_base) if end > kept else now
        base = (start - self._kept_time) >> BASE_BITS
        moved = old_base - (base << BASE_BITS)
        capacity = log[LIMIT] - first
        columns = [[time + moved for time in log[kept:end]]]
        for k in range(1, len(self.layout.columns) + 1):
            columns.append(log[kept + k * capacity + k - 1 : end + k * capacity + k].tolist())
        sums = [k for k, column in enumerate(self.layout.columns, 1) if column.kind == "sum"]
        if not self.layout.ever or any(columns[k][-1] + record[k - 1] >= 1 << 63 for k in sums):
            log[DROPPED] = 0
            for k in sums:
                columns[k] = [entry - columns[k][0] for entry in columns[k]]
        for k, column in enumerate(self.layout.columns, 1):
            if column.kind == "carry_time":
                columns[k] = [entry + moved for entry in columns[k]]
        for kind in "Iq":
            try:
                header = array(kind, log[:first])
                header[BASE] = base
                new = self.joined(header, kept, [array(kind, entries) for entries in columns])
                return new, self._insert(new, now - (base << BASE_BITS), record)
            except OverflowError:
                continue
        raise OverflowError(f"an amount of {max(record)} units does not fit into a window")

    def joined(self, header: Log, kept: int, parts: Sequence[Log]) -> Log:
        """A log of the parts (times, and columns with an entry more), with room to grow by half."""
        first = self.layout.first
        count = len(parts[0])
        capacity = count + count // 2 + SMALLEST
        kind = header.typecode
        new = header[:first]
        new += parts[0]
        room = array(kind, [0]) * (capacity - count)
        new += room
        for part in parts[1:]:
            new += part
            new += room
        new[END], new[LIMIT] = first + count, first + capacity
        for slot in self._head_slots:
            new[slot] = max(first, new[slot] - (kept - first))
        return new[:]  # a copy has no slack of its own

    def _drop(self, key: Key, log: Log, kept: int) -> None:
        """The events before `kept` go: remember what features of all time need of them."""
        layout = self.layout
        first = layout.first
        if kept == first:
            return
        for part in self.busy.get(key, {}).values():
            part.trimmed(kept - first, first)
        if not layout.ever:
            return
        log[DROPPED] += kept - first
        capacity = log[LIMIT] - first

        def values(k: int) -> set[int]:
            shift = k * capacity + k - 1
            return set(log[first + shift : kept + shift]) - {0}

        for (aggregate, field), slot in layout.extreme_slots.items():
            dropped = values(layout.index(own_column(field))) | ({log[slot]} - {0})
            if dropped:
                log[slot] = min(dropped) if aggregate == "min" else max(dropped)
        if layout.seen:
            seen = self.seen.setdefault(key, [set() for _ in layout.seen])
            for column, before in zip(layout.seen, seen, strict=True):
                before |= values(layout.index(column))


def reach(window: Window, now: int) -> int:
    """How far before `now` (milliseconds) the last event lies that is too old for the window."""
    return window.length if window.kind == "trailing" else now % window.length + 1
