"""Files that people write, read up to a size: more is a mistake, such as a table of data where rules were wanted."""

from pathlib import Path

LARGEST = 1_000_000


class TooLarge(ValueError):
    """A file with more bytes than any that a person wrote."""


def read_text(path: str | Path) -> str:
    """The text of a file, in UTF-8, without a byte order mark. Raises OSError, UnicodeDecodeError and TooLarge."""
    with Path(path).open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise TooLarge(f"more than {LARGEST:,} bytes: wanted a text that a person wrote")
    return content.decode("utf-8-sig").replace("\r\n", "\n")
