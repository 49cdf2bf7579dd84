"""Verbs that let a model speak: generate, chat."""

from __future__ import annotations

from pathlib import Path

import click

from didact.cli.options import json_option, print_json

_CHECKPOINT = click.argument("checkpoint", type=click.Path(path_type=Path))
_TOKENS = click.option(
    "--max-tokens", type=click.IntRange(1), default=256, show_default=True, help="Longest answer, in tokens."
)
_TEMPERATURE = click.option(
    "--temperature",
    type=click.FloatRange(0, 10),
    default=0.0,
    show_default=True,
    help="0: the likeliest token each time.",
)
_SEED = click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of sampling.")


@click.command(epilog='Example: didact generate store/runs/demo/0123456789ab/finetune --prompt "What is 2 + 2?"')
@_CHECKPOINT
@click.option(
    "--prompt", required=True, help="What the user says; plain text to continue for a pre-trained checkpoint."
)
@click.option("--system", help="System prompt.")
@_TOKENS
@_TEMPERATURE
@_SEED
@json_option
def generate(
    checkpoint: Path, prompt: str, system: str | None, max_tokens: int, temperature: float, seed: int, as_json: bool
) -> None:
    """Print CHECKPOINT's answer to one prompt."""
    from didact.model.speak import Speaker
    from didact.recipe.training import GenerateSettings

    speaker = Speaker.load(checkpoint)
    settings = GenerateSettings(max_tokens=max_tokens, temperature=temperature, seed=seed)
    if speaker.phase == "pretrain" and system is None:
        answer = speaker.continue_text(prompt, settings)
    else:
        head = [{"role": "system", "content": system}] if system else []
        answer = speaker.answer([*head, {"role": "user", "content": prompt}], settings)
    if as_json:
        print_json({"text": answer.text, "tokens": answer.tokens, "finish": answer.finish})
    else:
        click.echo(answer.text)


@click.command(epilog="Example: didact chat store/runs/demo/0123456789ab/finetune")
@_CHECKPOINT
@click.option("--system", help="System prompt.")
@_TOKENS
@_TEMPERATURE
@_SEED
def chat(checkpoint: Path, system: str | None, max_tokens: int, temperature: float, seed: int) -> None:
    """Talk to CHECKPOINT in the terminal. An empty line or Ctrl-D ends it, /new starts anew."""
    from didact.model.speak import Chat, Speaker
    from didact.recipe.training import GenerateSettings

    settings = GenerateSettings(max_tokens=max_tokens, temperature=temperature, seed=seed)
    conversation = Chat(Speaker.load(checkpoint), settings, system)
    while text := _asked():
        if text == "/new":
            conversation.forget()
            continue
        for piece in conversation.ask(text):
            click.echo(piece, nl=False)
        click.echo()


def _asked() -> str:
    """The next line of the user; empty at the end of input."""
    try:
        return input("> ").strip()
    except EOFError:
        return ""


COMMANDS = (generate, chat)
