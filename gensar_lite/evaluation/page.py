"""The report's HTML: one template and its style, nothing else.

In: the context that report.py prepares, plain values only. Out: one page that loads nothing from anywhere: figures
are ``data:`` images, the style is inline, there is no script, and a content policy tells the browser so. Every value
is escaped by jinja2's autoescape. This file computes nothing.
"""

from __future__ import annotations

from jinja2 import Environment, StrictUndefined

STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --soft: #5b6475; --line: #d9dee7; --back: #fff; --band: #f4f6fa;
  --mark: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebf1; --soft: #a3adbf; --line: #394152; --back: #151922;
  --band: #1e2430; --mark: #6cb8ee; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 66rem; padding: 1.5rem; background: var(--back); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.9rem; margin: 0 0 .3rem; } h2 { font-size: 1.35rem; margin: 2.4rem 0 .6rem;
  border-bottom: 1px solid var(--line); padding-bottom: .25rem; } h3 { font-size: 1.05rem; margin: 1.3rem 0 .4rem; }
p, ul { max-width: 46rem; } .soft, caption, figcaption { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0 1rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .3rem; }
th, td { padding: .35rem .8rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child { text-align: left; } thead th { background: var(--band); }
tr.own td, tr.own th { font-weight: 650; } td small { display: block; color: var(--soft); font-weight: 400; }
tbody th { font-weight: 400; } table.plain td { text-align: left; overflow-wrap: break-word; }
figure { margin: 1rem 0; }
figure img { max-width: 100%; height: auto; background: #fff; border-radius: .4rem; padding: .4rem; }
.card { border: 1px solid var(--line); border-radius: .5rem; padding: .7rem 1rem; margin: .8rem 0;
  background: var(--band); }
.card p, .card ol { margin: .25rem 0; } .hit { color: var(--mark); font-weight: 650; }
.note { border-left: 4px solid var(--mark); padding: .3rem 1rem; background: var(--band); max-width: 46rem; }
code, pre { font: .88em/1.5 ui-monospace, Menlo, Consolas, monospace; }
pre { background: var(--band); padding: .8rem 1rem;
  border-radius: .4rem; overflow-x: auto; } summary { cursor: pointer; padding: .3rem 0; }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>gensar_lite: {{ run }}</title>
<style>{{ style }}</style>
</head>
<body>
{%- macro figure(f) %}
<figure><img src="{{ f.uri }}" alt="{{ f.alt }}">{% if f.caption %}<figcaption>{{ f.caption }}</figcaption>{% endif %}
</figure>
{%- endmacro %}
{%- macro pairs(rows, head, caption) %}
<div class="wide"><table class="plain"><caption>{{ caption }}</caption>
<thead><tr>{% for h in head %}<th scope="col">{{ h }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in rows %}<tr><th scope="row">{{ row[0] }}</th>{% for v in row[1:] %}<td>{{ v }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
{%- endmacro %}
{%- macro numbers(t) %}
<div class="wide"><table><caption>{{ t.caption }}</caption>
<thead><tr><th scope="col">system</th>{% for c in t.columns %}<th scope="col">{{ c }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in t.rows %}
<tr{% if row.system == "joint" %} class="own"{% endif %}><th scope="row">{{ row.system }}</th>
{% for cell in row.cells %}
<td>{% if cell %}{{ cell.value }}<small>{{ cell.interval }}</small>{% else %}–{% endif %}</td>
{% endfor %}</tr>
{% endfor %}</tbody></table></div>
{%- endmacro %}
<header><h1>Run {{ run }}</h1>
<p class="soft">Generative search and recommendation with one model (GenSAR), on {{ source }}. {{ size }}</p></header>
<main>
{% for note in notes %}<p class="note">{{ note }}</p>
{% endfor %}
<h2>Results</h2>
<ul>{% for line in verdicts %}<li>{{ line }}</li>{% endfor %}</ul>
{% for t in tables if t.full %}<h3>{{ t.title }}</h3>{{ numbers(t) }}{% endfor %}
<p class="soft">{{ how }}</p>
{% if tradeoff %}<h2>Search against recommendation</h2>{% endif %}
{% for f in tradeoff + bars %}{{ figure(f) }}{% endfor %}
{% for t in kinds %}<h2>{{ t.title }}</h2>{{ numbers(t) }}{% endfor %}
{% if tables | rejectattr("full") | list %}<h2>Other protocols</h2>
<p>all-relevant: every item that answers the query counts, not only the one that was taken, which counts one grade more.
Sampled candidates (one target and negatives: random ones, or those that BM25 likes best) make every system look better
and can change their order; they are here to compare with work that reports nothing else.</p>
{% for t in tables if not t.full %}<h3>{{ t.title }}</h3>{{ numbers(t) }}{% endfor %}{% endif %}
<h2>Data</h2>
{{ pairs(targets, ["task", "train events", "validation targets", "test targets"],
  "Every event of validation and test is a target, ranked from its own history") }}
{% if files %}
{{ pairs(files.columns, ["table", "file", "rows", "columns as they were read", "not used"], "Your files") }}
{{ pairs(files.findings, ["", "table", "what", "share", "then"],
  "Findings: DROP was removed, FIX was made regular, WARN is for you to look at") }}
{{ pairs(files.kept, ["what", "count"], "What was kept") }}{% endif %}
<h2>Identifiers</h2>
{% for f in maps %}{{ figure(f) }}{% endfor %}
{{ pairs(levels, ["view", "level", "codes in use", "perplexity", "largest code"], "Final codes, level by level") }}
<h2>Training</h2>
{% for f in curves %}{{ figure(f) }}{% else %}<p>No training curve was recorded.</p>{% endfor %}
{% if held_out %}{{ pairs(held_out, ["task", "untrained", "trained", "right, level by level"],
  "Loss a token on what the task has not learned from: validation events, or a twentieth of the items") }}{% endif %}
<h2>Example searches and recommendations</h2>
<p>{{ examples_note }}</p>
{% for e in examples %}<article class="card"><h3>{{ e.title }}</h3>
<p><span class="soft">History, oldest first:</span> {{ e.history | join(" · ") or "none" }}</p>
{% if e.query is not none %}<p><span class="soft">Query:</span> <strong>{{ e.query }}</strong></p>{% endif %}
<p><span class="soft">What the user took:</span> {{ e.target }}</p>
<ol>{% for a in e.answers %}<li{% if a.mark %} class="hit"{% endif %}>{{ a.label }} <code>{{ a.codes }}</code>
{%- if a.mark %} – {{ a.mark }}{% endif %}</li>{% else %}<li>no answer</li>{% endfor %}</ol></article>
{% endfor %}
<h2>How this was made</h2>
<p>To make it again:</p><pre>{{ command }}</pre>
{{ pairs(facts, ["what", "value"], "Protocol, seeds, machine") }}
{{ pairs(stages, ["stage", "seconds"], "Time") }}
{{ pairs(versions, ["library", "version"], "Versions") }}
<details><summary>Statistics of each stage</summary>
{{ pairs(statistics, ["figure", "value"], "From each meta.json") }}</details>
<details><summary>All settings</summary>{{ pairs(settings, ["setting", "value"], "One line a setting") }}</details>
</main></body></html>
"""


def render(context: dict[str, object]) -> str:
    """The page for `context`; a missing name raises ``jinja2.UndefinedError``."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    return environment.from_string(PAGE).render(style=STYLE, **context)
