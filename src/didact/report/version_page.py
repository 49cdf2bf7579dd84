"""A version as one web page that a team can read: what went in, what became of it and why, what is in the shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from didact.records.findings import CODES
from didact.report.flow import FLOW_STYLE, STAGES, flow, reason_title, stages_of
from didact.report.lost_examples import Example, Named, cleaned_examples, lost_examples
from didact.report.page import bar, cell, excerpt, number, page, table, text
from didact.store.licenses import roll_up
from didact.store.manifest import Account, Manifest, MixEntry, MixSource
from didact.store.version import Version
from didact.text.shown import told_bytes

_EXCERPT = 400
"""Characters of a text of an example."""
_TEXTS = 4
"""Texts of an example."""

_STYLE = (
    FLOW_STYLE
    + """
.facts { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); margin: 1rem 0 1.5rem;
  padding: 0; }
.facts div { border: 1px solid var(--line); border-radius: 6px; padding: .5rem .75rem; } .facts b { display: block;
  font-size: 1.25rem; font-variant-numeric: tabular-nums; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; } a { color: #0072b2; } .planned { fill: var(--soft); }
@media (prefers-color-scheme: dark) { a { color: #56b4e9; } }
.said { margin: .25rem 0; overflow-wrap: anywhere; white-space: pre-wrap; }
.said b { color: var(--soft); font-weight: 600; }
li { border-top: 1px solid var(--line); overflow: hidden; padding-top: .4rem; }
ul.examples { list-style: none; padding: 0; }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; } td.words { min-width: 12rem; }
@media (max-width: 40rem) { body { padding: 1rem; } }
"""
)


def version_page(version: Version, cost: Mapping[str, Any] | None = None) -> str:
    """The page; cost: what `build.json` says of the build that made the version, where there is one.

    It depends on the version and the cost alone, not on when or where it is made.
    """
    manifest = version.manifest
    lost, cleaned = lost_examples(version), cleaned_examples(version)
    sections = [
        ("flow", "Where the rows went", flow(manifest.accounting, manifest.splits) + _rows(manifest)),
        ("sources", "Sources and licences", _licenses(manifest) + _sources(manifest)),
        ("mixes", "Mixes", "".join(_mix(name, mix) for name, mix in sorted(manifest.mixes.items()))),
        ("held-out", "Held out", _splits(manifest) + _checks(manifest)),
        ("lost", "Lost rows by reason", _losses(manifest, lost)),
        ("findings", "Findings", _findings(manifest)),
        ("cleaned", "Cleaned texts", _cleaned(manifest, cleaned)),
        ("tokenizer", "Tokenizer", _tokenizer(manifest)),
        ("cost", "Time and memory", _cost(cost) if cost else ""),
        ("manifest", "Manifest", _facts(manifest)),
        ("codes", "What the codes mean", _codes(manifest)),
    ]
    there = [(anchor, title, body) for anchor, title, body in sections if body]
    links = "".join(f'<a href="#{anchor}">{title}</a>' for anchor, title, _ in there)
    body = "\n".join(f'<h2 id="{anchor}">{title}</h2>\n{body}' for anchor, title, body in there)
    name = f"{manifest.name}@{manifest.version}"
    return page(name, f"<h1>{text(name)}</h1>\n{_headline(manifest)}\n<nav>{links}</nav>\n{body}", _STYLE)


def _headline(manifest: Manifest) -> str:
    stages = stages_of(manifest.accounting)
    rows, kept = (stages[0].rows_in, stages[-1].kept) if stages else (0, 0)
    size = sum(file.bytes for file in manifest.files)
    facts = [(f"{rows:,}", "rows in"), (f"{kept:,}", "kept"), (f"{rows - kept:,}", "lost, by reason below")]
    facts += [(f"{len(manifest.sources):,}", "sources"), (told_bytes(size), "on disk")]
    held = sum(
        sum(entry.achieved.get(split, 0) for split in ("validation", "test")) for entry in manifest.splits.values()
    )
    facts += [(f"{held:,}", "held out")]
    cells = "".join(f'<div><b>{text(value)}</b><span class="soft">{name}</span></div>' for value, name in facts)
    parent = f", after {text(manifest.parent)}" if manifest.parent else ""
    made = f"A version built by Didact {text(manifest.created_by.get('didact', ''))}{parent}."
    return f'<p class="soft">{made}</p>\n<div class="facts">{cells}</div>'


def _heads(words: Sequence[str], numbers: Sequence[str], bars: Sequence[str] = ()) -> list[tuple[str, str]]:
    return [(name, "") for name in words] + [(name, "number") for name in numbers] + [(name, "bar") for name in bars]


def _row(words: Iterable[str], numbers: Iterable[int], rest: str = "") -> str:
    return f"<tr>{''.join(map(cell, words))}{''.join(map(number, numbers))}{rest}</tr>"


def _rows(manifest: Manifest) -> str:
    """Every source's rows stage by stage; in = kept + lost."""
    stages = [stage.name for stage in stages_of(manifest.accounting)]
    by: dict[tuple[str, str], Account] = {(one.stage, one.source): one for one in manifest.accounting}
    lines, totals = [], [0] * (len(stages) + 2)
    for source in sorted({one.source for one in manifest.accounting}):
        own = [by[stage, source] for stage in stages if (stage, source) in by]
        numbers = [
            own[0].rows_in,
            *(by[stage, source].lost if (stage, source) in by else 0 for stage in stages),
            own[-1].kept,
        ]
        totals = [total + value for total, value in zip(totals, numbers, strict=True)]
        rejected = sum(sum(one.rejected.values()) for one in own)
        shares = [(own[-1].kept, "kept"), (own[0].rows_in - own[-1].kept - rejected, "dropped"), (rejected, "rejected")]
        told = bar(shares, own[0].rows_in, 140, 10, "kept, dropped, rejected")
        lines.append(_row([source], numbers, f"<td>{told}</td>"))
    lines.append(_row(["all"], totals, "<td></td>"))
    names = [f"lost: {STAGES.get(stage, stage)}" for stage in stages]
    note = '<p class="soft">Rows in = kept + lost, for every stage and source. The bar: kept, dropped, rejected.</p>'
    return note + table(_heads(["source"], ["rows in", *names, "kept"], ["share"]), lines)


def _licenses(manifest: Manifest) -> str:
    lines = [
        f"<tr>{cell(one.license)}{cell(one.terms)}{cell(', '.join(one.sources))}</tr>"
        for one in roll_up(manifest.licenses)
    ]
    note = '<p class="soft">The most restrictive first. A help for reading licences, no legal advice.</p>'
    return note + table(_heads(["licence", "asks", "sources"], []), lines)


def _sources(manifest: Manifest) -> str:
    """What each source is, and the tokens that mixes took of it."""
    kept = {one.source: one.kept for one in manifest.accounting}
    lines = []
    for name, source in sorted(manifest.sources.items()):
        taken = [mix.sources[name].achieved for mix in manifest.mixes.values() if name in mix.sources]
        words = [name, source.license or "not stated", ", ".join(source.format)]
        amounts = [sum(getattr(one, unit) or 0 for one in taken) for unit in _UNITS]
        lines.append(_row(words, [len(source.files), kept.get(name, 0), *amounts]))
    heads = _heads(["source", "licence", "format"], ["files", "rows kept", "rows in mixes", "tokens", "trained tokens"])
    return "<h3>Sources</h3>" + table(heads, lines)


_UNITS = ("records", "tokens", "trained_tokens")


def _mix(name: str, mix: MixEntry) -> str:
    unit = mix.unit.replace("_", " ")
    rows = ", ".join(f"{count:,} {split}" for split, count in mix.rows.items() if count)
    parts = [f"<h3>{text(name)}</h3>\n<p>For {text(mix.purpose)}, ratios in {unit}; rows: {rows or 'none'}.</p>"]
    parts.append(_mixed(mix.sources, mix.unit))
    for phase in mix.phases:
        parts += [f"<p>Phase {text(phase.name)}, {phase.rows:,} rows:</p>", _mixed(phase.sources, mix.unit)]
    return "\n".join(parts)


def _mixed(sources: Mapping[str, MixSource], unit: str) -> str:
    """Planned beside achieved, source by source."""
    planned = sum(getattr(one.planned, unit) or 0 for one in sources.values()) or 1
    lines = []
    for name, entry in sorted(sources.items()):
        wanted = (getattr(entry.planned, unit) or 0) / planned
        shares = [f"{entry.share:.2%}", f"{entry.epochs:.2f}", f"{entry.unique_share:.1%}"]
        amounts = (_amount(getattr(entry.planned, one), getattr(entry.achieved, one)) for one in _UNITS)
        drawn = bar([(round(1e6 * wanted), "planned")], 10**6, 120, 7, "planned share, millionths") + bar(
            [(round(1e6 * entry.share), "kept")], 10**6, 120, 7, "achieved share, millionths"
        )
        cells = "".join(f'<td class="number">{one}</td>' for one in (f"{wanted:.2%}", *shares))
        lines.append(f"<tr>{cell(name)}{cells}{''.join(amounts)}<td>{drawn}</td></tr>")
    numbers = ["planned share", "achieved", "epochs", "rows seen", *(one.replace("_", " ") for one in _UNITS)]
    return table(_heads(["source"], numbers, ["planned, achieved"]), lines)


def _amount(planned: int | None, achieved: int | None) -> str:
    """An achieved amount over the planned one."""
    if achieved is None:
        return '<td class="number">–</td>'
    below = "" if planned is None else f'<br><span class="soft">planned {planned:,}</span>'
    return f'<td class="number" data-key="{achieved}">{achieved:,}{below}</td>'


def _splits(manifest: Manifest) -> str:
    lines = []
    for name, entry in sorted(manifest.splits.items()):
        pairs = [(entry.requested.get(split, 0), entry.achieved.get(split, 0)) for split in ("validation", "test")]
        lines.append(_row([name], [entry.achieved.get("train", 0), *(value for pair in pairs for value in pair)]))
    heads = _heads(["source"], ["train", "validation asked", "validation", "test asked", "test"])
    return table(heads, lines) if lines else ""


def _checks(manifest: Manifest) -> str:
    check = manifest.leak_check
    told = "Nothing was held out, so there was nothing to check for leaks."
    if check is not None:
        told = (
            f"Leak check: of {check.held_out:,} held-out records {check.same_prompt:,} share their prompt with "
            f"training, and {check.near_prompt:,} have a training prompt of Jaccard similarity {check.threshold:g} or "
            "more."
        )
    return f"<p>{told}</p><p>Decontamination: {text(str(manifest.decontamination))}.</p>"


def _losses(manifest: Manifest, examples: Named) -> str:
    """Each reason of each stage: how many rows of which source, and some of them."""
    parts = []
    for stage in stages_of(manifest.accounting):
        for kind, reasons in (("rejected", stage.rejected), ("dropped", stage.dropped)):
            for reason, count in sorted(reasons.items(), key=lambda one: (-one[1], one[0])):
                shown = examples.get((stage.name, reason), [])
                parts.append(_loss(manifest, stage.name, reason, kind, count, shown))
    return "\n".join(parts) or "<p>Nothing was lost.</p>"


def _loss(manifest: Manifest, stage: str, reason: str, kind: str, count: int, shown: Sequence[Example]) -> str:
    sources = Counter(
        {one.source: getattr(one, kind).get(reason, 0) for one in manifest.accounting if one.stage == stage}
    )
    told = ", ".join(f"{text(source)} {rows:,}" for source, rows in sources.most_common() if rows)
    link = f' <a href="#{text(reason)}">what it means</a>' if reason in CODES else ""
    listed = f'<ul class="examples">{"".join(map(_example, shown))}</ul>' if shown else ""
    none = "" if shown else '<p class="soft">Such rows are counted, not written.</p>'
    mark = "error" if kind == "rejected" else "warning"
    return (
        f'<details><summary><span class="{mark}">{kind}</span> by {text(STAGES.get(stage, stage))}: '
        f"<code>{text(reason_title(reason))}</code> {count:,}</summary>\n<p>{told}.{link}</p>{none}{listed}</details>"
    )


def _example(one: Example) -> str:
    said = "".join(
        f'<div class="said">{f"<b>{text(role)}</b> " if role else ""}{excerpt(content, _EXCERPT)}</div>'
        for role, content in one.texts[:_TEXTS]
    )
    left = len(one.texts) - _TEXTS
    more = f'<div class="soft">and {left} more texts</div>' if left > 0 else ""
    about = f" {excerpt(one.about, _EXCERPT)}" if one.about else ""
    return f'<li><span class="soft">{text(one.source)}, {text(one.place)}</span>{about}{said}{more}</li>'


def _findings(manifest: Manifest) -> str:
    found = Counter({(code, source): n for source, codes in manifest.findings.items() for code, n in codes.items()})
    lines = [
        f'<tr><td><a href="#{code}">{code}</a></td>{cell(CODES[code].title, "words")}{cell(source)}{number(count)}</tr>'
        for (code, source), count in sorted(found.items(), key=lambda one: (-one[1], one[0]))
        if code in CODES
    ]
    note = '<p class="soft">On kept rows, on files, and on sets of rows. Rows that were rejected are counted above.</p>'
    return note + table(_heads(["code", "meaning", "source"], ["count"]), lines) if lines else ""


def _cleaned(manifest: Manifest, examples: Mapping[str, Sequence[Example]]) -> str:
    counts: dict[str, Counter[str]] = {}
    for source, rules in manifest.cleaned.items():
        for rule, count in rules.items():
            counts.setdefault(rule, Counter())[source] += count
    parts = []
    for rule, sources in sorted(counts.items(), key=lambda one: (-one[1].total(), one[0])):
        told = ", ".join(f"{text(source)} {count:,}" for source, count in sources.most_common())
        shown = "".join(map(_example, examples.get(rule, [])))
        parts.append(
            f"<details><summary><code>{text(rule)}</code> {sources.total():,} texts</summary>\n<p>{told}.</p>"
            f'<ul class="examples">{shown}</ul></details>'
        )
    return "\n".join(parts)


def _tokenizer(manifest: Manifest) -> str:
    if manifest.tokenizer is None:
        return ""
    lines = [
        f"<tr>{cell(one.source)}{cell(one.language)}{number(one.records)}{number(one.bytes)}{number(one.tokens)}"
        f'<td class="number">{one.bytes / max(one.tokens, 1):.2f}</td></tr>'
        for one in manifest.compression
    ]
    note = f"<p>Digest {text(manifest.tokenizer)}. Compression on a sample of the training texts:</p>"
    heads = _heads(["source", "language"], ["records", "bytes", "tokens", "bytes per token"])
    return note + table(heads, lines) if lines else note


def _cost(cost: Mapping[str, Any]) -> str:
    stages = cost.get("stages", [])
    whole = sum(stage["seconds"] for stage in stages) or 1.0
    lines = [_stage_cost(stage, whole) for stage in stages]
    workers = cost.get("workers", 1)
    told = f"<p>{whole:,.1f} s in all, workers: {workers}. Results on file cost nothing and count nothing.</p>"
    numbers = ["seconds", "processor seconds", "of workers", "peak MB", "largest worker MB", "rows", "rows/s", "MB/s"]
    return told + table(_heads(["stage"], numbers, ["share"]), lines)


def _stage_cost(stage: Mapping[str, Any], whole: float) -> str:
    seconds = stage["seconds"]
    per = [stage.get(unit, 0) / seconds if seconds > 0.01 else 0 for unit in ("rows", "bytes")]
    cells = [f"{seconds:,.2f}", f"{stage.get('cpu_seconds', 0):,.2f}", f"{stage.get('worker_cpu_seconds', 0):,.2f}"]
    cells += [f"{stage.get(name, 0):,}" for name in ("peak_mb", "worker_peak_mb", "rows")]
    cells += [f"{per[0]:,.0f}" if per[0] else "–", f"{per[1] / 1e6:,.1f}" if per[1] else "–"]
    drawn = bar([(round(1000 * seconds), "kept")], round(1000 * whole), 120, 10, "share of the time")
    return f"<tr>{cell(stage['stage'])}{''.join(f'<td class=number>{one}</td>' for one in cells)}<td>{drawn}</td></tr>"


def _facts(manifest: Manifest) -> str:
    facts = {
        "plan": manifest.plan,
        "digest of the rows": manifest.digest,
        "parent": manifest.parent or "none",
        "files": f"{len(manifest.files):,}, {told_bytes(sum(file.bytes for file in manifest.files))}",
        **{f"made by {name}": version for name, version in sorted(manifest.created_by.items())},
    }
    lines = [f'<tr>{cell(name)}<td class="path">{text(str(value))}</td></tr>' for name, value in facts.items()]
    return table(_heads(["fact", "value"], []), lines)


def _codes(manifest: Manifest) -> str:
    """What each code means that the page names."""
    named = {code for codes in manifest.findings.values() for code in codes}
    named |= {code for account in manifest.accounting for code in account.rejected}
    return "\n".join(
        f'<details open id="{code}"><summary><code>{code}</code> {text(CODES[code].title)}</summary>'
        f"<p>{text(CODES[code].about)}</p></details>"
        for code in sorted(named & CODES.keys())
    )
