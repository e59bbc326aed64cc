"""What the demo's report has beside its plots: the alerts, to be searched."""

ABOUT = (
    "Eight hours of payments in about a minute: 19,999 rows of the PaySim data set in their true order, "
    "woven with simulated card traffic that holds known fraud patterns, through the flow that production "
    "runs. Everything here was read back from the Kafka topics afterwards."
)

STYLE = """
td { border-bottom: 1px solid var(--line); padding: 7px 10px 7px 0; vertical-align: top; }
.rule { display: inline-block; background: #eef2f7; border-radius: 5px; padding: 0 7px; margin: 0 4px 3px 0;
  white-space: nowrap; }
.high { background: #ffedd5; } .critical { background: #fee2e2; } .medium { background: #fef9c3; }
.reason { white-space: nowrap; font-variant-numeric: tabular-nums; }
.reason em { display: inline-block; height: 9px; border-radius: 2px; margin-right: 6px; min-width: 2px; }
.up { background: #dc2626; } .down { background: #059669; }
small { color: var(--grey); }
i { font-style: normal; white-space: nowrap; }
.fraud { color: #b91c1c; font-weight: 600; } .legit { color: var(--grey); }
input { font: inherit; padding: 6px 10px; border: 1px solid #cbd2d9; border-radius: 7px; width: 260px; float: right; }
"""

ALERTS = """<section class="panel wide">
<input id="filter" type="search" placeholder="Filter: user, rule, scenario …" aria-label="Filter the alerts">
<h2>Top alerts</h2>
<p>{{shown}} of {{total}}, highest risk first. Reasons: what each feature added to the logit of the score;
review from {{review}} on.</p>
<div class="scroll"><table id="alerts">
<thead><tr><th>event time</th><th>user</th>
<th class="n">amount</th><th class="n">risk</th><th>decision</th><th>rules</th>
<th>strongest reasons</th><th>label</th></tr></thead>
<tbody>{{alerts}}</tbody>
</table></div>
</section>"""

SEARCH = """<script>
const rows = [...document.querySelectorAll("#alerts tbody tr")];
document.getElementById("filter").addEventListener("input", event => {
  const words = event.target.value.toLowerCase().split(/\\s+/);
  for (const row of rows) row.hidden = !words.every(word => row.textContent.toLowerCase().includes(word));
});
</script>"""
