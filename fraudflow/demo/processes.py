"""The processes of the demo: the embedded broker, and the flow as production runs it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from flows.settings import Settings

ROOT = Path(__file__).parents[2]
RECOVERY_PARTITIONS = 1
SNAPSHOT_SECONDS = 5


class ProcessFailed(RuntimeError):
    """A process that the demo needs did not start, or ended too early; with what it last said."""


class Broker:
    """`python -m fraudflow broker`, which ends with this process."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "fraudflow", "broker", "--until-stdin-closes"]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        if not self.address:
            raise ProcessFailed(f"the embedded broker did not start: exit code {self.process.wait()}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


class Flow:
    """`python -m bytewax.run flows.fraud:get_flow` with recovery on, configured by `FRAUD_…` alone.

    It runs in a session of its own, so that Ctrl-C in the terminal reaches it only through `stop`.
    """

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.log = folder / "flow.log"
        recovery = folder / "recovery"
        recovery.mkdir()
        # In a folder without an .env, and with no setting of whoever runs the demo.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("FRAUD_", "BYTEWAX_"))}
        self._environment = {**inherited, **environment, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self._folder = folder
        made = self._run("bytewax.recovery", str(recovery), str(RECOVERY_PARTITIONS))
        if made.wait(60):
            raise ProcessFailed(f"no recovery store could be made in {recovery}\n{self.tail()}")
        self.process = self._run(
            "bytewax.run", "flows.fraud:get_flow", "-r", str(recovery), "-s", str(SNAPSHOT_SECONDS), "-b", "0"
        )

    def _run(self, *module: str) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *module],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raises ProcessFailed with the end of its log where it has ended."""
        code = self.process.poll()
        if code is not None:
            raise ProcessFailed(f"the flow ended with exit code {code}\n{self.tail()}")

    def stop(self, timeout: float = 20.0) -> int:
        """SIGTERM, and its exit code: 0 is a drain. Killed where it does not end in time."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def tail(self, lines: int = 25) -> str:
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def environment(address: str) -> dict[str, str]:
    """The flow's settings in the demo."""
    return {
        "FRAUD_KAFKA_BOOTSTRAP_SERVERS": address,
        "FRAUD_RULES_FILE": str(ROOT / "rules.toml"),
        "FRAUD_MODEL_FILE": str(ROOT / "model.toml"),
        "FRAUD_PAYSIM_START": "2024-12-04T00:00:00Z",
        # Analysts of the demo are quick, so that eight hours are enough to learn from them. What has no label by then
        # is taken for legitimate at the same age, or else the first lessons would hold frauds only.
        "FRAUD_LABEL_DELAY": "30m",
        "FRAUD_LABEL_MATURITY": "30m",
        "FRAUD_ALLOWED_LATENESS": "5m",
        "FRAUD_MAX_MESSAGE_BYTES": "20000",
        # The embedded broker lets a waiting fetch wait its whole time even where something comes: keep it short.
        "FRAUD_KAFKA_CONFIG_FETCH_WAIT_MAX_MS": "5",
    }


def settings_of(variables: dict[str, str]) -> Settings:
    """The same settings, as this side of the demo needs them."""
    return Settings.load(variables, env_file=None)
