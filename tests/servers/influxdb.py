"""InfluxDB 1.8.10, built by `go install`: the v2 write API that `influxdb-client` uses, and InfluxQL."""

import json
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.servers.process import Server, cached, free_ports, run_tool, tool

MODULE = Path(__file__).parent / "influxdb"
BUCKET = "fraud-detection-bucket"

_CONFIG = """\
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  max-concurrent-compactions = 1
[http]
  bind-address = "127.0.0.1:{port}"
  flux-enabled = true
  log-enabled = false
"""


class InfluxDB(Server):
    """A real server with an empty bucket. Any organisation and token will do."""

    name = "influxdb"

    def __init__(self) -> None:
        super().__init__()
        self._binary = Path()
        self.url = ""
        self.bucket = BUCKET

    def prepare(self) -> None:
        """Build it where that has not been done, and write its configuration."""
        self._binary = cached("influxdb", [MODULE / "go.mod", MODULE / "go.sum"], _build) / "influxd"
        port, rpc = free_ports(2)
        self.url = f"http://127.0.0.1:{port}"
        (self.folder / "influxdb.toml").write_text(_CONFIG.format(folder=self.folder, port=port, rpc=rpc))

    def command(self) -> tuple[list[str], dict[str, str]]:
        """The server."""
        return [str(self._binary), "run", "-config", str(self.folder / "influxdb.toml")], {}

    def is_ready(self) -> bool:
        """Whether it has the bucket; makes it."""
        try:
            self.query(f'CREATE DATABASE "{BUCKET}"')
        except (urllib.error.URLError, OSError):
            return False
        return True

    def address(self) -> str:
        """FRAUD_INFLUX_URL."""
        return self.url

    def empty(self) -> None:
        """Forget every point."""
        self.query(f'DROP DATABASE "{BUCKET}"')
        self.query(f'CREATE DATABASE "{BUCKET}"')

    def query(self, influxql: str) -> list[dict[str, Any]]:
        """Every row of the answer: its columns and its series' tags; times in ns. Raises ValueError on an error."""
        body = urllib.parse.urlencode({"q": influxql, "db": BUCKET, "epoch": "ns"}).encode()
        with urllib.request.urlopen(f"{self.url}/query", body, timeout=30) as response:
            answer = json.load(response)
        rows = []
        for result in answer["results"]:
            if "error" in result:
                raise ValueError(result["error"])
            for series in result.get("series", ()):
                tags = series.get("tags", {})
                rows += [{**tags, **dict(zip(series["columns"], row, strict=True))} for row in series.get("values", ())]
        return rows


def _build(folder: Path) -> None:
    go = tool("go", "a real InfluxDB")
    command = [go, "install", "github.com/influxdata/influxdb/cmd/influxd"]
    run_tool(command, "InfluxDB", MODULE, {"GOBIN": str(folder)})
