"""Verbs on models: pretrain, finetune, run, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from didact.cli.options import RECIPE, json_option, names_files, print_json, store_at, store_option, workers_option

if TYPE_CHECKING:
    from didact.model.sinks import SinkName
    from didact.run import Phase, RunResult
    from didact.store.layout import Store, StoreAt
    from didact.store.version import Version


def _run(
    recipe: Path,
    until: Phase,
    store: StoreAt,
    workers: int | None,
    threads: int | None,
    sinks: tuple[SinkName, ...],
    peak_tflops: float | None,
    device: str,
) -> RunResult:
    from didact.engine.local import available_cores
    from didact.model.sinks import Watch
    from didact.report.progress import Narrator
    from didact.run import run as go

    tell = Narrator()
    result = go(
        recipe,
        until=until,
        store=store,
        workers=workers,
        threads=threads or available_cores(),
        tell=tell,
        watch=Watch(sinks, None if peak_tflops is None else peak_tflops * 1e12),
        device=device,
    )
    tell.finish()
    return result


def _training_command(name: Phase, about: str) -> click.Command:
    """A verb that trains: the three differ in how far they go."""

    @click.command(name, help=about, epilog=f"Example: didact {name} recipe.yaml --store store")
    @RECIPE
    @store_option
    @workers_option
    @click.option(
        "--threads",
        type=click.IntRange(1, 1024),
        help="Threads of training; default: one per core. Equal counts give equal bytes.",
    )
    @click.option(
        "--log",
        "sinks",
        type=click.Choice(["tensorboard", "wandb"]),
        multiple=True,
        help="Metrics go there too, beside metrics.jsonl; wandb keeps them on this disk. May be given twice.",
    )
    @click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="What trains; auto takes a GPU where there is one.",
    )
    @click.option(
        "--peak-tflops",
        type=click.FloatRange(0, min_open=True),
        help="What the device can compute, in 10^12 operations a second; progress then tells the share of it.",
    )
    @json_option
    def command(
        recipe: Path,
        store: StoreAt,
        workers: int | None,
        threads: int | None,
        sinks: tuple[SinkName, ...],
        peak_tflops: float | None,
        device: str,
        as_json: bool,
    ) -> None:
        from didact.report.summary import print_summary
        from didact.report.training import print_run

        result = _run(recipe, name, store, workers, threads, sinks, peak_tflops, device)
        if not result.leads:
            return
        answer = result.as_json()
        if as_json:
            print_json(answer)
            return
        print_summary(result.version.manifest)
        print_run(answer["metrics"])
        reads = list(result.phases)[-1] in ("encoder", "classifier")
        talk = "" if reads else f"\ntalk to it: didact chat {answer['best']}"
        click.echo(f"\nrun: {answer['run']}\nbest checkpoint: {answer['best']}{talk}")

    return command


pretrain = _training_command("pretrain", "Build what RECIPE describes and pre-train on it; the same command resumes.")
finetune = _training_command(
    "finetune", "Build, pre-train and fine-tune as RECIPE says, without evaluating; the same command resumes."
)
run = _training_command(
    "run",
    "Build, then train what RECIPE asks for (pretrain, finetune, preference, encoder, classifier) and evaluate after "
    "each; the same command goes on after the last complete step.",
)


@click.command(epilog="Example: didact evaluate store/runs/demo/0123456789ab/finetune recipe.yaml")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@RECIPE
@store_option
@json_option
def evaluate(checkpoint: Path, recipe: Path, store: StoreAt, as_json: bool) -> None:
    """Measure CHECKPOINT on the held-out data and the tasks of RECIPE."""
    from didact.report.progress import Narrator
    from didact.report.summary import plain_console
    from didact.report.training import evaluation_summary
    from didact.run import evaluate as measure

    tell = Narrator()
    found = measure(checkpoint, recipe, store=store, tell=tell).as_json()
    tell.finish()
    if as_json:
        print_json(found)
    else:
        plain_console().print(evaluation_summary({checkpoint.name: found}))


@click.command("export-model", epilog="Example: didact export-model store/runs/demo/0123456789ab model --dtype bf16")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--dtype",
    type=click.Choice(["fp32", "bf16", "fp16"]),
    default="fp32",
    show_default=True,
    help="Precision of the weights.",
)
@click.option("--gguf", type=click.Path(path_type=Path), help="Also write this file for llama.cpp.")
@json_option
def export_model(
    checkpoint: Path, folder: Path, dtype: Literal["fp32", "bf16", "fp16"], gguf: Path | None, as_json: bool
) -> None:
    """Write CHECKPOINT, or the best of a run, to the new folder DIR for other programs.

    Adapters are merged; tokenizer, chat template and model card stand beside the weights.
    """
    from didact.model.export import export_model as export

    source = export(checkpoint, folder, dtype, gguf)
    if as_json:
        print_json({"checkpoint": str(source), "folder": str(folder), "gguf": None if gguf is None else str(gguf)})
    else:
        click.echo(f"{source} → {folder}{'' if gguf is None else f' and {gguf}'}")


@click.command(epilog="Example: didact embed store/runs/demo/0123456789ab/encoder texts.jsonl --out vectors")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("inputs", nargs=-1, required=True, metavar="FILES|VERSION")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="New folder for the vectors.")
@click.option(
    "--view",
    type=click.Choice(["whole", "prompt", "response"]),
    default="whole",
    show_default=True,
    help="What of a record is embedded.",
)
@click.option("--mix", help="Mix of a version; default: finetune, or its only one.")
@click.option("--format", "form", default="auto", show_default=True, help="Format of the files.")
@click.option("--normalise/--raw", default=True, show_default=True, help="Bring each vector to length 1.")
@click.option("--threads", type=click.IntRange(1, 1024), help="Threads; default: one per core.")
@store_option
@json_option
def embed(
    checkpoint: Path,
    inputs: tuple[str, ...],
    out: Path,
    view: Literal["whole", "prompt", "response"],
    mix: str | None,
    form: str,
    normalise: bool,
    threads: int | None,
    store: StoreAt,
    as_json: bool,
) -> None:
    """Write a vector for each record of FILES, or of one mix of VERSION: the mean of CHECKPOINT's outputs."""
    from didact.engine.local import available_cores
    from didact.model.embed import Embedder, Lost, texts_of_files, texts_of_version, write_vectors

    lost, place = Lost(), store_at(store)
    embedder = Embedder.load(checkpoint, normalise)
    if all(names_files(one, place) for one in inputs):
        texts = texts_of_files([Path(one) for one in inputs], form, view, lost)
    else:
        found, chosen = version_and_mix(inputs, mix, place)
        texts = texts_of_version(found, chosen, view)
    manifest = write_vectors(embedder, texts, out, view, lost, threads or available_cores())
    for told in lost.first:
        click.echo(f"didact: {told}", err=True)
    if as_json:
        print_json({"path": str(out), "manifest": manifest})
        return
    cut = f", {manifest['truncated']:,} of them cut to the context" if manifest["truncated"] else ""
    left = f"; {manifest['rejected']:,} rows were no records" if manifest["rejected"] else ""
    click.echo(f"{out}: {manifest['count']:,} vectors of {manifest['dimension']} numbers{cut}{left}")


def version_and_mix(written: tuple[str, ...], mix: str | None, store: Store) -> tuple[Version, str]:
    """The version that was named, and the mix of it. Raises CallError when it cannot be meant."""
    from didact.errors import CallError, UnknownName
    from didact.store.version import Version as Opened

    if len(written) != 1:
        raise CallError(f"'{' '.join(written)[:80]}': give files that are there, or one version")
    found = Opened.open(store.find(written[0]))
    mixes = list(found.manifest.mixes)
    chosen = mix or ("finetune" if "finetune" in mixes else mixes[0])
    if chosen not in mixes:
        raise UnknownName("mix", chosen, mixes, where=written[0])
    return found, chosen


COMMANDS = (pretrain, finetune, run, evaluate, embed, export_model)
