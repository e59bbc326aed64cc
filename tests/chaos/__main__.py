"""`python -m tests.chaos [--quick] [FAULT …]`: do each fault to a running system, and print what it cost.

Exit code 1 where an alert was lost or repeated. Needs Java with Maven, Go, and gcc for the clock.
"""

import argparse
import sys
import traceback

from rich.console import Console
from rich.table import Table

from tests.chaos.faults import FAULTS, Row

COLUMNS = ("fault", "alerts", "lost", "repeated", "late at most", "restarts", "")


def main() -> int:
    """Runs the faults one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"of {', '.join(FAULTS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="seconds where it would be minutes")
    chosen = parser.parse_args()
    unknown = sorted(set(chosen.faults) - set(FAULTS))
    if unknown:
        parser.error(f"no such fault: {', '.join(unknown)}; there are {', '.join(FAULTS)}")
    rows: list[Row] = []
    failed: list[str] = []
    for name in chosen.faults or FAULTS:
        fault, usual, quick = FAULTS[name]
        print(f"{name} …", file=sys.stderr, flush=True)
        try:
            rows.append(fault(quick if chosen.quick else usual))
            print(rows[-1], file=sys.stderr, flush=True)
        except Exception:  # noqa: BLE001  the table tells of the others all the same
            traceback.print_exc()
            failed.append(name)
    show(rows)
    for name in failed:
        print(f"{name} failed", file=sys.stderr)
    return int(bool(failed) or not all(row.survived for row in rows))


def show(rows: list[Row]) -> None:
    """The table."""
    table = Table(box=None, pad_edge=False)
    for number, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if 0 < number < len(COLUMNS) - 1 else "left")
    for row in rows:
        found = row.outcome
        counts = (f"{found.expected:,}", str(found.lost), str(found.repeated), f"{found.late:.1f} s", str(row.restarts))
        table.add_row(row.fault, *counts, row.note)
    Console(width=160).print(table)


if __name__ == "__main__":
    sys.exit(main())
