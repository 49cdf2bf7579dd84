"""The model card: what an exported model is, what it learned from, under which licences, and how well."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from didact.model.transformer import Decoder
from didact.render.tokenizer import Tokenizer
from didact.store.manifest import Manifest


def model_card(
    model: Decoder,
    tokenizer: Tokenizer,
    precision: str,
    state: dict[str, Any],
    manifest: Manifest | None,
    evaluation: dict[str, Any],
) -> str:
    """README.md of an exported model; what is not known is said to be unknown."""
    kind = "Qwen3" if model.config.qk_norm else "Llama"
    size = sum(p.numel() for p in model.parameters())
    lines = [
        *_front_matter(manifest, state),
        f"# A {kind}-type model of {size / 1e6:.1f} M parameters",
        "",
        f"Exported by Didact in {precision}: {model.config.num_hidden_layers} layers, width "
        f"{model.config.hidden_size}, context {model.config.max_position_embeddings}, {tokenizer.vocab_size} "
        f"tokens, chat template `{tokenizer.template.name}`.",
        "",
        "## Training",
        "",
        *_training(state),
        "",
        "## Data",
        "",
        *(_data(manifest) if manifest is not None else ["The data version is unknown: the checkpoint left its run."]),
        "",
        "## Measured",
        "",
        *_measured(state, evaluation),
    ]
    return "\n".join(lines) + "\n"


def _front_matter(manifest: Manifest | None, state: dict[str, Any]) -> list[str]:
    """What model hubs read. One licence is named only when every source has it and no base adds its own."""
    licenses = sorted(manifest.licenses) if manifest is not None else []
    single = len(licenses) == 1 and licenses[0] != "unknown" and not state.get("base")
    name = licenses[0].lower() if single and _plain(licenses[0]) else "other"
    return ["---", "library_name: transformers", "pipeline_tag: text-generation", f"license: {name}", "---", ""]


def _plain(text: str) -> bool:
    return text.replace("-", "").replace(".", "").isalnum() and text.isascii()


def _training(state: dict[str, Any]) -> Iterator[str]:
    if not state:
        yield "Not trained by Didact, or its training state is not there."
        return
    yield f"- phase: {state.get('phase', 'unknown')}, step {state['step']} of {state.get('planned_steps', 'unknown')}"
    yield f"- tokens: {state.get('tokens', 'unknown')}; seed: {state.get('seed', 'unknown')}"
    if state.get("base"):
        yield f"- base model: `{_cell(str(state['base']))}`; its licence holds for this model too"


def _data(manifest: Manifest) -> Iterator[str]:
    yield f"Version `{manifest.name}@{manifest.version}`; its manifest accounts for every row."
    yield ""
    yield "| licence | sources |"
    yield "|---|---|"
    for license, sources in sorted(manifest.licenses.items()):
        yield f"| {_cell(license)} | {', '.join(map(_cell, sources))} |"
    yield ""
    yield f"Decontamination: {_cell(manifest.decontamination)}."


def _measured(state: dict[str, Any], evaluation: dict[str, Any]) -> Iterator[str]:
    loss = state.get("validation_loss")
    unit = {"preference": "pair", "encoder": "hidden token", "classifier": "text"}.get(
        state.get("phase", ""), "trained token"
    )
    yield f"Validation loss: {'not measured' if loss is None else f'{loss:.4f} nats per {unit}'}."
    bits, tasks = evaluation.get("bits_per_byte", {}), evaluation.get("tasks", [])
    if bits:
        yield ""
        yield from (f"- bits per byte of held-out `{_cell(str(mix))}`: {value:.4f}" for mix, value in _numbers(bits))
    if tasks:
        yield from ("", "| task | metric | items | score | 95 % interval |", "|---|---|---:|---:|---|")
        for task in tasks:
            score = task["score"]
            yield (
                f"| {_cell(task['task'])} | {_cell(task['metric'])} | {score['n']} | {score['mean']:.4f} | "
                f"{score['low']:.4f} to {score['high']:.4f} |"
            )


def _numbers(values: dict[str, Any]) -> list[tuple[str, float]]:
    return [(name, value) for name, value in sorted(values.items()) if isinstance(value, int | float)]


def _cell(text: str) -> str:
    """Text from outside as one table cell: no column, tag or line breaks."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("`", "'").replace("\n", " ")
