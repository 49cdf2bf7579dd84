"""Settings of what is kept: filters, deduplication, splits."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Settings(BaseModel):
    """A section of the recipe: unknown keys are refused, defaults are stated with their reason."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class FilterRule(Settings):
    """Bounds on one signal, or a named set of such bounds."""

    set: str | None = Field(
        None, description="Name of a filter set: `instruction`, `math`, `code` or `document`.", examples=["instruction"]
    )
    signal: str | None = Field(
        None, description="Name of the signal to bound; `didact signals` lists them.", examples=["response.words"]
    )
    min: float | None = Field(
        None, description="Smallest value that is kept, in the signal's unit; none: no lower bound.", examples=[1]
    )
    max: float | None = Field(
        None, description="Largest value that is kept, in the signal's unit; none: no upper bound.", examples=[2000]
    )
    sources: list[str] | None = Field(
        None, description="Sources the rule applies to; none: all.", examples=[["alpaca"]]
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.set is None) == (self.signal is None):
            raise ValueError("give either 'set' or 'signal'")
        if self.signal is not None and self.min is None and self.max is None:
            raise ValueError("a signal needs 'min' or 'max'")
        if self.set is not None and (self.min is not None or self.max is not None):
            raise ValueError("'min' and 'max' go with 'signal', not with 'set'")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}: nothing would be kept")
        return self


class MinHashSettings(Settings):
    """Near-duplicates: MinHash proposes, exact Jaccard decides."""

    threshold: float = Field(
        0.8,
        gt=0,
        le=1,
        description="Jaccard similarity of the shingle sets, in every view, from which two records are "
        "near-duplicates. 0.8 is the usual bound for instructions.",
    )
    views: list[Literal["prompt", "response", "whole", "text"]] = Field(
        default=["prompt", "response"],
        min_length=1,
        description="The record's own texts that are compared; every listed view must reach the threshold. Both by "
        "default: the same question with another answer is no duplicate.",
    )
    ngram: int = Field(
        5,
        ge=1,
        le=32,
        description="Tokens per shingle. 5 words keeps unrelated instructions apart; character shingles merge "
        "templates.",
    )
    permutations: int = Field(
        128,
        ge=16,
        le=1024,
        description="Hash functions of a signature: at 128 the similarity estimate has a standard error of 0.044 at "
        "most.",
    )
    keep: Literal["quality", "longest", "first"] = Field(
        "quality",
        description="Which member of a cluster stays. `quality`: no refusal, ended response, no open fence, then the "
        "longer response; ties by id.",
    )
    numbers: bool = Field(
        True,
        description="Texts whose sequences of numbers differ are not duplicates: `12 * 7` and `35 * 9` are two "
        "questions.",
    )
    short_response: int = Field(
        8,
        ge=0,
        description="Responses of at most this many tokens on either side must be equal, since one changed word is "
        "another answer.",
    )

    @model_validator(mode="after")
    def _not_the_response_alone(self) -> Self:
        if set(self.views) == {"response"}:
            raise ValueError(
                "equal responses alone do not make duplicates ('Yes.' answers many questions); add 'prompt' to views"
            )
        return self


class DedupSettings(Settings):
    """What counts as the same record."""

    exact: bool = Field(
        True, description="Drop records whose cleaned content equals an earlier one's; the first row stays."
    )
    minhash: MinHashSettings | None = Field(
        default_factory=MinHashSettings,
        description="Near-duplicates; null switches them off.",
        examples=[{"threshold": 0.9}],
    )
    sources: list[str] | None = Field(None, description="Sources that take part; none: all.", examples=[["alpaca"]])


class SplitSettings(Settings):
    """Held-out shares. What belongs together (a group, one prompt, near-copies) never parts."""

    validation: float = Field(
        0.02,
        ge=0,
        lt=1,
        description="Share of the records held out to choose the best checkpoint. 2 % of 10 k records is enough to "
        "rank losses.",
    )
    test: float = Field(0.02, ge=0, lt=1, description="Share of the records held out for evaluation only.")
    similarity: float = Field(
        0.6,
        gt=0,
        le=1,
        description="A held-out record whose prompt is at least this similar (Jaccard) to a training record's goes to "
        "training too, so that no near-copy crosses.",
    )
    by: Literal["group", "task"] = Field("group", description="`task` holds out whole tasks instead of records.")
    sources: list[str] | None = Field(
        None,
        description="Sources that give held-out records; none: all. The others go to training whole.",
        examples=[["alpaca"]],
    )

    @model_validator(mode="after")
    def _leaves_training(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation {self.validation:g} and test {self.test:g} leave nothing to train on")
        return self
