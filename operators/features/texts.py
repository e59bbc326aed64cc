"""Texts as numbers: a log holds numbers only."""

from typing import Final

SLACK: Final = 4096


class Texts:
    """Numbers from 1 for the texts of a group's logs; those that no log holds any more are given to others."""

    def __init__(self) -> None:
        self.ids: dict[str | None, int] = {None: 0}
        self.texts: dict[int, str] = {}
        self._free: list[int] = []
        self._many = SLACK

    def intern(self, text: str) -> int:
        """The number of a text that has none yet."""
        number = self._free.pop() if self._free else len(self.texts) + 1
        self.ids[text] = number
        self.texts[number] = text
        return number

    @property
    def many(self) -> bool:
        """Whether the table has doubled since it was last looked through."""
        return len(self.texts) >= self._many

    def keep(self, live: set[int]) -> None:
        """Forget all other numbers."""
        for number in self.texts.keys() - live:
            del self.ids[self.texts.pop(number)]
        self._count()

    def restore(self, numbers: list[int], texts: list[str]) -> None:
        """The table as it was."""
        self.texts = dict(zip(numbers, texts, strict=True))
        self.ids |= {text: number for number, text in self.texts.items()}
        self._count()

    def _count(self) -> None:
        self._free = sorted(set(range(1, max(self.texts, default=0) + 1)) - self.texts.keys(), reverse=True)
        self._many = 2 * len(self.texts) + SLACK
