"""The dashboard: its form, its names against the code, and every query on an InfluxDB that the flow has filled."""

import json
import re
from collections.abc import Iterator
from itertools import chain, combinations
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from operators.measurements import MEASUREMENTS
from operators.rules import SEVERITIES
from tests.conftest import running
from tests.integration.filled import Filled, filled_influx
from tests.servers.influxdb import InfluxDB

ROOT = Path(__file__).parent.parent
GRAFANA = ROOT / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
SOURCE = {"type": "influxdb", "uid": "${ds}"}
LATER = {"Precision at capacity"}
"""Measured when a day is over."""
NUMBERS = {"sum", "mean", "max", "min", "percentile"}


class Query(NamedTuple):
    """One InfluxQL query and where it stands. `sparse`: it asks for what a good hour does not have."""

    place: str
    text: str
    sparse: bool = False

    def expanded(self, filled: Filled, severity: str = ".*") -> str:
        """As Grafana sends it: macros and variables replaced."""
        replacements = {
            "$timeFilter": f"time >= {filled.first_ms}ms and time <= {filled.last_ms}ms",
            "$__interval": "5s",
            "${rule:regex}": ".*",
            "${severity:regex}": severity,
        }
        text = self.text
        for name, value in replacements.items():
            text = text.replace(name, value)
        assert "$" not in text.replace("$/", ""), f"{self.place}: unknown variable in {text}"
        return text


def _load(path: Path) -> dict[str, Any]:
    dashboard: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return dashboard


def _panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def _queries() -> Iterator[Query]:
    for path in DASHBOARDS:
        dashboard = _load(path)
        for panel in _panels(dashboard):
            for target in panel["targets"]:
                yield Query(f"{path.stem}: {panel['title']} {target['refId']}", target["query"])
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                yield Query(f"{path.stem}: variable {variable['name']}", variable["query"])
        for annotation in dashboard["annotations"]["list"]:
            if "query" in annotation:
                yield Query(f"{path.stem}: annotation {annotation['name']}", annotation["query"], sparse=True)


QUERIES = list(_queries())


@pytest.fixture(params=DASHBOARDS, ids=lambda path: path.stem)
def dashboard(request: pytest.FixtureRequest) -> dict[str, Any]:
    return _load(request.param)


@pytest.fixture(scope="module")
def filled() -> Iterator[Filled]:
    """A server of this module's own: the shared one is emptied for each test."""
    with running(InfluxDB()) as server, filled_influx(server) as influx:
        yield influx


def test_the_files_are_dashboards_that_nobody_edits_by_hand_in_grafana(dashboard: dict[str, Any]) -> None:
    assert dashboard["id"] is None
    assert re.fullmatch(r"[a-z0-9-]{3,40}", dashboard["uid"])
    assert dashboard["title"]
    assert dashboard["description"]
    assert dashboard["schemaVersion"] == 42
    assert dashboard["editable"] is False
    assert dashboard["refresh"] == "5s"
    assert dashboard["time"] == {"from": "now-15m", "to": "now"}


def test_uids_and_panel_ids_are_unique() -> None:
    uids = [_load(path)["uid"] for path in DASHBOARDS]
    assert len(set(uids)) == len(uids)
    for path in DASHBOARDS:
        ids = [panel["id"] for panel in _load(path)["panels"]]
        assert len(set(ids)) == len(ids), path.name


def test_panels_lie_beside_each_other_and_leave_no_hole(dashboard: dict[str, Any]) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies on {taken[x, y]}"
                taken[x, y] = panel["title"]
    height = 1 + max(y for _, y in taken)
    assert len(taken) == 24 * height


def test_every_panel_says_what_it_shows_and_in_which_unit(dashboard: dict[str, Any]) -> None:
    for panel in _panels(dashboard):
        title = panel["title"]
        assert title
        assert panel["description"].endswith("."), title
        assert panel["fieldConfig"]["defaults"]["unit"], title
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert steps[0]["value"] is None, title
        values = [step["value"] for step in steps[1:]]
        assert values == sorted(values), title
        assert panel["targets"], title
    titles = [panel["title"] for panel in dashboard["panels"]]
    assert len(set(titles)) == len(titles)


def test_every_panel_asks_the_chosen_data_source(dashboard: dict[str, Any]) -> None:
    for panel in _panels(dashboard):
        assert panel["datasource"] == SOURCE, panel["title"]
        assert [target["refId"] for target in panel["targets"]] == sorted({t["refId"] for t in panel["targets"]})
        for target in panel["targets"]:
            assert target["datasource"] == SOURCE, panel["title"]
            assert target["rawQuery"] is True
            assert target["resultFormat"] in ("time_series", "table")
            assert "$timeFilter" in target["query"], panel["title"]


def test_the_data_source_is_provisioned_under_the_uid_that_the_dashboard_names(dashboard: dict[str, Any]) -> None:
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    provisioned = yaml.safe_load((GRAFANA / "provisioning/datasources/influxdb.yaml").read_text())["datasources"]
    assert variables["ds"]["query"] == SOURCE["type"]
    assert variables["ds"]["current"]["value"] in {source["uid"] for source in provisioned}
    assert variables["ds"]["current"]["text"] in {source["name"] for source in provisioned}
    assert all(source["type"] == SOURCE["type"] and "version" not in source["jsonData"] for source in provisioned)


