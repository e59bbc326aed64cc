"""Dead letters for people."""

from collections import Counter
from collections.abc import Sequence

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fraudflow.dlq.letters import Letter, Read
from operators.times import iso

LONGEST_ERROR = 100


def show_list(read: Read, limit: int) -> None:
    """A line for each of the newest letters, and how many there are by reason."""
    console = Console()
    shown = read.letters[-limit:]
    table = Table(box=None, pad_edge=False)
    for name in ("letter", "written", "reason", "from", "error"):
        table.add_column(name, no_wrap=name != "error", overflow="fold")
    for letter in shown:
        reason = letter.reason + (" (put back)" if letter.id in read.replayed else "")
        cells = (str(letter.id), iso(letter.written_at), reason, letter.source, letter.error[:LONGEST_ERROR])
        table.add_row(*map(plain, cells))
    if shown:
        console.print(table)
    by_reason = ", ".join(
        f"{count:,} {reason}" for reason, count in Counter(x.reason for x in read.letters).most_common()
    )
    older = f"; the newest {limit:,} are shown (--limit)" if len(read.letters) > limit else ""
    counted = f"{len(read.letters):,} dead letters" + (f": {by_reason}" if by_reason else "")
    console.print(plain(counted + older), soft_wrap=True)


def show_letters(letters: Sequence[Letter]) -> None:
    """All that is known of each: headers, key, and the message."""
    console = Console()
    for letter in letters:
        console.print(plain(f"letter {letter.id}, written {iso(letter.written_at)}"), style="bold")
        for name, value in letter.headers:
            console.print(plain(f"  {name}: {value.decode(errors='backslashreplace')}"), soft_wrap=True)
        console.print(plain(f"  key: {'none' if letter.key is None else decoded(letter.key)}"), soft_wrap=True)
        console.print(plain(decoded(letter.value)), soft_wrap=True)
        console.print()


def decoded(value: bytes | None) -> str:
    """JSON indented, other text as it is, what is neither with its bytes as escapes."""
    if value is None:
        return "(no value)"
    try:
        return orjson.dumps(orjson.loads(value), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        return value.decode(errors="backslashreplace")


def plain(text: str) -> Text:
    """Text without markup, and without what would control the terminal: the bytes are whatever someone sent."""
    return Text("".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text))
