"""Settings of a mix: which sources, in which exact ratios, counted how."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from didact.recipe.quantity import Count
from didact.recipe.selection import Settings

Unit = Literal["records", "tokens", "trained_tokens"]
Purpose = Literal["pretrain", "finetune", "preference"]


class Repeat(Settings):
    """Repeat an exhausted source."""

    repeat: int = Field(
        ge=1,
        le=100,
        description="Most epochs a source may be seen. Up to 4 cost little (arXiv:2305.16264).",
        examples=[4],
    )


class Portion(Settings):
    """How much of a source a mix takes: exactly one of share, epochs, count."""

    share: float | None = Field(
        None,
        gt=0,
        description="Relative weight among the mix's shares, in the mix's unit; shares need not add up to 1.",
        examples=[0.5],
    )
    epochs: float | None = Field(
        None, gt=0, le=100, description="How often the whole source is seen, in records.", examples=[1.0]
    )
    count: Count | None = Field(None, ge=1, description="A fixed amount in the mix's unit.", examples=[10_000])

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(value is not None for value in (self.share, self.epochs, self.count)) != 1:
            raise ValueError("give exactly one of 'share', 'epochs', 'count'")
        return self


class Mix(Settings):
    """Named sources with ratios, for one purpose."""

    purpose: Purpose | None = Field(
        None,
        description="What the shards are for; none: the mix's own name, when it is one of the purposes.",
        examples=["finetune"],
    )
    unit: Unit = Field(
        "records",
        description="What shares, counts and the budget are counted in. Lengths differ tenfold, so shares of records "
        "are not shares of training.",
    )
    budget: Count | None = Field(
        None,
        ge=1,
        description="Size of the mix in its unit; none: as much as the scarcest source allows in one epoch.",
        examples=["2M"],
    )
    sources: dict[str, Portion] = Field(
        min_length=1, description="The sources and how much of each.", examples=[{"alpaca": {"share": 0.5}}]
    )
    on_exhaust: Literal["error", "renormalise"] | Repeat = Field(
        "error",
        description="When a source has too little: `error` refuses, `{repeat: N}` sees it up to N times, `renormalise` "
        "lets it stop and the others share what is missing.",
    )
