"""Recipe: the one YAML file that says all of it, read and refused with the place of what is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, get_args

import yaml
from pydantic import BaseModel, Field, JsonValue, ValidationError, model_validator

from didact.errors import InputMissing, RecipeError, UnknownName
from didact.recipe.cleaning import CleanSettings
from didact.recipe.mixes import Mix, Purpose
from didact.recipe.selection import DedupSettings, FilterRule, Settings, SplitSettings
from didact.recipe.sources import Source
from didact.recipe.tokenizing import TokenizerSettings
from didact.recipe.training import (
    ClassifierSettings,
    EncoderSettings,
    EvaluateSettings,
    FinetuneSettings,
    ModelSettings,
    PreferenceSettings,
    PretrainSettings,
)

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class Recipe(Settings):
    """Everything a build and a run depend on."""

    name: str = Field(
        pattern=_NAME,
        description="Names the data set in the store: letters, digits, dot, dash, underscore.",
        examples=["bilingual"],
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Every random choice of the build and of training is keyed by it.")
    store: str = Field(
        "store",
        min_length=1,
        description="Folder of all results, relative to the recipe, or a URL that fsspec knows, such as "
        "`s3://bucket/prefix`.",
        examples=["s3://bucket/didact"],
    )
    storage: dict[str, dict[str, JsonValue]] = Field(
        default_factory=dict,
        description="Options of fsspec for URLs, by protocol. Credentials are better left where the library of the "
        "store finds them by itself; those that stand here are never written into a version, a plan or a log.",
        examples=[{"s3": {"endpoint_url": "https://s3.example.org"}}],
    )
    sources: dict[str, Source] = Field(
        min_length=1,
        description="Named inputs.",
        examples=[{"alpaca": {"path": "data/alpaca_data.json.gz", "format": "alpaca", "license": "CC-BY-NC-4.0"}}],
    )
    plugins: list[str] = Field(
        default_factory=list,
        description="Python files of your own, relative to the recipe, that are run before anything is read: the "
        "formats, signals and metrics in them can be named like the built-in ones.",
        examples=[["./my_plugins.py"]],
    )
    clean: CleanSettings = Field(
        default_factory=CleanSettings,
        description="What cleaning changes in the texts; it never drops a record.",
        examples=[{"pii": {"email": "mask"}}],
    )
    filters: list[FilterRule] = Field(
        default_factory=list,
        description="Bounds on signals, applied in order; the first that fails names the reason.",
        examples=[[{"set": "instruction"}, {"signal": "response.words", "min": 1}]],
    )
    dedup: DedupSettings = Field(
        default_factory=DedupSettings,
        description="Which records count as one, and which of them stays.",
        examples=[{"minhash": {"threshold": 0.9}}],
    )
    split: SplitSettings = Field(
        default_factory=SplitSettings, description="Held-out shares.", examples=[{"validation": 0.05, "test": 0.05}]
    )
    tokenizer: TokenizerSettings | None = Field(
        default_factory=TokenizerSettings,
        description="The tokenizer that counts and trains; null: none, when the mixes count records and nothing is "
        "trained.",
        examples=[{"vocab_size": 8192}],
    )
    mixes: dict[str, Mix] = Field(
        default_factory=dict,
        description="What the shards hold; none: one mix `finetune` (or `pretrain` for plain text) of every source, "
        "once.",
        examples=[{"finetune": {"sources": {"alpaca": {"epochs": 1}}}}],
    )
    model: ModelSettings = Field(
        default_factory=ModelSettings, description="Shape of the reference model.", examples=[{"depth": 4}]
    )
    pretrain: PretrainSettings | None = Field(
        None, description="Pre-training; needs a mix of that purpose.", examples=[{"tokens": "2M"}]
    )
    finetune: FinetuneSettings | None = Field(
        None, description="Fine-tuning; needs a mix of that purpose.", examples=[{"epochs": 2}]
    )
    preference: PreferenceSettings | None = Field(
        None,
        description="Preference tuning after fine-tuning; needs a mix of that purpose.",
        examples=[{"epochs": 1, "beta": 0.1}],
    )
    encoder: EncoderSettings | None = Field(
        None, description="A masked encoder, trained apart from the decoder.", examples=[{"epochs": 4}]
    )
    classifier: ClassifierSettings | None = Field(
        None, description="A classifier on top of the encoder.", examples=[{"sources": ["news"], "epochs": 3}]
    )
    evaluate: EvaluateSettings | None = Field(
        None,
        description="What a run measures after each phase.",
        examples=[{"tasks": [{"name": "gsm8k", "path": "data/gsm8k_test.jsonl.gz"}]}],
    )

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        for where, name in self._references():
            if name not in self.sources:
                raise UnknownName("source", name, self.sources, where)
        for name, mix in self.mixes.items():
            if mix.purpose is None and name not in get_args(Purpose):
                raise ValueError(
                    f"mixes.{name}: give its 'purpose' ({', '.join(get_args(Purpose))}) or name it after one"
                )
        if self.tokenizer is None and (self._trains or any(mix.unit != "records" for mix in self.mixes.values())):
            raise ValueError("tokenizer is null, but training and mixes in tokens need one")
        self._check_base()
        self._check_reading()
        self._check_depth()
        return self

    def _check_depth(self) -> None:
        """A depth that is to follow from the time needs one, and the model that is trained for it."""
        if self.model.depth != "auto":
            return
        if self.pretrain is None or self.pretrain.minutes is None:
            raise ValueError("model.depth is auto, but pretrain.minutes says no time; give it, or a depth")
        if self.encoder is not None:
            raise ValueError("model.depth is auto, which only pre-training finds; give a number for the encoder")

    def _check_reading(self) -> None:
        """Mixes that the encoder and the classifier name exist and hold what they read."""
        for name, settings, purposes in (
            ("encoder", self.encoder, ("pretrain", "finetune")),
            ("classifier", self.classifier, ("finetune",)),
        ):
            mix = settings.mix if settings else None
            if mix is None or not self.mixes:
                continue
            if mix not in self.mixes:
                raise UnknownName("mix", mix, self.mixes, f"{name}.mix")
            if self.purpose(mix) not in purposes:
                raise ValueError(
                    f"{name}.mix: '{mix}' is for {self.purpose(mix)}; name one for {' or '.join(purposes)}"
                )

    @property
    def _trains(self) -> bool:
        return any((self.pretrain, self.finetune, self.preference, self.encoder, self.classifier))

    def _check_base(self) -> None:
        """A base model comes with its tokenizer, and instead of the phases before it."""
        for name, settings in (("finetune", self.finetune), ("preference", self.preference)):
            base = settings.base if settings else None
            if base is None:
                continue
            if self.tokenizer is None or self.tokenizer.file is None:
                raise ValueError(
                    f"{name}.base: set tokenizer.file to {base} too, so that ids mean what the model learned"
                )
            if self.pretrain is not None:
                raise ValueError(f"{name}.base: the base takes the place of pre-training; remove section pretrain")
            if name == "preference" and self.finetune is not None:
                raise ValueError(
                    "preference.base: preference tuning starts from the fine-tuned model; remove the base or section "
                    "finetune"
                )
        if self.preference is not None and not (self.preference.base or self.pretrain or self.finetune):
            raise ValueError("preference: there is no model to start from; add section finetune, or preference.base")

    def _references(self) -> list[tuple[str, str]]:
        found = [(f"filters[{i}].sources", name) for i, rule in enumerate(self.filters) for name in rule.sources or ()]
        found += [("dedup.sources", name) for name in self.dedup.sources or ()]
        found += [("classifier.sources", name) for name in (self.classifier and self.classifier.sources) or ()]
        found += [("split.sources", name) for name in self.split.sources or ()]
        for mix, settings in self.mixes.items():
            for place, blend in enumerate(settings.blends):
                where = f"mixes.{mix}.phases[{place}].sources" if settings.phases else f"mixes.{mix}.sources"
                found += [(where, name) for name in blend.sources]
        return found

    def purpose(self, mix: str) -> Purpose:
        """What a mix is for: as stated, else as its name says."""
        stated = self.mixes[mix].purpose
        return stated if stated is not None else next(p for p in get_args(Purpose) if p == mix)


class _UniqueKeys(yaml.SafeLoader):
    """YAML's safe loader, which refuses a key given twice instead of taking the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key}' is given twice", key_node.start_mark)
            if isinstance(key, str):
                seen.add(key)
        return super().construct_mapping(node, deep)


