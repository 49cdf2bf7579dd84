"""What a build would do, as one JSON object; its JSON Schema is published."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Why = Literal[
    "new", "new file", "changed file", "moved rows", "setting", "signal", "format", "version", "earlier stage"
]


class Part(BaseModel):
    """A section of the plan."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Reason(Part):
    """One thing that makes a result run."""

    why: Why = Field(
        description="`new`: nothing of this source or stage is on file. `new file`, `changed file`: an input's "
        "content. `moved rows`: equal files, but their rows fall into other chunks. `setting`: a key of the recipe. "
        "`signal`: another signal is measured, or its code changed. `format`: a file is read another way. `version`: "
        "of an algorithm or a library's table. `earlier stage`: what goes in is made anew.",
        examples=["setting"],
    )
    what: str = Field(
        description="The source or stage, the file's path, the setting's path in the recipe, the signal, the algorithm "
        "or library, or the earlier stage.",
        examples=["clean.pii.email"],
    )
    before: str | None = Field(None, description="What the nearest result on file was made from.", examples=["keep"])
    now: str | None = Field(None, description="What it would be made from now.", examples=["mask"])

    def __str__(self) -> str:
        change = f": {self.before} → {self.now}" if self.before is not None else ""
        return f"{_TOLD[self.why].format(self.what)}{change}"


_TOLD: dict[Why, str] = {
    "new": "nothing on file yet",
    "new file": "new file {}",
    "changed file": "changed content of {}",
    "moved rows": "other rows of {} in the chunk",
    "setting": "changed setting {}",
    "signal": "signal {}",
    "format": "{} is read another way",
    "version": "another version of {}",
    "earlier stage": "{} is made anew",
}


class Because(Part):
    """Chunks that run for one reason; a chunk with two reasons counts for both."""

    reason: Reason = Field(description="The reason.", examples=[{"why": "setting", "what": "clean.entities"}])
    chunks: int = Field(ge=1, description="Chunks that run for it.", examples=[3])


class SourcePlan(Part):
    """The per-record stages of one source: read, clean, measure."""

    source: str = Field(description="Its name.", examples=["alpaca"])
    files: int = Field(ge=0, description="Input files.", examples=[1])
    rows: int = Field(ge=0, description="Rows as they are cut; in nested files elements.", examples=[52002])
    chunks: int = Field(ge=0, description="Chunks.", examples=[6])
    reused: int = Field(ge=0, description="Chunks whose result is on file.", examples=[5])
    run_rows: int = Field(ge=0, description="Rows of the chunks that run.", examples=[9114])
    because: list[Because] = Field(
        description="Why the others run.",
        examples=[[{"reason": {"why": "changed file", "what": "a.json"}, "chunks": 1}]],
    )

    @property
    def run(self) -> int:
        """Chunks that run."""
        return self.chunks - self.reused


class StagePlan(Part):
    """A stage that needs all rows."""

    stage: str = Field(description="Its name; `counts` is told once for each purpose and source.", examples=["split"])
    state: Literal["reused", "runs", "always runs"] = Field(
        description="`reused`: its result is on file. `runs`: it is made. `always runs`: decisions over arrays, or "
        "files of the version itself, which are kept nowhere else.",
        examples=["runs"],
    )
    because: list[Reason] = Field(
        default_factory=list, description="Why it runs.", examples=[[{"why": "setting", "what": "split.test"}]]
    )


class Space(Part):
    """Room on disk, in bytes, reckoned from the inputs."""

    results: int = Field(ge=0, description="All chunk results of the build.", examples=[120_000_000])
    on_file: int = Field(ge=0, description="Of these, on this disk already.", examples=[0])
    version: int = Field(ge=0, description="The version, and results of stages.", examples=[60_000_000])
    needed: int = Field(
        ge=0, description="What is yet to be written; 0 when the version exists.", examples=[180_000_000]
    )
    free: int = Field(ge=0, description="What is free on the store's file system.", examples=[9_000_000_000])


class Estimate(Part):
    """A number of the whole source, estimated from its sample, with the bounds of the 95 % interval."""

    seen: int = Field(ge=0, description="How many there are in the sample.", examples=[3])
    estimate: float = Field(ge=0, description="How many there are in the source, most likely.", examples=[156.0])
    low: float = Field(ge=0, description="Lower bound.", examples=[53.1])
    high: float = Field(ge=0, description="Upper bound.", examples=[452.9])


