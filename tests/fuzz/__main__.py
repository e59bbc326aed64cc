"""`python -m tests.fuzz --seconds 600 [target …]`: atheris on each target in turn, with the time divided among them.

What it finds is left in `.fuzz/<target>/` as `crash-…`, and ends this with exit code 1; so is what it learned, which
the next run begins with.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

from tests.fuzz.run import targets

FOLDER = Path(".fuzz")


def main() -> int:
    """Runs what is named, and prints a line for each."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", choices=[*targets(), []], help="all of them when none is named")
    parser.add_argument("--seconds", type=int, default=600, help="for all targets together")
    asked = parser.parse_args()
    names = asked.targets or list(targets())
    seconds = max(1, asked.seconds // len(names))
    found = 0
    for name in names:
        corpus = FOLDER / name
        corpus.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(targets()[name].seeds):
            (corpus / f"seed-{number}").write_bytes(seed)
        command = [sys.executable, "-m", "tests.fuzz.run", name, str(corpus), f"-artifact_prefix={corpus}/"]
        limits = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1"]
        done = subprocess.run([*command, *limits, "-max_len=4096"], check=False, capture_output=True, text=True)
        runs = re.search(r"stat::number_of_executed_units:\s+(\d+)", done.stderr)
        print(f"{name:16} {seconds:>6} s {int(runs[1]) if runs else 0:>12,} runs", end="", flush=True)
        print("" if done.returncode == 0 else f"  FOUND SOMETHING\n{done.stderr[-3000:]}", flush=True)
        found += done.returncode != 0
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
