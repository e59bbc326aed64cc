"""The table of figures is made, told and published; what the figures are is no test's matter."""

from pathlib import Path

import pytest

from benchmarks import table
from benchmarks.__main__ import figures
from benchmarks.table import Figure, printed, published


def test_every_figure_is_measured_and_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "performance.md"
    page.write_text(table.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(table, "PAGE", page)
    found = figures(rounds=1, events=2000, users=100)
    assert all(figure.value > 0 for figure in found)
    assert len({figure.what for figure in found}) == len(found)
    printed(found)
    lines = capsys.readouterr().out.splitlines()
    assert [line.startswith(figure.what) for line, figure in zip(lines[1:], found, strict=True)] == [True] * len(found)
    published(found)
    published(found[:1])
    text = page.read_text(encoding="utf-8")
    assert f"| {found[0].what} |" in text
    assert f"| {found[1].what} |" not in text
    assert text.startswith("# Performance")
    assert text.rstrip().endswith(table.PAGE.read_text(encoding="utf-8").rstrip()[-60:])


@pytest.mark.parametrize(
    ("figure", "met", "told"),
    [
        (Figure("a", 2, "MB/s", 3, True), False, ("a", "2", "MB/s", "≥ 3", "no", "")),
        (Figure("a", 3, "us", 3.5, worst=4, best=1234.5), True, ("a", "3", "us", "≤ 3.5", "yes", "4 to 1,234")),
        (Figure("a", 0.01234, "us"), None, ("a", "0.0123", "us", "", "", "")),
    ],
)
def test_a_figure_says_whether_its_goal_is_met(figure: Figure, met: bool | None, told: tuple[str, ...]) -> None:
    assert figure.met is met
    assert figure.cells() == told