_ESTIMATE = {"seen": 3, "estimate": 156.0, "low": 53.1, "high": 452.9}


class BoundOutcome(Part):
    """What one bound of the filters would do to one source."""

    reason: str = Field(description="Name under which it drops rows.", examples=["response.words<1"])
    origin: str = Field(description="The published rule it comes from, or `recipe`.", examples=["recipe"])
    alone: Estimate = Field(description="Rows out of bounds, whatever the other bounds say.", examples=[_ESTIMATE])
    drops: Estimate = Field(description="Rows it drops: those that no bound before it drops.", examples=[_ESTIMATE])


class SampledSource(Part):
    """What the sample of one source says."""

    source: str = Field(description="Its name.", examples=["alpaca"])
    sampled: int = Field(ge=0, description="Rows looked at.", examples=[1000])
    of: int = Field(ge=0, description="Rows there are; in nested files estimated.", examples=[52002])
    rejected: dict[str, Estimate] = Field(
        description="Rows rejected, by code.", examples=[{"JS001": {"seen": 1, "estimate": 52, "low": 9, "high": 294}}]
    )
    unselected: Estimate = Field(
        description="Rows that `where` leaves out.", examples=[{"seen": 0, "estimate": 0, "low": 0, "high": 199}]
    )
    bounds: list[BoundOutcome] = Field(description="Every bound that applies to it, in order.", examples=[[]])
    kept: Estimate = Field(
        description="Rows that pass all bounds; duplicates are among them.",
        examples=[{"seen": 997, "estimate": 51846, "low": 51549, "high": 51949}],
    )
    exact_duplicates: int = Field(
        ge=0,
        description="Rows of the sample that repeat another row of it. At least so many are in the source: most copies "
        "of a sampled row are not in the sample.",
        examples=[0],
    )
    tokens: dict[str, Estimate] = Field(
        description="Tokens of the rows that pass, by the purpose they can serve; `seen` are the sample's.",
        examples=[{"finetune": {"seen": 98000, "estimate": 5096000, "low": 4800000, "high": 5400000}}],
    )


class Sampled(Part):
    """What a sample says of the build."""

    rows: int = Field(ge=1, description="Rows asked for, of each source.", examples=[1000])
    tokenizer: str | None = Field(
        description="Where the tokenizer that counted comes from: `file`, or `sample` when it was learned from the "
        "sample, which makes it count other than one that is learned from all; null without one.",
        examples=["sample"],
    )
    sources: list[SampledSource] = Field(description="The sources, by name.", examples=[[]])
    workers: int = Field(ge=1, description="Workers the times are for.", examples=[2])
    seconds: dict[str, float] = Field(
        description="Estimated wall time of each stage that runs. `read, clean, measure` and `counts` are measured on "
        "the sample; others go by rows from the largest build of this store that ran the stage.",
        examples=[{"read, clean, measure": 12.5, "counts": 3.1}],
    )
    not_estimated: list[str] = Field(description="Stages whose time is not known.", examples=[["deduplicate"]])
    results_bytes: int = Field(
        ge=0,
        description="Chunk results yet to be written, in bytes, by the size of the sample's.",
        examples=[118_000_000],
    )


class BuildPlan(Part):
    """What `didact build` would do."""

    layout: Literal["didact/plan/1"] = Field("didact/plan/1", description="Layout of this object.")
    name: str = Field(description="Name of the data set.", examples=["bilingual"])
    plan: str = Field(description="Hash of inputs and data settings.", examples=["0cc175b9c0f1b6a831c399e269772661"])
    store: str = Field(description="Where results are kept.", examples=["store"])
    version: str | None = Field(None, description="The version, when it is built already.", examples=["3f2a91c07be4"])
    sources: list[SourcePlan] = Field(description="The sources, by name.", examples=[[]])
    stages: list[StagePlan] = Field(description="The other stages, in order.", examples=[[]])
    space: Space = Field(
        description="Room on disk.", examples=[{"results": 1, "on_file": 0, "version": 1, "needed": 2, "free": 9}]
    )

    sample: Sampled | None = Field(
        None, description="With `--sample`: what a sample of the rows says.", examples=[None]
    )

    @property
    def enough_space(self) -> bool:
        """Whether the build would be started."""
        return self.space.needed <= self.space.free
