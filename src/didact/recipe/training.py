"""The recipe's settings of the model, its training phases, evaluation and generation; needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from didact.recipe.quantity import Count

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Schedule = Literal["wsd", "cosine"]


class TrainingPart(BaseModel):
    """Base of these settings: unknown keys are refused, and a loaded recipe does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSettings(TrainingPart):
    """The decoder's shape: one `depth` dial, and each derived number open to be set by hand.

    Derived from depth d: layers d; width 48 d rounded up to a multiple of 64, at least 128; heads of 32 up to width 256
    and of 64 above; feed-forward 8/3 of the width rounded up to a multiple of 64. Block parameters (without the
    embedding, which adds vocabulary x width): d 2: 0.4 M, 3: 1.3 M, 4: 1.8 M, 5: 3.9 M, 6: 7.6 M, 8: 14 M, 12: 48 M.
    """

    depth: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] = Field(
        4,
        description="Number of layers; sets every size below that is not given. 4 trains in minutes on two cores. "
        "`auto`: the deepest model that `pretrain.minutes` can show 12 tokens for each weight of its blocks, of text "
        "that is repeated at most four times; the machine is measured first, and the answer kept with the run.",
        examples=["auto"],
    )
    width: int | None = Field(
        None,
        ge=32,
        le=16384,
        description="Size of the residual stream, in floats per token. Default: from depth.",
        examples=[256],
    )
    layers: int | None = Field(None, ge=1, le=128, description="Number of blocks. Default: depth.", examples=[6])
    heads: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Query heads; must divide the width into even parts. Default: from the width.",
        examples=[8],
    )
    kv_heads: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Key and value heads; must divide `heads`. Default: as many as heads, since a small "
        "model's cache is "
        "small.",
        examples=[4],
    )
    ffn: int | None = Field(
        None,
        ge=32,
        le=65536,
        description="Inner size of the SwiGLU feed-forward part. Default: from the width.",
        examples=[704],
    )
    context: int = Field(
        256,
        ge=16,
        le=131072,
        description="Longest document or conversation the model sees, in tokens. 256 holds short instructions; "
        "time per "
        "token grows with it.",
    )
    qk_norm: bool = Field(
        True,
        description="Normalise queries and keys (Qwen3 type; stable at high learning rates). false: a plain Llama.",
    )
    tie: bool = Field(
        True,
        description="One matrix for embedding and output: below about 0.5 B parameters the vocabulary would "
        "otherwise be "
        "most of the model.",
    )
    rope_theta: Positive = Field(
        10_000.0, description="Base of the rotary position angles; 10,000 suits contexts up to 4,096 tokens."
    )


