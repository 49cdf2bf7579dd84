"""What a recipe may say about the tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from didact.recipe.quantity import Bytes, Count


class TokenizerSettings(BaseModel):
    """The tokenizer of a run: learned from the training split, or an existing file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vocab_size: Count = Field(
        default=8192,
        ge=300,
        le=262_144,
        description="Tokens to learn, reserved ones and the 256 bytes included; rounded up to a multiple of 64. 8192 "
        "suits models below about 50M parameters: in a 5M model each further 1,000 tokens costs 5 % of the parameters.",
    )
    template: Literal["didact", "chatml", "llama3", "own"] | None = Field(
        default=None,
        description="How turns are marked. 'didact' spends two reserved tokens a turn and nothing else; 'chatml' and "
        "'llama3' are for models that come from, or go to, families trained with those marks; 'own' is the chat "
        "template beside `file`, once it has passed the probes. Default: the built-in one that writes what `file`'s "
        "does, else `file`'s own, and 'didact' for a tokenizer that is learned.",
        examples=["chatml"],
    )
    template_values: dict[str, str | int | bool] = Field(
        default_factory=dict,
        description="Variables of `file`'s own chat template to set once and for all, such as a date it would "
        "otherwise ask the clock for.",
        examples=[{"date_string": "26 Jul 2024"}],
    )
    sample_bytes: Bytes = Field(
        default=3_000_000,
        ge=1_000,
        description="Bytes of training text the vocabulary is learned from. 3 MB takes half a second; beyond it the "
        "merges of an 8,192-token vocabulary hardly change.",
    )
    min_frequency: Count = Field(
        default=2,
        ge=1,
        description="Least number of times a pair must occur to become a token; 2 keeps single accidents out.",
    )
    file: Path | None = Field(
        default=None,
        description="An existing tokenizer.json (or the folder that holds one) to use instead of learning; reserved "
        "tokens that the template needs and the file lacks are appended.",
        examples=["tokenizers/mine.json"],
    )
