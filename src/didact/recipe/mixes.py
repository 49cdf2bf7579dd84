"""Settings of a mix: which sources, in which exact ratios, counted how, in which phases."""

from __future__ import annotations

from collections.abc import Sequence
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
        description="Most epochs a source may be seen in the whole mix. Up to 4 cost little (arXiv:2305.16264).",
        examples=[4],
    )


class Portion(Settings):
    """How much of a source a mix takes: exactly one of share, epochs, count; none of them where the mix has a
    `temperature`, which then sets the share.
    """

    share: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Relative weight among the mix's shares, in the mix's unit; shares need not add up to 1.",
        examples=[0.5],
    )
    epochs: float | None = Field(
        None,
        gt=0,
        le=100,
        description="How often the whole source is seen, a fraction counted in the mix's unit.",
        examples=[1.0],
    )
    count: Count | None = Field(None, ge=1, description="A fixed amount in the mix's unit.", examples=[10_000])
    max_epochs: float | None = Field(
        None,
        gt=0,
        le=100,
        description="Most epochs this source may be seen in the whole mix, whatever `on_exhaust` allows the others; "
        "without a budget, too. Default: 1, or what `on_exhaust: {repeat: N}` says.",
        examples=[2.0],
    )

    @model_validator(mode="after")
    def _at_most_one(self) -> Self:
        if self.stated > 1:
            raise ValueError("give exactly one of 'share', 'epochs', 'count'")
        if self.epochs is not None and self.max_epochs is not None:
            raise ValueError("'epochs' is a fixed number of epochs; remove 'max_epochs'")
        return self

    @property
    def stated(self) -> int:
        """How many of share, epochs and count are given."""
        return sum(value is not None for value in (self.share, self.epochs, self.count))


class Blend(Settings):
    """Sources in fixed ratios."""

    budget: Count | None = Field(
        None,
        ge=1,
        description="Size in the mix's unit; none: as much as the scarcest source allows in one epoch.",
        examples=["2M"],
    )
    sources: dict[str, Portion] = Field(
        default_factory=dict,
        min_length=1,
        description="The sources and how much of each.",
        examples=[{"alpaca": {"share": 0.5}}],
    )
    temperature: float | None = Field(
        None,
        ge=1,
        le=1000,
        description="Gives every source that states no amount a share proportional to its size to the power of "
        "1/temperature, the size in the mix's unit: 1 mixes by size, large values evenly (T5, arXiv:1910.10683, "
        "section 3.5.2). Default: none, each source states its amount.",
        examples=[2.0],
    )
    cap: Count | None = Field(
        None,
        ge=1,
        description="With temperature: a source larger than this, in the mix's unit, counts as if it had this size, "
        "so that it does not crowd out the small ones (T5's artificial limit; FLAN took 3,000 records, "
        "arXiv:2109.01652).",
        examples=[3000],
    )
    on_exhaust: Literal["error", "renormalise"] | Repeat = Field(
        "error",
        description="When a source has too little: `error` refuses, `{repeat: N}` sees it up to N times, `renormalise` "
        "lets it stop and the others share what is missing.",
    )

    @model_validator(mode="after")
    def _amounts_stated(self) -> Self:
        if self.cap is not None and self.temperature is None:
            raise ValueError("'cap' limits the sizes that a 'temperature' turns into shares; set 'temperature' too")
        for name, portion in self.sources.items():
            if self.temperature is None and not portion.stated:
                raise ValueError(f"sources.{name}: give exactly one of 'share', 'epochs', 'count', or a 'temperature'")
            if self.temperature is not None and portion.share is not None:
                raise ValueError(f"sources.{name}: 'temperature' sets the shares; remove 'share' or 'temperature'")
        return self

    @property
    def repeats(self) -> int:
        """How many epochs of a source `on_exhaust` allows."""
        return self.on_exhaust.repeat if isinstance(self.on_exhaust, Repeat) else 1


class Phase(Blend):
    """A stretch of a curriculum: it is trained on after the phases before it."""

    name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="What the manifest and the column `phase` call it; default: its number, from 1.",
        examples=["anneal"],
    )
    sources: dict[str, Portion] = Field(
        min_length=1, description="The sources and how much of each.", examples=[{"alpaca": {"share": 0.5}}]
    )


class Mix(Blend):
    """Named sources with ratios, for one purpose; or phases, each with its own."""

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
    phases: list[Phase] = Field(
        default_factory=list,
        description="A curriculum: mixes that are trained on one after the other. A source goes on where the phase "
        "before left it, so no row comes back before all rows of its source were seen.",
        examples=[[{"budget": "8M", "sources": {"web": {"share": 1}}}]],
    )

    @model_validator(mode="after")
    def _sources_or_phases(self) -> Self:
        if bool(self.sources) == bool(self.phases):
            raise ValueError("give exactly one of 'sources' and 'phases'")
        stray = [name for name in ("budget", "temperature", "cap") if getattr(self, name) is not None]
        stray += ["on_exhaust"] if self.on_exhaust != "error" else []
        if self.phases and stray:
            raise ValueError(f"with 'phases', '{stray[0]}' stands in each phase")
        if len(set(self.phase_names)) < len(self.phases):
            raise ValueError("phases: two have the same name")
        return self

    @property
    def blends(self) -> Sequence[Blend]:
        """Its phases in order, or the mix itself as the only one."""
        return self.phases or [self]

    @property
    def phase_names(self) -> list[str]:
        """Names of its phases; none where it has no phases."""
        return [phase.name or str(place + 1) for place, phase in enumerate(self.phases)]

    @property
    def taking_part(self) -> list[str]:
        """Every source of every phase, sorted."""
        return sorted({name for blend in self.blends for name in blend.sources})

    def most_epochs(self, source: str) -> float:
        """How often a source may be seen at most; 0 where it takes no part."""
        found = [(blend, blend.sources[source]) for blend in self.blends if source in blend.sources]
        fixed = sum(portion.epochs for _, portion in found if portion.epochs is not None)
        limits = (portion.max_epochs or blend.repeats for blend, portion in found if portion.epochs is None)
        return fixed + max(limits, default=0)
