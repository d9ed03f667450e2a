"""HTML report: one page that needs nothing else: no script, no host, no font."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from nexus_core.evaluation.answers.answer_tables import answer_tables
from nexus_core.evaluation.chart import COLOURS, Series, bars, curves
from nexus_core.evaluation.costs import COST_HEADERS, COST_TITLE, cost_cells
from nexus_core.evaluation.measures import NAMES
from nexus_core.evaluation.report import Report, figure, is_sure, probability, signed
from nexus_core.toolkit.suggest import counted

_LIGHT = ("#0067a5", "#c2500a", "#00795a", "#9b4a86", "#8a6a00", "#4a4fb5")
_DARK = ("#5fb4ec", "#f08a4b", "#3fc79a", "#df92c5", "#dcb43c", "#9a9ef5")


def _colours(colours: Sequence[str]) -> str:
    return "".join(f"--s{number}:{colour};" for number, colour in enumerate(colours))


_STYLE = f"""
:root{{color-scheme:light dark;--paper:#fff;--ink:#1c2128;--quiet:#59636e;--line:#d9dee3;--box:#f6f8fa;
{_colours(_LIGHT)}}}
@media (prefers-color-scheme:dark){{:root{{--paper:#12161b;--ink:#e3e8ee;--quiet:#98a3af;--line:#323a44;--box:#1a2027;
{_colours(_DARK)}}}}}
*{{box-sizing:border-box}}
body{{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}}
main{{max-width:62rem;margin:0 auto;padding:1.25rem 1rem 3rem}}
h1{{font-size:1.5rem;line-height:1.25;margin:0 0 .25rem}}
h2{{font-size:1.1rem;margin:2.25rem 0 .5rem}}
p{{margin:.35rem 0;max-width:46rem}}
.quiet{{color:var(--quiet);font-size:.9rem}}
.legend{{display:flex;flex-wrap:wrap;gap:.3rem 1.1rem;list-style:none;margin:.9rem 0;padding:0}}
.legend i{{display:inline-block;width:.8rem;height:.8rem;border-radius:.2rem;margin-right:.4rem;background:var(--c)}}
.charts{{display:grid;align-items:start;grid-template-columns:repeat(auto-fit,minmax(min(100%,20rem),1fr));gap:1.25rem}}
figure{{margin:0;padding:1rem;background:var(--box);border:1px solid var(--line);border-radius:.6rem}}
figcaption{{font-weight:600;margin-bottom:.5rem}}
svg{{display:block;width:100%;max-width:30rem;height:auto;margin:0 auto;font:11px system-ui,sans-serif}}
svg text{{fill:var(--ink)}}
svg .tick{{fill:var(--quiet);font-size:10px}}
svg .label{{font-weight:600}}
svg .value,td,th{{font-variant-numeric:tabular-nums}}
.grid{{stroke:var(--line);stroke-width:1}}
.fill{{fill:var(--c)}}
.curve{{fill:none;stroke:var(--c);stroke-width:2}}
.again .curve{{stroke-dasharray:5 3}}
.again .fill{{fill-opacity:.55}}
.whisker{{fill:none;stroke:var(--c);stroke-width:1.3}}
rect+.whisker{{stroke:var(--ink)}}
.wide{{overflow-x:auto;border:1px solid var(--line);border-radius:.6rem}}
table{{border-collapse:collapse;width:100%;font-size:.9rem}}
th,td{{padding:.4rem .7rem;text-align:right;white-space:nowrap;border-top:1px solid var(--line)}}
thead th{{border-top:0;background:var(--box);font-weight:600}}
th:first-child,td:first-child{{text-align:left;position:sticky;left:0;background:var(--paper)}}
thead th:first-child{{background:var(--box)}}
.pairs :is(th,td):nth-child(2){{text-align:left}}
td small{{color:var(--quiet);font-size:.85em}}
""" + "".join(f".s{number}{{--c:var(--s{number})}}" for number in range(COLOURS))


def render_html(report: Report) -> str:
    """Return the page of a report."""
    collection = report.collection
    title = f"Rankings on {collection.name}"
    body = "".join(_sections(report))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>\n"
    )


def _sections(report: Report) -> Iterable[str]:
    collection = report.collection
    items = "items of their own" if collection.items is None else counted(len(collection.items), "item")
    queries = counted(len(collection.queries), "query", "queries")
    yield (
        f'<p class="quiet">{queries}, {items}, {counted(collection.judgements, "relevant pair")}. '
        f"Intervals hold 95 % (bootstrap over queries, {report.times_drawn:,} draws).</p>"
    )
    yield _legend(report)
    yield _charts(report)
    yield _figures("Rankings", report, NAMES, NAMES)
    recall = report.settings.figures[len(NAMES) :]
    if report.has_recall:
        yield _figures(
            f"Answer recall by tokens of context, on {counted(report.answerable, 'query', 'queries')}",
            report, recall, [f"{budget:,}" for budget in report.settings.budgets],
        )  # fmt: skip
    yield _differences(report)
    yield _times(report)
    rows = ([line.pipeline, *cost_cells(line.cost)] for line in report.lines if line.cost is not None)
    yield _section(COST_TITLE, _table(["pipeline", *COST_HEADERS], rows))
    yield from _answers(report)
    yield _notes(report)


def _legend(report: Report) -> str:
    names = (
        f'<li class="s{number % COLOURS}"><i></i>{escape(line.pipeline)}</li>'
        for number, line in enumerate(report.lines)
    )
    return f'<ul class="legend">{"".join(names)}</ul>'


def _charts(report: Report) -> str:
    drawn = [f"<figure><figcaption>Rankings</figcaption>{bars(NAMES, _series(report, NAMES))}</figure>"]
    if report.has_recall:
        curve = curves(report.settings.budgets, _series(report, report.settings.figures[len(NAMES) :]))
        drawn.append(f"<figure><figcaption>Answer recall at budget</figcaption>{curve}</figure>")
    return f'<div class="charts">{"".join(drawn)}</div>'


def _series(report: Report, names: Sequence[str]) -> list[Series]:
    return [Series(line.pipeline, [line.figures.get(name) for name in names]) for line in report.lines]


def _figures(title: str, report: Report, names: Sequence[str], headers: Sequence[str]) -> str:
    rows = (
        [line.pipeline, *(figure(line.figures[name]) if name in line.figures else "" for name in names)]
        for line in report.lines
    )
    return _section(title, _table(["pipeline", *headers], rows))


def _differences(report: Report) -> str:
    baseline, *others = report.lines
    if not others:
        return ""
    several = len(others) > 1
    headers = ["pipeline", "figure", "difference", "p", *(["p (Holm)"] if several else []), ""]
    rows = []
    for line in others:
        for name, found in line.differences.items():
            verdict = ("better" if found.interval.mean > 0 else "worse") if is_sure(found) else ""
            corrected = [probability(found.p_holm)] if several else []
            rows.append([line.pipeline, name, signed(found.interval), probability(found.p), *corrected, verdict])
    told = report.how_to_read_differences
    title = f"Against {baseline.pipeline}, on the same queries"
    return _section(title, f'<div class="pairs">{_table(headers, rows)}</div><p class="quiet">{escape(told)}</p>')


def _times(report: Report) -> str:
    headers = ["pipeline", *(header for stage in report.stages for header in (stage, "95th percentile", "first query"))]
    rows = []
    for line in report.lines:
        known = [line.times.get(stage) for stage in report.stages]
        cells = [("", "", "") if t is None else (f"{t.median:.2f}", f"{t.p95:.2f}", f"{t.first:.2f}") for t in known]
        rows.append([line.pipeline, *(cell for three in cells for cell in three)])
    return _section("Milliseconds per query, median", _table(headers, rows))


def _answers(report: Report) -> Iterable[str]:
    for table in () if report.answers is None else answer_tables(report.answers):
        shown = _table(table.headers, table.rows)
        yield _section(table.title, f'<div class="pairs">{shown}</div>' if "figure" in table.headers else shown)


def _notes(report: Report) -> str:
    told = [*report.collection.warnings, *(f"{line.pipeline}: {note}" for line in report.lines for note in line.notes)]
    told += () if report.answers is None else report.answers.notes
    if not told:
        return ""
    return _section("Notes", "".join(f"<p>{escape(note)}.</p>" for note in told))


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>{content}"


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(header)}</th>" for header in headers)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(text: str) -> str:
    mean, bracket, rest = text.partition(" [")
    return f"<td>{escape(mean)} <small>[{escape(rest)}</small></td>" if bracket else f"<td>{escape(text)}</td>"
