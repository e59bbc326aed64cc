"""Files that people write, read up to a size: more is a mistake, such as a table of data where rules were wanted."""

from pathlib import Path

LARGEST = 1_000_000


class Unreadable(ValueError):
    """A file that can't be read as what a person wrote; the message names it and says why."""


def read_text(path: str | Path) -> str:
    """The text of a file of TOML, without a byte order mark. Raises Unreadable."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise Unreadable(f"{path}: more than {LARGEST:,} bytes: wanted a text that a person wrote")
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise Unreadable(f"{path}: not a text file: wanted TOML in UTF-8") from error
