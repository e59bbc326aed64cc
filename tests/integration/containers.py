"""The containers of docker-compose.yml outside Docker: the same files, command and environment, other addresses."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
COMPOSE = ROOT / "docker-compose.yml"
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def compose(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The file as compose sees it: merged, and with `${NAME:-default}` filled in."""

    def value(match: re.Match[str]) -> str:
        return (environment or {}).get(match[1]) or match[2]

    content: dict[str, Any] = yaml.safe_load(VARIABLE.sub(value, COMPOSE.read_text(encoding="utf-8")))
    return content


def image_files(folder: Path) -> Path:
    """The working directory of our image: what .dockerignore lets in, and nothing else."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    app = folder / "app"
    for name in (rule[1:] for rule in rules if rule.startswith("!")):
        source, copy = ROOT / name, app / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, copy)
    return app


class Container:
    """One service of ours. `replaced`: what stands for addresses and paths that only exist between containers."""

    def __init__(self, name: str, app: Path, replaced: Mapping[str, str]) -> None:
        self.service = compose()["services"][name]
        self.app = app
        self.replaced = replaced
        self.process: subprocess.Popen[str] | None = None
        self.log = app.parent / f"{name}.log"

    def command(self) -> list[str]:
        return [str(self.app / "deploy/start.sh"), *map(self._replace, self.service["command"])]

    def environment(self) -> dict[str, str]:
        named = {name: self._replace(str(value)) for name, value in self.service["environment"].items()}
        # The interpreter of this run stands for the image's.
        path = f"{Path(sys.executable).parent}{os.pathsep}/usr/bin:/bin"
        return {"PATH": path, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", **named}

    def start(self) -> subprocess.Popen[str]:
        with self.log.open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                self.command(), env=self.environment(), cwd=self.app, stdout=log, stderr=log, text=True
            )
        return self.process

    def is_healthy(self) -> bool:
        kind, *test = self.service["healthcheck"]["test"]
        command = ["/bin/sh", "-c", self._replace(test[0])] if kind == "CMD-SHELL" else [*map(self._replace, test)]
        return subprocess.run(command, env=self.environment(), check=False, capture_output=True).returncode == 0

    def stop(self) -> int:
        """As `docker compose stop`: SIGTERM, then patience; the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=60)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""

    def _replace(self, text: str) -> str:
        for name, here in self.replaced.items():
            text = text.replace(name, here)
        return text
