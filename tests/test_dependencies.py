"""What is installed is what is pinned: each package at one version, by its hashes, with a licence that we may use."""

import re
from importlib.metadata import distribution, version
from pathlib import Path

import pytest
from packaging.markers import Marker

ROOT = Path(__file__).parent.parent
FILES = sorted(path.name for path in ROOT.glob("requirements*.txt"))
INSTALLED = ("requirements.txt", "requirements-dev.txt")
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(?:\s*;\s*([^\\]+?))?\s*(\\.*)$", re.DOTALL)
FREE = re.compile(
    r"\b(MIT|BSD|Apache|PSF|Python Software Foundation|ISC|MPL|Mozilla Public|Unlicense|0BSD|Zlib)\b", re.I
)


def pins(name: str) -> dict[str, tuple[str, str | None, list[str]]]:
    """Version, marker and hashes of each package of a file."""
    text = "\n".join(line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#"))
    found = {}
    for entry in re.split(r"\n(?=\S)", text.strip()):
        match = PIN.match(entry)
        assert match, f"{name}: {entry.splitlines()[0]}: wanted a package at one version"
        found[match[1].lower()] = match[2], match[3], re.findall(r"--hash=(\S+)", match[4])
    return found


def wanted(marker: str | None) -> bool:
    return marker is None or Marker(marker).evaluate()


def licence(package: str) -> str:
    found = distribution(package).metadata
    names = [found.get("License-Expression"), (found.get("License") or "")[:200]]
    names += [name for name in found.get_all("Classifier", []) if name.startswith("License ::")]
    if not any(names):  # told by the file alone
        texts = [path for path in distribution(package).files or () if path.name.startswith("LICENSE")]
        names += [" ".join(path.read_text().split())[:80] for path in texts]
    return "; ".join(name for name in names if name)


@pytest.mark.parametrize("name", FILES)
def test_every_package_is_pinned_by_hashes_and_comes_from_no_address(name: str) -> None:
    assert not re.search(r"://|index-url|find-links|git\+", (ROOT / name).read_text())
    for package, (_, _, hashes) in pins(name).items():
        assert hashes, package
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", found) for found in hashes), package


@pytest.mark.parametrize("name", INSTALLED)
def test_what_is_tested_is_what_is_pinned(name: str) -> None:
    for package, (pinned, marker, _) in pins(name).items():
        if wanted(marker):
            assert version(package) == pinned, package


def test_the_files_agree() -> None:
    ours, dev = (pins(name) for name in INSTALLED)
    for package in set(ours) & set(dev):
        assert ours[package][0] == dev[package][0], package


def test_what_runs_has_a_licence_that_asks_for_nothing_in_return() -> None:
    for package, (_, marker, _) in pins("requirements.txt").items():
        if wanted(marker):
            assert FREE.search(licence(package)), f"{package}: {licence(package) or 'no licence'}"


@pytest.mark.parametrize("name", [name.replace(".txt", ".in") for name in FILES])
def test_what_we_ask_for_ourselves_is_pinned_as_we_say(name: str) -> None:
    held = pins(name.replace(".in", ".txt"))
    for line in (ROOT / name).read_text().splitlines():
        package, _, asked = line.partition("==")
        if asked and not line.startswith("#"):
            assert held[package.lower()][0] == asked
