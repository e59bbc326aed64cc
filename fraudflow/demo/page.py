"""The frame of the demo's report. The figures in it are filled in by `report`."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>fraudflow: demo report</title>
<style>
:root { --ink: #1f2933; --grey: #616e7c; --line: #e4e7eb; --back: #f5f7fa; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1280px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 28px; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 17px; margin: 0; }
header p, .panel > p { color: var(--grey); margin: 4px 0 12px; }
header p { max-width: 860px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 20px 0; }
.card, .panel { background: white; border: 1px solid var(--line); border-radius: 10px; }
.card { padding: 14px 16px; }
.card b { display: block; font-size: 21px; font-variant-numeric: tabular-nums; white-space: nowrap; }
.card span { color: var(--grey); font-size: 13px; }
.panels { display: grid; grid-template-columns: 1fr 1fr; gap: 16px; }
.panel { padding: 18px 20px; min-width: 0; }
.wide { grid-column: 1 / -1; }
.none { padding: 40px 0; text-align: center; }
@media (max-width: 900px) { .panels { grid-template-columns: 1fr; } }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th { text-align: left; white-space: nowrap; color: var(--grey); font-weight: 500; padding: 6px 10px 6px 0;
  border-bottom: 1px solid var(--line); }
td { border-bottom: 1px solid var(--line); padding: 7px 10px 7px 0; vertical-align: top; }
.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
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
.scroll { overflow-x: auto; }
</style>
<script>{{plotly}}</script>
</head>
<body>
<main>
<header>
<h1>fraudflow demo</h1>
<p>Eight hours of payments in under a minute: 19,999 rows of the PaySim data set in their true order, woven with
simulated card traffic that holds known fraud patterns, through the flow that production runs. Everything here was read
back from the Kafka topics afterwards.</p>
</header>
<div class="cards">{{cards}}</div>
<p><b>What the model added:</b> {{added}}. {{drift}}</p>
<div class="panels">{{sections}}
<section class="panel wide">
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
</section>
</div>
</main>
<script>
const rows = [...document.querySelectorAll("#alerts tbody tr")];
document.getElementById("filter").addEventListener("input", event => {
  const words = event.target.value.toLowerCase().split(/\\s+/);
  for (const row of rows) row.hidden = !words.every(word => row.textContent.toLowerCase().includes(word));
});
</script>
</body>
</html>
"""