def load_recipe(source: Recipe | Mapping[str, Any] | str | Path) -> tuple[Recipe, Path]:
    """The recipe and the folder its paths are relative to: a recipe's own folder, or the current one for a mapping.

    Raises RecipeError with the key's path when it cannot be meant as written, InputMissing when there is no such file.
    """
    if isinstance(source, Recipe):
        return source, Path.cwd()
    if isinstance(source, Mapping):
        return _validated(source, "recipe"), Path.cwd()
    path = Path(source)
    return _validated(_read_yaml(path), str(path)), path.resolve().parent


def _read_yaml(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputMissing(path, "recipe", "`didact init DIR` writes one to start from") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    try:
        # Not the unsafe loader: `_UniqueKeys` is the safe loader with one check more.
        return yaml.load(text, Loader=_UniqueKeys)  # noqa: S506
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise RecipeError(f"{place}: not valid YAML: {getattr(error, 'problem', None) or 'unreadable'}") from error


def _validated(content: Any, where: str) -> Recipe:
    if not isinstance(content, Mapping):
        raise RecipeError(f"{where}: a recipe is a mapping of sections, found {type(content).__name__}")
    try:
        return Recipe.model_validate(content)
    except UnknownName as error:
        raise RecipeError(f"{where}: {error}") from error
    except ValidationError as error:
        raise RecipeError(f"{where}: {'; '.join(_told(problem) for problem in error.errors()[:3])}") from error


def _told(problem: Any) -> str:
    """One pydantic problem as a phrase with its key's path and the nearest known key."""
    place = (
        ".".join(str(part) for part in problem["loc"] if not (isinstance(part, str) and part[:1].isupper())) or "recipe"
    )
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        known = _keys_at(problem["loc"][:-1])
        close = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(known)}"
        return f"{place}: unknown key; {hint}"
    given = "" if problem["type"] in ("missing", "value_error") else f" (found {str(problem['input'])[:40]!r})"
    return f"{place}: {message}{given}"


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """The keys a section may have, found by walking the models along the location."""
    models: list[type[BaseModel]] = [Recipe]
    for part in location:
        fields = (
            [model.model_fields[part] for model in models if part in model.model_fields]
            if isinstance(part, str)
            else []
        )
        if fields:
            models = [model for field in fields for model in _models_in(field.annotation)]
    return sorted({name for model in models for name in model.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
