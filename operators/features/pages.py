"""What an array does, in pages: nothing that is done for one event copies all the others."""

from array import array
from collections.abc import Iterator, Sequence
from typing import Final, overload

PAGE_BITS: Final = 12
PAGE: Final = 1 << PAGE_BITS
"""Entries of a page: 32 KB, which are copied in 2 us when it grows."""
_WITHIN: Final = PAGE - 1


class Pages(Sequence[int]):
    """An array of 64 bits an entry whose first `fixed` entries stay where they are, as the header of a log does.

    Entries go at the end, leave behind the fixed ones or at the end (`del`), and are seldom put in between. To look at
    one costs five times what it costs in an array. Slices have no negative steps and are copies.
    """

    typecode: Final = "q"

    def __init__(self, entries: "array[int]", fixed: int = 0) -> None:
        self._fixed = fixed
        self._header = array("q", entries[:fixed])
        self._pages = [array("q", entries[start : start + PAGE]) for start in range(fixed, len(entries), PAGE)]
        self._shift = -fixed
        """What makes an index a place in the pages; the first page may begin with entries that are gone."""
        self._end = len(entries)

    def __len__(self) -> int:
        return self._end

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> "array[int]": ...
    def __getitem__(self, index: int | slice) -> "int | array[int]":
        if index.__class__ is slice:
            return self._slice(*index.indices(self._end))
        if index >= self._fixed:  # type: ignore[operator]
            index += self._shift  # type: ignore[operator]
            return self._pages[index >> PAGE_BITS][index & _WITHIN]
        return self._header[index] if index >= 0 else self[self._end + index]  # type: ignore[operator]

    def __setitem__(self, index: int | slice, value: "int | array[int]") -> None:
        if isinstance(index, slice):
            assert not isinstance(value, int)
            start, _, step = index.indices(self._end)
            if index.step is None:
                self._insert(start, value)
            else:
                self._assign(start, step, value)
        elif index < self._fixed:
            self._header[index] = value  # type: ignore[assignment]
        else:
            index += self._shift
            self._pages[index >> PAGE_BITS][index & _WITHIN] = value  # type: ignore[assignment]

    def __delitem__(self, gone: slice) -> None:
        """Those behind the fixed ones, or the last ones."""
        start, stop, _ = gone.indices(self._end)
        if stop == self._end:
            at = start + self._shift
            del self._pages[(at >> PAGE_BITS) + 1 :]
            if at >> PAGE_BITS < len(self._pages):
                del self._pages[-1][at & _WITHIN :]
            self._end = start
            return
        self._shift += stop - start
        empty = (self._fixed + self._shift) >> PAGE_BITS
        del self._pages[:empty]
        self._shift -= empty << PAGE_BITS
        self._end -= stop - start

    def fromlist(self, entries: list[int]) -> None:
        """Put the entries at the end, all or none of them. Raises OverflowError."""
        if self._pages and len(self._pages[-1]) + len(entries) <= PAGE:
            self._pages[-1].fromlist(entries)
            self._end += len(entries)
        else:
            self.extend(array("q", entries))

    def extend(self, entries: "array[int]") -> None:
        """Put the entries at the end."""
        if not self._pages:
            self._pages.append(array("q"))
        room = PAGE - len(self._pages[-1])
        self._pages[-1].extend(entries[:room])
        self._pages += [entries[start : start + PAGE] for start in range(room, len(entries), PAGE)]
        self._end += len(entries)

    def flat(self) -> "array[int]":
        """All of it as an array."""
        return self._header + self._slice(self._fixed, self._end, 1)

    def slices(self) -> Iterator["array[int]"]:
        """All but the fixed entries, a page at a time."""
        start = self._fixed
        for end in range(PAGE - self._shift, self._end + PAGE, PAGE):
            yield self._slice(start, min(end, self._end), 1)
            start = end

    def _slice(self, start: int, stop: int, step: int) -> "array[int]":
        if stop <= self._fixed:
            return self._header[start:stop:step]
        found = array("q")
        at, end = start + self._shift, stop + self._shift
        while at < end:
            within = at & _WITHIN
            part = self._pages[at >> PAGE_BITS][within : within + end - at : step]
            found += part
            at += len(part) * step
        return found

    def _assign(self, start: int, step: int, entries: "array[int]") -> None:
        at, done = start + self._shift, 0
        while done < len(entries):
            page, within = self._pages[at >> PAGE_BITS], at & _WITHIN
            part = entries[done : done + (len(page) - within + step - 1) // step]
            page[within : within + (len(part) - 1) * step + 1 : step] = part
            done += len(part)
            at += len(part) * step

    def _insert(self, start: int, entries: "array[int]") -> None:
        """What does not fit into a page any more goes to the front of the next."""
        number, within = divmod(start + self._shift, PAGE)
        self._end += len(entries)
        while entries:
            if number == len(self._pages):
                self._pages.append(array("q"))
            page = self._pages[number]
            page[within:within] = entries
            entries = page[PAGE:]
            del page[PAGE:]
            number, within = number + 1, 0