class TrainingSettings(TrainingPart):
    """What all phases share. The horizon is the smallest of the limits given; a limit not given does not count."""

    tokens: Count | None = Field(
        None, ge=1, description="Stop after about this many input tokens, such as 2M.", examples=["2M"]
    )
    epochs: Positive | None = Field(
        None, description="Stop after this many passes over the mix; a fraction is fine.", examples=[2]
    )
    minutes: Positive | None = Field(
        None,
        description="Choose as many steps as fit into this time, from the measured time of the first steps; the "
        "learning-rate schedule then fits them.",
        examples=[10],
    )
    context: int | None = Field(
        None,
        ge=16,
        description="Longest piece of text in this phase, in tokens; at most the model's, which is the default. "
        "Default with `base`: at most batch_tokens.",
        examples=[512],
    )
    batch_tokens: Count = Field(
        4096,
        ge=16,
        description="Tokens in one optimiser step, rounded to rows of `context`. Small batches learn most per "
        "token; a GPU "
        "wants 65k and more.",
    )
    micro_tokens: Count | None = Field(
        None,
        ge=16,
        description="Most tokens in one forward pass; a step larger than this is accumulated. Bounds memory. Default: "
        "2,048 on a CPU, where more falls out of the cache and costs a tenth, and 32,768 on a GPU.",
        examples=[8192],
    )
    learning_rate: Positive | None = Field(
        None, description="Peak rate of AdamW. Default: from the width, 0.002 x sqrt(128 / width).", examples=[0.001]
    )
    muon_learning_rate: Positive = Field(
        0.02,
        description="Peak rate of Muon on the block matrices when optimizer is muon; updates are orthogonal, "
        "so it does "
        "not depend on the width.",
    )
    schedule: Schedule = Field(
        "wsd",
        description="wsd: the rate climbs, stays and falls linearly (warm-up, stable, decay); a run can be stopped or "
        "extended while it stays. cosine: it falls along half a cosine right after the warm-up.",
    )
    warmup: Share = Field(0.04, description="Share of the steps in which the rate climbs linearly from zero.")
    decay: Share = Field(
        0.5,
        description="With wsd, share of the steps, at the end, in which the rate falls linearly to zero. Short runs "
        "gain from a long decay.",
    )
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1, description="Decoupled decay per unit of learning rate, on matrices only: norms have no scale to shrink."
    )
    clip: Positive = Field(1.0, description="Largest global gradient norm; longer gradients are scaled down.")
    average: Annotated[float, Field(ge=0.5, lt=1)] | None = Field(
        None,
        examples=[0.99],
        description="Keep an exponential moving average of the weights with this decay, such as 0.99, validate it and "
        "write it into the checkpoints. Costs one more copy of the weights. Default: none, since a rate that falls to "
        "zero averages already.",
    )
    recompute: bool = Field(
        False,
        description="Compute each block again in the backward pass instead of keeping what is inside it: memory of one "
        "block instead of all, for about a third more time and the same gradients.",
    )
    deterministic: bool = Field(
        False,
        description="Let PyTorch use only operations that give equal bytes each time, and refuse others. A CPU's are "
        "so without it; on GPUs it costs speed, and equal runs then end with equal weights.",
    )
    compile: bool | None = Field(
        None,
        examples=[True],
        description="Let torch.compile make kernels for the blocks. Default: on GPUs, where it gains a sixth and more; "
        "on CPUs the first step takes a minute longer, which only runs of many hours earn back.",
    )
    shard: bool = Field(
        False,
        description="With several processes of torchrun, share weights, gradients and optimiser state out over them "
        "(FSDP2), for models that no device holds whole. It sends more messages than the default, in which each "
        "process holds all. Loss and data are the same either way; not with `lora` or `average`.",
    )
    optimizer: Literal["adamw", "muon"] = Field(
        "adamw",
        description="adamw for all, or muon for the block matrices and adamw for the rest. Muon learns more "
        "per token and "
        "costs more per step.",
    )
    eval_every: int | None = Field(
        None, ge=1, description="Steps between validations. Default: a tenth of the run.", examples=[100]
    )
    eval_tokens: Count = Field(
        200_000, ge=1, description="At most this many validation tokens are scored each time; always the same ones."
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="Stop after this many validations in a row without a better loss. Default: never.",
        examples=[3],
    )
    checkpoint_every: int | None = Field(
        None, ge=1, description="Steps between checkpoints. Default: at every validation.", examples=[500]
    )
    keep_last: int = Field(1, ge=1, le=1000, description="How many of the newest checkpoints to keep, beside the best.")
    log_every: int = Field(10, ge=1, description="Steps between lines of metrics.jsonl and progress reports.")
    spike: Positive = Field(
        6.0,
        description="Log a step and its documents when its loss lies this many standard deviations above that of about "
        "the last 50 steps; nothing else happens. 6 is silent in healthy runs.",
    )
    non_finite_limit: int = Field(
        5,
        ge=1,
        description="Stop after this many steps in a row whose loss or gradient was not finite; fewer are skipped and "
        "counted.",
    )

    @model_validator(mode="after")
    def _schedule_fits(self) -> TrainingSettings:
        if self.shard and (self.average is not None or getattr(self, "lora", None) is not None):
            raise ValueError("shard works on all weights of the step itself; leave out `lora` and `average`, or shard")
        if self.schedule == "cosine":
            if "decay" in self.model_fields_set:
                raise ValueError("decay belongs to the schedule wsd; cosine falls from the warm-up to the end")
            return self
        if self.warmup + self.decay > 1:
            raise ValueError(
                f"warmup {self.warmup} and decay {self.decay} are shares of the same steps; together they must "
                "not exceed 1"
            )
        return self


