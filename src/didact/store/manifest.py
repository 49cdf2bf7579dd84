"""The manifest of a version: what is in it, what became of every row, and the hash of every file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from didact.canonical import content_hash


class Part(BaseModel):
    """A section of the manifest."""

    model_config = ConfigDict(extra="forbid")


class FileEntry(Part):
    """One file of the version."""

    path: str = Field(
        description="Path relative to the version's folder.", examples=["data/finetune/train-00000-of-00001.parquet"]
    )
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of its bytes.")
    bytes: int = Field(ge=0, description="Its size.")
    rows: int = Field(ge=0, description="Rows in it; 0 for files that are no tables.")


class Account(Part):
    """What one stage did with one source's rows: in = kept + dropped + rejected."""

    stage: str = Field(
        description="Name of the stage, in the order of the data path.", examples=["read", "filter", "dedup"]
    )
    source: str = Field(description="Name of the source.")
    rows_in: int = Field(ge=0, alias="in", description="Rows that entered the stage.")
    kept: int = Field(ge=0, description="Rows that left it.")
    dropped: dict[str, int] = Field(default_factory=dict, description="Rows dropped, by reason.")
    rejected: dict[str, int] = Field(default_factory=dict, description="Rows rejected, by code.")

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    @property
    def lost(self) -> int:
        """Rows that entered and did not leave."""
        return sum(self.dropped.values()) + sum(self.rejected.values())


class Amounts(Part):
    """An amount of data in the three units; tokens are null when the recipe trains nothing and asks for no tokens."""

    records: int = Field(ge=0, description="Rows, repeats included.")
    tokens: int | None = Field(None, ge=0, description="Tokens as the tokenizer renders them.")
    trained_tokens: int | None = Field(None, ge=0, description="Tokens that carry loss.")


class MixSource(Part):
    """One source's part in a mix's training split."""

    planned: int = Field(ge=0, description="Amount planned, in the mix's unit.")
    achieved: Amounts = Field(description="Amount in the shards.")
    share: float = Field(ge=0, le=1, description="Achieved share of the mix, in the mix's unit.")
    epochs: float = Field(ge=0, description="Rows used divided by rows there are.")
    unique_share: float = Field(
        ge=0, le=1, description="Share of the source's training rows that are seen at least once."
    )


class MixEntry(Part):
    """One mix."""

    purpose: Literal["pretrain", "finetune", "preference"] = Field(description="What its shards are for.")
    unit: Literal["records", "tokens", "trained_tokens"] = Field(description="What its ratios are counted in.")
    sources: dict[str, MixSource] = Field(description="Its sources.")
    rows: dict[str, int] = Field(description="Rows of each split.")


class LeakCheck(Part):
    """Whether anything held out is also in training, found after the split through an inverted index."""

    threshold: float = Field(description="Jaccard similarity of prompts from which a held-out record counts as a leak.")
    held_out: int = Field(ge=0, description="Held-out records compared.")
    same_prompt: int = Field(
        ge=0, description="Held-out records whose exact prompt is in training; 0 unless the split failed."
    )
    near_prompt: int = Field(
        ge=0,
        description="Held-out records with a training prompt at or above the threshold; 0 unless the split failed.",
    )


class SplitEntry(Part):
    """Requested and achieved rows of one source's splits."""

    requested: dict[str, int] = Field(description="Rows wanted, by split.")
    achieved: dict[str, int] = Field(description="Rows there are, by split.")


class SourceEntry(Part):
    """One input of the version."""

    files: dict[str, str] = Field(description="SHA-256 of every input file, by path relative to the source's root.")
    format: list[str] = Field(description="Adapters that read it.")
    license: str | None = Field(None, description="Licence as the recipe states it; null when it states none.")


class Manifest(Part):
    """Everything about a version; written last, so that a folder without it is no version."""

    layout: Literal["didact/version/1"] = Field("didact/version/1", description="Layout of the folder.")
    name: str = Field(description="Name of the data set.")
    version: str = Field(
        pattern=r"^[0-9a-f]{12}$", description="First 12 hex digits of the hash of plan and ordered logical rows."
    )
    digest: str = Field(
        pattern=r"^[0-9a-f]{32}$", description="Hash of the ordered logical rows of every mix and split."
    )
    plan: str = Field(pattern=r"^[0-9a-f]{32}$", description="Hash of inputs, data settings and algorithm versions.")
    parent: str | None = Field(None, description="The version that `latest` named before.")
    sources: dict[str, SourceEntry] = Field(description="Inputs.")
    accounting: list[Account] = Field(description="What each stage did with each source's rows.")
    findings: dict[str, dict[str, int]] = Field(
        description="Warnings counted on kept rows and files, by source and code."
    )
    cleaned: dict[str, dict[str, int]] = Field(description="Texts changed by cleaning, by source and rule.")
    splits: dict[str, SplitEntry] = Field(description="Held-out rows, by source.")
    leak_check: LeakCheck | None = Field(None, description="Null when nothing was held out.")
    decontamination: str = Field("not checked", description="Against which evaluation sets the data was checked.")
    mixes: dict[str, MixEntry] = Field(description="What the shards hold.")
    licenses: dict[str, list[str]] = Field(description="Sources by licence; `unknown` lists those without one.")
    tokenizer: str | None = Field(None, description="Digest of the tokenizer that counted.")
    recipe: dict[str, Any] = Field(description="The recipe's data sections, defaults filled in.")
    created_by: dict[str, str] = Field(description="Versions of Didact and of the libraries that shape the bytes.")
    files: list[FileEntry] = Field(description="Every other file of the version.")
    checksum: str = Field(
        "", pattern=r"^([0-9a-f]{32})?$", description="Hash of all other fields, so that damage to this file shows too."
    )


def checksum(content: Mapping[str, Any]) -> str:
    """What the `checksum` of a manifest must be; content: the manifest as JSON values, with or without one."""
    return content_hash({name: value for name, value in content.items() if name != "checksum"})
