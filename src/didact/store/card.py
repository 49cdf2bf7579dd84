"""The dataset card: what a person, or the Hugging Face hub, reads first about a version."""

from __future__ import annotations

from didact.store.manifest import Manifest, MixEntry

_SPLITS = ("train", "validation", "test")


def card(manifest: Manifest) -> str:
    """README.md of a version: configs for `datasets.load_dataset`, sources, licences, mixes, losses."""
    return "\n".join(
        [*_front_matter(manifest), "", f"# {manifest.name} @ {manifest.version}", "", *_body(manifest), ""]
    )


def _front_matter(manifest: Manifest) -> list[str]:
    lines = ["---", "configs:"]
    names = sorted(manifest.mixes)
    default = "finetune" if "finetune" in names else names[0] if names else ""
    for name in names:
        lines.append(f"- config_name: {name}")
        lines += ["  default: true"] if name == default else []
        lines.append("  data_files:")
        for split in _SPLITS:
            if manifest.mixes[name].rows.get(split):
                lines += [f"  - split: {split}", f"    path: data/{name}/{split}-*.parquet"]
    return [*lines, "---"]


def _body(manifest: Manifest) -> list[str]:
    lines = [
        "Built by Didact. `manifest.json` holds every figure below and the SHA-256 of every file.",
        "",
        "## Mixes",
        "",
    ]
    for name, mix in sorted(manifest.mixes.items()):
        lines += [f"### {name}", "", *_mix_table(mix), ""]
    lines += ["## Sources", "", "| source | licence | files | rows in | rows kept |", "|---|---|---:|---:|---:|"]
    for name, source in sorted(manifest.sources.items()):
        accounts = [account for account in manifest.accounting if account.source == name]
        before, after = (accounts[0].rows_in, accounts[-1].kept) if accounts else (0, 0)
        lines.append(
            f"| {_cell(name)} | {_cell(source.license or 'unknown')} | {len(source.files)} | {before} | {after} |"
        )
    lines += ["", "## Licences", ""]
    lines += [
        f"- {_cell(license)}: {', '.join(map(_cell, sources))}"
        for license, sources in sorted(manifest.licenses.items())
    ]
    return [*lines, "", "## Decontamination", "", f"Status: {manifest.decontamination}.", "", *_leaks(manifest)]


def _mix_table(mix: MixEntry) -> list[str]:
    lines = [
        f"For {mix.purpose}; ratios in {mix.unit}. Rows: "
        + ", ".join(f"{split} {mix.rows.get(split, 0)}" for split in _SPLITS)
        + ".",
        "",
        "| source | planned | records | tokens | trained tokens | share | epochs |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, entry in sorted(mix.sources.items()):
        got = entry.achieved
        tokens = "–" if got.tokens is None else str(got.tokens)
        trained = "–" if got.trained_tokens is None else str(got.trained_tokens)
        lines.append(
            f"| {_cell(name)} | {entry.planned} | {got.records} | {tokens} | {trained} | {entry.share:.4f} | "
            f"{entry.epochs:.2f} |"
        )
    return lines


def _leaks(manifest: Manifest) -> list[str]:
    check = manifest.leak_check
    if check is None:
        return ["Nothing was held out, so there was nothing to check for leaks."]
    return [
        f"Leak check of {check.held_out} held-out records against training: {check.same_prompt} with the same prompt, "
        f"{check.near_prompt} with a prompt of Jaccard similarity {check.threshold:g} or more."
    ]


def _cell(text: str) -> str:
    """Text from outside as one table cell: no column, tag or line breaks."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
