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
    sha256: str = Field(
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of its bytes.",
        examples=["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
    )
    bytes: int = Field(ge=0, description="Its size.", examples=[48213])
    rows: int = Field(ge=0, description="Rows in it; 0 for files that are no tables.", examples=[93])


class Account(Part):
    """What one stage did with one source's rows: in = kept + dropped + rejected."""

    stage: str = Field(
        description="Name of the stage, in the order of the data path.", examples=["read", "filter", "dedup"]
    )
    source: str = Field(description="Name of the source.", examples=["alpaca"])
    rows_in: int = Field(ge=0, alias="in", description="Rows that entered the stage.", examples=[100])
    kept: int = Field(ge=0, description="Rows that left it.", examples=[97])
    dropped: dict[str, int] = Field(
        default_factory=dict, description="Rows dropped, by reason.", examples=[{"duplicate.exact": 2}]
    )
    rejected: dict[str, int] = Field(
        default_factory=dict, description="Rows rejected, by code.", examples=[{"SC001": 1}]
    )

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    @property
    def lost(self) -> int:
        """Rows that entered and did not leave."""
        return sum(self.dropped.values()) + sum(self.rejected.values())


class Amounts(Part):
    """An amount of data in the three units; tokens are null when the recipe trains nothing and asks for no tokens."""

    records: int = Field(ge=0, description="Rows, repeats included.", examples=[97])
    tokens: int | None = Field(None, ge=0, description="Tokens as the tokenizer renders them.", examples=[4821])
    trained_tokens: int | None = Field(None, ge=0, description="Tokens that carry loss.", examples=[2240])


class MixSource(Part):
    """One source's part in a mix's training split."""

    planned: Amounts = Field(
        description="Amount planned in the mix's unit, and what that part of the source comes to in the others.",
        examples=[{"records": 93, "tokens": 4830, "trained_tokens": 2251}],
    )
    achieved: Amounts = Field(
        description="Amount in the shards.", examples=[{"records": 93, "tokens": 4821, "trained_tokens": 2240}]
    )
    share: float = Field(ge=0, le=1, description="Achieved share of the mix, in the mix's unit.", examples=[0.5])
    epochs: float = Field(ge=0, description="Rows used divided by rows there are.", examples=[1.0])
    unique_share: float = Field(
        ge=0, le=1, description="Share of the source's training rows that are seen at least once.", examples=[1.0]
    )
    exhausted: bool = Field(
        False,
        description="Whether it ran out under `on_exhaust: renormalise`, so that its share is less than was asked for.",
    )


_SOURCES = {
    "alpaca": {
        "planned": {"records": 93},
        "achieved": {"records": 93},
        "share": 1.0,
        "epochs": 1.0,
        "unique_share": 1.0,
    }
}


class MixPhase(Part):
    """One phase of a mix: the rows after those of the phases before it."""

    name: str = Field(description="Its name, as in the column `phase`.", examples=["anneal"])
    rows: int = Field(ge=0, description="Rows in it.", examples=[40])
    sources: dict[str, MixSource] = Field(
        description="Its sources; epochs and unique share are those of this phase.", examples=[_SOURCES]
    )


class MixEntry(Part):
    """One mix."""

    purpose: Literal["pretrain", "finetune", "preference"] = Field(
        description="What its shards are for.", examples=["finetune"]
    )
    unit: Literal["records", "tokens", "trained_tokens"] = Field(
        description="What its ratios are counted in.", examples=["records"]
    )
    sources: dict[str, MixSource] = Field(description="Its sources, over all phases.", examples=[_SOURCES])
    phases: list[MixPhase] = Field(
        default_factory=list,
        description="Its phases in training order; empty where the recipe has none.",
        examples=[[{"name": "anneal", "rows": 93, "sources": _SOURCES}]],
    )
    rows: dict[str, int] = Field(description="Rows of each split.", examples=[{"train": 93, "validation": 2}])


class Compression(Part):
    """How well the tokenizer fits one language of one source, on a sample of its training texts."""

    source: str = Field(description="Name of the source.", examples=["alpaca"])
    language: str = Field(
        description="Language its records state; `unknown, X script` by their letters where they state none, and "
        "`unknown` without letters.",
        examples=["en", "unknown, Latin script"],
    )
    records: int = Field(ge=0, description="Records looked at.", examples=[93])
    bytes: int = Field(ge=0, description="UTF-8 bytes of their texts.", examples=[21034])
    tokens: int = Field(ge=0, description="Tokens of their texts, without the marks of the template.", examples=[5210])

    @property
    def bytes_per_token(self) -> float:
        """Bytes of text behind a token; 0 without text."""
        return self.bytes / self.tokens if self.tokens else 0.0


class LeakCheck(Part):
    """Whether anything held out is also in training, found after the split through an inverted index."""

    threshold: float = Field(
        description="Jaccard similarity of prompts from which a held-out record counts as a leak.", examples=[0.6]
    )
    held_out: int = Field(ge=0, description="Held-out records compared.", examples=[4])
    same_prompt: int = Field(
        ge=0, description="Held-out records whose exact prompt is in training; 0 unless the split failed.", examples=[0]
    )
    near_prompt: int = Field(
        ge=0,
        description="Held-out records with a training prompt at or above the threshold; 0 unless the split failed.",
        examples=[0],
    )


class SplitEntry(Part):
    """Requested and achieved rows of one source's splits."""

    requested: dict[str, int] = Field(description="Rows wanted, by split.", examples=[{"validation": 2, "test": 2}])
    achieved: dict[str, int] = Field(description="Rows there are, by split.", examples=[{"validation": 2, "test": 2}])


class SourceEntry(Part):
    """One input of the version."""

    files: dict[str, str] = Field(
        description="SHA-256 of every input file, by path relative to the source's root.",
        examples=[{"alpaca_data.json.gz": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}],
    )
    format: list[str] = Field(description="Adapters that read it.", examples=[["alpaca"]])
    license: str | None = Field(
        None, description="Licence as the recipe states it; null when it states none.", examples=["CC-BY-NC-4.0"]
    )


class Manifest(Part):
    """Everything about a version; written last, so that a folder without it is no version."""

    layout: Literal["didact/version/1"] = Field("didact/version/1", description="Layout of the folder.")
    name: str = Field(description="Name of the data set.", examples=["bilingual"])
    version: str = Field(
        pattern=r"^[0-9a-f]{12}$",
        description="First 12 hex digits of the hash of plan and ordered logical rows.",
        examples=["3f2a91c07be4"],
    )
    digest: str = Field(
        pattern=r"^[0-9a-f]{32}$",
        description="Hash of the ordered logical rows of every mix and split.",
        examples=["9c1185a5c5e9fc54612808977ee8f548"],
    )
    plan: str = Field(
        pattern=r"^[0-9a-f]{32}$",
        description="Hash of inputs, data settings and algorithm versions.",
        examples=["0cc175b9c0f1b6a831c399e269772661"],
    )
    parent: str | None = Field(None, description="The version that `latest` named before.", examples=["a71d0c44e9b2"])
    sources: dict[str, SourceEntry] = Field(
        description="Inputs.", examples=[{"alpaca": {"files": {}, "format": ["alpaca"], "license": "CC-BY-NC-4.0"}}]
    )
    accounting: list[Account] = Field(
        description="What each stage did with each source's rows.",
        examples=[
            [
                {
                    "stage": "read",
                    "source": "alpaca",
                    "in": 100,
                    "kept": 97,
                    "dropped": {"where": 2},
                    "rejected": {"SC001": 1},
                }
            ]
        ],
    )
    findings: dict[str, dict[str, int]] = Field(
        description="Warnings counted on kept rows and files, by source and code.", examples=[{"alpaca": {"CO003": 12}}]
    )
    cleaned: dict[str, dict[str, int]] = Field(
        description="Texts changed by cleaning, by source and rule.", examples=[{"alpaca": {"whitespace": 8}}]
    )
    splits: dict[str, SplitEntry] = Field(
        description="Held-out rows, by source.",
        examples=[{"alpaca": {"requested": {"validation": 2}, "achieved": {"validation": 2}}}],
    )
    leak_check: LeakCheck | None = Field(
        None,
        description="Null when nothing was held out.",
        examples=[{"threshold": 0.6, "held_out": 4, "same_prompt": 0, "near_prompt": 0}],
    )
    decontamination: str = Field("not checked", description="Against which evaluation sets the data was checked.")
    mixes: dict[str, MixEntry] = Field(
        description="What the shards hold.",
        examples=[
            {
                "finetune": {
                    "purpose": "finetune",
                    "unit": "records",
                    "sources": {},
                    "rows": {"train": 93, "validation": 2, "test": 2},
                }
            }
        ],
    )
    licenses: dict[str, list[str]] = Field(
        description="Sources by licence; `unknown` lists those without one.", examples=[{"CC-BY-NC-4.0": ["alpaca"]}]
    )
    tokenizer: str | None = Field(
        None, description="Digest of the tokenizer that counted.", examples=["5d41402abc4b2a76b9719d911017c592"]
    )
    compression: list[Compression] = Field(
        default_factory=list,
        description="How well the tokenizer fits each source and language.",
        examples=[[{"source": "alpaca", "language": "en", "records": 93, "bytes": 21034, "tokens": 5210}]],
    )
    recipe: dict[str, Any] = Field(
        description="The recipe's data sections, defaults filled in.", examples=[{"name": "bilingual", "seed": 7}]
    )
    created_by: dict[str, str] = Field(
        description="Versions of Didact and of the libraries that shape the bytes.",
        examples=[{"didact": "0.1.0", "unicode": "15.0.0"}],
    )
    files: list[FileEntry] = Field(
        description="Every other file of the version.",
        examples=[
            [
                {
                    "path": "README.md",
                    "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                    "bytes": 0,
                    "rows": 0,
                }
            ]
        ],
    )
    checksum: str = Field(
        "",
        pattern=r"^([0-9a-f]{32})?$",
        description="Hash of all other fields, so that damage to this file shows too.",
        examples=["7d793037a0760186574b0282f2f435e7"],
    )


def checksum(content: Mapping[str, Any]) -> str:
    """What the `checksum` of a manifest must be; content: the manifest as JSON values, with or without one."""
    return content_hash({name: value for name, value in content.items() if name != "checksum"})