def test_the_variables_choose_among_all_severities_and_rules(dashboard: dict[str, Any]) -> None:
    chosen = [variable for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    assert {variable["name"] for variable in chosen} == {"severity", "rule"}
    for variable in chosen:
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".*")
        assert variable["refresh"] == 2, "asked again when the time range changes"
        assert variable["datasource"] == SOURCE
    for panel in _panels(dashboard):
        for target in panel["targets"]:
            if 'FROM "fraud_alert"' in target["query"] or 'FROM "rule_hits"' in target["query"]:
                assert "${rule:regex}" in target["query"], panel["title"]
                assert "${severity:regex}" in target["query"], panel["title"]


def test_severities_have_a_colour_each(dashboard: dict[str, Any]) -> None:
    panels = {panel["title"]: panel for panel in _panels(dashboard)}
    names = [o["matcher"]["options"] for o in panels["Alerts by severity"]["fieldConfig"]["overrides"]]
    assert sorted(names) == sorted(SEVERITIES)


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.place)
def test_every_measurement_field_and_tag_exists_in_the_code(query: Query) -> None:
    measurements = re.findall(r'FROM "(\w+)"', query.text)
    assert len(measurements) == 1
    tags, fields = MEASUREMENTS[measurements[0]]
    if query.text.startswith("SHOW TAG VALUES"):
        assert re.findall(r'KEY = "(\w+)"', query.text)[0] in tags
        return
    text = re.sub(r'AS "[^"]+"', "", query.text)
    names = set(re.findall(r'"(\w+)"', text)) - set(measurements)
    assert names <= set(tags) | set(fields), query.text
    grouped = text.partition("GROUP BY")[2]
    assert set(re.findall(r'"(\w+)"', grouped)) <= set(tags), "InfluxQL groups by tags only"
    for function, name in re.findall(r'(\w+)\("(\w+)"\)', text):
        if function in NUMBERS:
            assert fields[name] in (int, float), f"{function} of the text {name}"


def test_the_dashboard_leaves_no_measurement_out() -> None:
    assert {re.findall(r'FROM "(\w+)"', query.text)[0] for query in QUERIES} == set(MEASUREMENTS)


def test_what_transformations_and_overrides_name_is_there(dashboard: dict[str, Any]) -> None:
    for panel in _panels(dashboard):
        query = panel["targets"][0]
        selected = query["query"].partition(" FROM ")[0]
        columns = {"Time", *re.findall(r'AS "([^"]+)"', selected)}
        columns |= set(re.findall(r'"(\w+)"(?! AS)', re.sub(r'\w+\("\w+"\) AS "[^"]+"', "", selected)))
        columns |= set(re.findall(r'"(\w+)"', query["query"].partition("GROUP BY")[2]))
        for transformation in panel.get("transformations", []):
            options = transformation["options"]
            if transformation["id"] == "groupBy":
                assert set(options["fields"]) <= columns, panel["title"]
                columns = {
                    name if use["operation"] == "groupby" else f"{name} ({aggregation})"
                    for name, use in options["fields"].items()
                    for aggregation in use["aggregations"] or [""]
                }
            elif transformation["id"] == "organize":
                named = chain(options["excludeByName"], options["indexByName"], options["renameByName"])
                assert set(named) <= columns, panel["title"]
                columns = {options["renameByName"].get(name, name) for name in columns}
            elif transformation["id"] == "sortBy":
                assert {sort["field"] for sort in options["sort"]} <= columns, panel["title"]
        if not query.get("alias", "").startswith("$tag_"):
            overridden = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
            assert overridden <= columns, panel["title"]


def test_the_home_page_and_the_folder_are_the_ones_provisioned() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    grafana = compose["services"]["grafana"]
    provider = yaml.safe_load((GRAFANA / "provisioning/dashboards/fraud.yaml").read_text())["providers"][0]
    mounts = dict(mount.removesuffix(":ro").split(":") for mount in grafana["volumes"])
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert mounts["./grafana/dashboards"] == provider["options"]["path"] == str(home.parent)
    assert (GRAFANA / "dashboards" / home.name).is_file()
    assert mounts["./grafana/provisioning"] == "/etc/grafana/provisioning"
    named = re.findall(r"\$(?!__)(\w+)", (GRAFANA / "provisioning/datasources/influxdb.yaml").read_text())
    assert named
    assert set(named) <= set(grafana["environment"])


@pytest.mark.servers
@pytest.mark.timeout(300)
@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.place)
def test_every_query_returns_data_from_what_the_flow_wrote(query: Query, filled: Filled) -> None:
    series = filled.query(query.expanded(filled))
    if query.sparse:
        return
    assert series, f"no series: {query.text}"
    rows = [dict(zip(one["columns"], row, strict=True)) for one in series for row in one["values"]]
    columns = [column for column in series[0]["columns"] if column != "time"]
    for column in set(columns) - LATER:
        assert any(row[column] is not None for row in rows), f"{column} is empty: {query.text}"


@pytest.mark.servers
@pytest.mark.timeout(300)
def test_choosing_severities_leaves_only_their_alerts(filled: Filled) -> None:
    counts = Query("", 'SELECT count("alert_id") FROM "fraud_alert" WHERE "severity" =~ /^${severity:regex}$/')
    found = {choice: _total(filled.query(counts.expanded(filled, choice))) for choice in ("high", "medium")}
    assert all(found.values())
    assert _total(filled.query(counts.expanded(filled, "(high|medium)"))) == sum(found.values())
    for pair in combinations(SEVERITIES, 2):
        assert _total(filled.query(counts.expanded(filled, f"({'|'.join(pair)})"))) <= _total(
            filled.query(counts.expanded(filled))
        )


def _total(series: list[dict[str, Any]]) -> int:
    return sum(row[1] for one in series for row in one["values"])
