"""The dataset card: what a person, or the Hugging Face hub, reads first about a version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from didact.store.licenses import UNKNOWN, hub_name, roll_up
from didact.store.manifest import Account, Manifest, MixEntry, MixSource

_SPLITS = ("train", "validation", "test")
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"),
          (10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B"))  # fmt: skip
"""The hub's names for numbers of rows, by what they stay below."""


def card(manifest: Manifest, mixes: Sequence[str] | None = None, listed_in: str = "manifest.json") -> str:
    """README.md of a version or of an export of some of its mixes: a header that `datasets` and the hub read, then
    licences, sources, mixes, splits and what was checked. listed_in: the file that lists the others.
    """
    names = sorted(manifest.mixes) if mixes is None else sorted(mixes)
    header = yaml.safe_dump(_header(manifest, names), sort_keys=False, allow_unicode=True)
    title = f"# {manifest.name} @ {manifest.version}"
    about = f"Built by Didact. `{listed_in}` holds the SHA-256 of every other file."
    return "\n".join([f"---\n{header}---", "", title, "", about, "", *_body(manifest, names), ""])


def _header(manifest: Manifest, names: Sequence[str]) -> dict[str, Any]:
    licenses = list(dict.fromkeys(hub_name(one.license) for one in roll_up(manifest.licenses)))
    stated = (source.get("language") for source in manifest.recipe.get("sources", {}).values())
    languages = sorted({language.split("-")[0].lower() for language in stated if language})
    rows = sum(sum(manifest.mixes[name].rows.values()) for name in names)
    header = {"pretty_name": manifest.name, "license": licenses[0] if len(licenses) == 1 else licenses}
    header |= {"language": languages} if languages else {}
    header |= {"task_categories": ["text-generation"]}
    header |= {"size_categories": [next((size for most, size in _SIZES if rows < most), "n>1T")]}
    return header | {"configs": [_config(name, manifest.mixes[name], name == default(names)) for name in names]}


def default(names: Sequence[str]) -> str | None:
    """The mix that `load_dataset` takes when none is named."""
    return "finetune" if "finetune" in names else next(iter(names), None)


def _config(name: str, mix: MixEntry, is_default: bool) -> dict[str, Any]:
    files = [{"split": split, "path": f"data/{name}/{split}-*.parquet"} for split in _SPLITS if mix.rows.get(split)]
    return {"config_name": name} | ({"default": True} if is_default else {}) | {"data_files": files}


def _body(manifest: Manifest, names: Sequence[str]) -> list[str]:
    lines = [*_loading(names), "", *_licenses(manifest), "", *_sources(manifest), "", "## Mixes", ""]
    for name in names:
        lines += [f"### {_plain(name)}", "", *_mix_table(manifest.mixes[name]), ""]
    return [*lines, *_splits(manifest), "", *_decontamination(manifest)]


def _loading(names: Sequence[str]) -> list[str]:
    chosen = default(names)
    if chosen is None:
        return ["No mix holds a row."]
    return [
        "## Loading",
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        f'rows = load_dataset("PATH/TO/THIS/FOLDER", {chosen!r}, split="train")  # or streaming=True',
        "```",
    ]


def _licenses(manifest: Manifest) -> list[str]:
    """Licences, the most restrictive first; those that nobody stated are named."""
    lines = [
        "## Licences, the most restrictive first",
        "",
        "Whoever uses all of it has to keep to every line. The terms are a summary, no legal advice.",
        "",
        "| licence | terms | sources |",
        "|---|---|---|",
    ]
    rolled = roll_up(manifest.licenses)
    lines += [f"| {_plain(one.license)} | {one.terms} | {', '.join(map(_plain, one.sources))} |" for one in rolled]
    unstated = manifest.licenses.get(UNKNOWN)
    if unstated:
        lines += ["", f"**No licence is stated for {', '.join(map(_plain, sorted(unstated)))}.**"]
    return lines


def _sources(manifest: Manifest) -> list[str]:
    lines = ["## Sources", ""]
    lines += [
        "| source | licence | format | files | rows in | rejected | dropped | kept |",
        "|---|---|---|" + "---:|" * 5,
    ]
    for name, source in sorted(manifest.sources.items()):
        accounts = [account for account in manifest.accounting if account.source == name]
        cells = [_plain(name), _plain(source.license or UNKNOWN), _plain(", ".join(source.format)), len(source.files)]
        lines.append(_row([*cells, *_amounts(accounts)]))
    return lines


def _amounts(accounts: Sequence[Account]) -> list[int]:
    """Rows in, rejected, dropped and kept over all stages."""
    if not accounts:
        return [0] * 4
    rejected = sum(sum(account.rejected.values()) for account in accounts)
    dropped = sum(sum(account.dropped.values()) for account in accounts)
    return [accounts[0].rows_in, rejected, dropped, accounts[-1].kept]


def _mix_table(mix: MixEntry) -> list[str]:
    lines = [
        f"For {mix.purpose}; ratios in {mix.unit}. Rows: "
        + ", ".join(f"{split} {mix.rows.get(split, 0)}" for split in _SPLITS)
        + ". Amounts are achieved / planned.",
        *_amounts_table(mix.sources),
    ]
    for phase in mix.phases:
        lines += ["", f"Phase {_plain(phase.name)}, {phase.rows} rows:", *_amounts_table(phase.sources)]
    return lines


def _amounts_table(sources: Mapping[str, MixSource]) -> list[str]:
    columns = ("source", "records", "tokens", "trained tokens", "share", "epochs", "unique")
    lines = ["", _row(columns), "|---|" + "---:|" * (len(columns) - 1)]
    for name, entry in sorted(sources.items()):
        amounts = [
            f"{got} / {entry.planned.model_dump()[unit]}" if got is not None else "–"
            for unit, got in entry.achieved.model_dump().items()
        ]
        shares = [f"{entry.share:.4f}", f"{entry.epochs:.2f}", f"{entry.unique_share:.4f}"]
        lines.append(_row([_plain(name), *amounts, *shares]))
    return lines


def _splits(manifest: Manifest) -> list[str]:
    lines = ["## Splits", "", "| source | train | validation | test |", "|---|---:|---:|---:|"]
    for name, entry in sorted(manifest.splits.items()):
        lines.append(_row([_plain(name), *(entry.achieved.get(split, 0) for split in _SPLITS)]))
    check = manifest.leak_check
    told = "Nothing was held out, so there was nothing to check for leaks."
    if check is not None:
        told = (
            f"Leak check of {check.held_out} held-out records against training: {check.same_prompt} with the same "
            f"prompt, {check.near_prompt} with a prompt of Jaccard similarity {check.threshold:g} or more."
        )
    return [*lines, "", told]


def _decontamination(manifest: Manifest) -> list[str]:
    lines = ["## Decontamination", "", f"Status: {_plain(manifest.decontamination)}."]
    if manifest.decontamination == "not checked":
        lines.append("Rows of evaluation sets may be in the training data.")
    return lines


def _row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


_MARKUP = {ord(character): f"&#{ord(character)};" for character in "\\`*[]<>|&#!~"}


def _plain(text: str) -> str:
    """Text from outside that Markdown and HTML take for text: no markup, links, columns or line breaks."""
    return " ".join(text.split()).translate(_MARKUP)