class PretrainSettings(TrainingSettings):
    """Pre-training: loss on every token of the `pretrain` mix; documents longer than the context are split."""


Matrix = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class LoraSettings(TrainingPart):
    """Low-rank adapters: the base's weights stay as they are, and two thin matrices beside each target are trained."""

    rank: int = Field(
        16, ge=1, le=1024, description="Inner size of each adapter; 16 holds what small instruction sets teach."
    )
    alpha: Positive = Field(
        32.0, description="Adapters count alpha / rank times; twice the rank keeps rates alike over ranks."
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Share of an adapter's inputs left out in training, to slow overfitting of few records."
    )
    targets: tuple[Matrix, ...] = Field(
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        min_length=1,
        description="Matrices of each block that get an adapter. Default: all, since attention alone learns less.",
    )


class TuningSettings(TrainingSettings):
    """What both phases that start from a trained model share."""

    base: Path | None = Field(
        None,
        description="A Llama- or Qwen3-type model folder of others (config.json, safetensors, tokenizer.json) or a "
        "checkpoint to start from, relative to the recipe. `tokenizer.file` has to name the same folder. Default: the "
        "best checkpoint of the phase before.",
        examples=["models/Qwen3-0.6B"],
    )
    learning_rate: Positive | None = Field(
        None,
        description="Peak rate of AdamW. Default: half of pre-training's, and 0.00002 with `base`, since a model that "
        "saw much more text is to be moved gently; ten times that with `lora`.",
        examples=[0.0005],
    )
    lora: LoraSettings | None = Field(
        None,
        description="Train low-rank adapters instead of the weights: less memory for gradients and optimiser state, "
        "and checkpoints of a few per cent of the model. `{}` takes the defaults. Default: none, all weights learn.",
        examples=[{"rank": 16}],
    )
    muon_learning_rate: Positive = Field(
        0.01, description="Peak rate of Muon when optimizer is muon; half of pre-training's."
    )
    over_long: Literal["drop", "error", "head", "tail", "turns", "first_turns"] = Field(
        "drop",
        description="A conversation longer than the context is dropped, ends the run (error), keeps the first or the "
        "last tokens that fit (head, tail), or whole turns: `turns` keeps the system prompt and the last exchanges "
        "that fit, `first_turns` its beginning. Of a pair of answers this goes for either side. Each is counted. Half "
        "a conversation teaches half an answer, so drop is the default.",
    )


class FinetuneSettings(TuningSettings):
    """Fine-tuning: loss on the assistant's tokens of the `finetune` mix, from the best pre-trained checkpoint."""


class PreferenceSettings(TuningSettings):
    """Preference tuning (DPO): raise the chosen answer of each pair of the `preference` mix above the rejected one,
    measured against the model it starts from, which stays as the reference.
    """

    learning_rate: Positive | None = Field(
        None,
        description="Peak rate of AdamW. Default: a twentieth of fine-tuning's: answers are weighed, not learned.",
        examples=[0.00005],
    )
    muon_learning_rate: Positive = Field(
        0.0005, description="Peak rate of Muon when optimizer is muon; a twentieth of fine-tuning's."
    )
    beta: Positive | None = Field(
        None,
        description="How dear it is to leave the reference: log-ratios count this many times. Default: 0.1, the usual "
        "one; 5 with `length_normalised`, as in Tulu 3 (arXiv:2411.15124).",
        examples=[0.1],
    )
    length_normalised: bool = Field(
        False,
        description="Divide each answer's log-ratio by its number of tokens, so that a long answer is not preferred "
        "for its length (Tulu 3's length-normalised DPO).",
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        0.0,
        description="Share of pairs taken to be the wrong way round: what judges disagree on. 0 trusts every pair.",
    )

    @property
    def strength(self) -> float:
        """beta, or its default."""
        return self.beta if self.beta is not None else 5.0 if self.length_normalised else 0.1


