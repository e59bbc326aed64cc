"""The frame of an evaluation's report. What it holds is filled in by `report`."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>fraudflow: {{file}}</title>
<style>
:root { --ink: #1f2933; --grey: #616e7c; --line: #e4e7eb; --back: #f5f7fa; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1280px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 28px; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 17px; margin: 0; }
header p, .panel > p { color: var(--grey); margin: 4px 0 12px; }
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
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; white-space: nowrap; color: var(--grey); font-weight: 500; }
th, td { padding: 7px 14px 7px 0; border-bottom: 1px solid var(--line); }
.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
</style>
<script>{{plotly}}</script>
</head>
<body>
<main>
<header><h1>{{file}}</h1><p>{{about}}</p></header>
<div class="cards">{{cards}}</div>
<div class="panels">{{sections}}</div>
</main>
</body>
</html>
"""