class EncoderSettings(TrainingSettings):
    """A masked encoder (BERT type) of the shape in `model`, trained from scratch to name hidden tokens; long documents
    are split. Its queries and keys are not normalised, whatever `model.qk_norm` says, so that transformers opens it.
    """

    mix: str | None = Field(
        None,
        description="The mix it reads, of purpose pretrain or finetune. Default: the one of purpose pretrain, else of "
        "finetune.",
        examples=["pretrain"],
    )
    mask: Annotated[float, Field(gt=0, le=0.8)] = Field(
        0.15,
        description="Share of the tokens to name: 80 % of them are hidden, 10 % replaced by others, 10 % left as they "
        "are. 0.15 is BERT's; larger models gain from up to 0.4 (arXiv:2202.08005).",
    )


class ClassifierSettings(TrainingSettings):
    """A classification head on the encoder, and both trained on the labels of task and question records."""

    base: Path | None = Field(
        None,
        description="Checkpoint of an encoder to start from, relative to the recipe. Default: the best one of section "
        "encoder; without either, fresh weights.",
        examples=["store/runs/demo/0123456789ab/encoder"],
    )
    mix: str | None = Field(
        None, description="The mix of labelled records. Default: the one of purpose finetune.", examples=["finetune"]
    )
    sources: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="The sources whose answers are labels. Default: all of the mix.",
        examples=[["news"]],
    )
    learning_rate: Positive | None = Field(
        None, description="Peak rate of AdamW. Default: half of the encoder's.", examples=[0.0005]
    )
    over_long: Literal["drop", "error", "head", "tail"] = Field(
        "head",
        description="A text longer than the context keeps its head or its tail, is dropped, or ends the run; each is "
        "counted. What a text is about stands at its beginning, so head is the default.",
    )
    labels: int = Field(
        1000, ge=2, le=100_000, description="Most different labels; more are taken to be answers in words, and refused."
    )


class EvaluationTask(TrainingPart):
    """One set of prompts with references: from a file, or from a split of the version."""

    name: str = Field(min_length=1, description="Name of the task in reports.", examples=["gsm8k"])
    path: str | None = Field(
        None,
        description="File or glob with the task's records. Exactly one of path and split.",
        examples=["data/gsm8k_test.jsonl.gz"],
    )
    split: Literal["validation", "test"] | None = Field(
        None, description="Split of the version to take the records from; scored per source.", examples=["test"]
    )
    format: str = Field("auto", description="Format of the file; auto detects it.")
    metric: str = Field("exact_match", description="Registered metric, such as exact_match, contains or f1.")
    limit: Count | None = Field(
        None,
        ge=1,
        description="Score at most this many records, chosen by a key, so that runs compare.",
        examples=[200],
    )
    max_tokens: int = Field(128, ge=1, description="Longest answer, in tokens.")

    @model_validator(mode="after")
    def _one_origin(self) -> EvaluationTask:
        if (self.path is None) == (self.split is None):
            raise ValueError(f"task '{self.name}' needs exactly one of path and split")
        return self


class EvaluateSettings(TrainingPart):
    """What to measure after each phase."""

    tasks: tuple[EvaluationTask, ...] = Field((), description="Tasks answered by generation.")
    limit: Count | None = Field(
        None, ge=1, description="Most records per task where the task sets no limit of its own.", examples=[200]
    )
    batch: int = Field(256, ge=1, description="Prompts answered at once.")


class GenerateSettings(TrainingPart):
    """How an answer is sampled."""

    max_tokens: int = Field(256, ge=1, description="Longest answer, in tokens.")
    temperature: Annotated[float, Field(ge=0, le=10)] = Field(
        0.0, description="0 takes the likeliest token each time; 1 samples from the model's distribution."
    )
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="Sample only among the likeliest tokens that together reach this probability."
    )
    seed: int = Field(0, ge=0, description="Seed of sampling; the same seed gives the same answer.")
