"""The tokenizer: byte-level BPE that takes every text literally, with reserved tokens that only the renderer writes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa
import tokenizers
from numpy.typing import NDArray
from pydantic import ValidationError
from tokenizers import decoders

from didact.canonical import content_hash
from didact.durable import write_atomic
from didact.errors import CallError, DataError, InputMissing
from didact.recipe.tokenizing import TokenizerSettings
from didact.render.byte_pairs import BytePairs, Encoded, is_supported
from didact.render.chat_template import JinjaTemplate, OwnTemplate, own_template
from didact.render.pretokens import pre_tokenizer
from didact.render.template import Template
from didact.render.template import template as template_named

_MULTIPLE = 64  # a matrix dimension that GPUs and BLAS like; padding it for real keeps exported models exact


class Tokenizer:
    """Text to ids and back.

    Every text is data: `<|user|>` in it is encoded as the characters it is made of, never as the reserved token.
    Reserved tokens are reached through `reserved` by whoever renders.
    """

    def __init__(self, whole: tokenizers.Tokenizer, template: Template | JinjaTemplate) -> None:
        """Wrap one of the library's that has all reserved tokens of the template, and is not changed any more."""
        description: dict[str, Any] = orjson.loads(whole.to_str(pretty=False))
        self.description = description
        """The content of its tokenizer.json."""
        self.template = template
        self._whole = whole
        self._byte_pairs = BytePairs(description["model"]) if is_supported(description) else None
        known = {token: self._whole.token_to_id(token) for token in template.reserved}
        self.reserved: dict[str, int] = {token: token_id for token, token_id in known.items() if token_id is not None}
        """Id of each reserved token of the template."""
        self.vocab_size: int = self._whole.get_vocab_size(with_added_tokens=True)
        """Rows of the embedding: a multiple of 64, unused ids included."""
        self.digest: str = content_hash([_what_decides_ids(description), template.model_dump()])
        """32 hex digits over everything that decides ids; equal digests render equal ids."""

    @cached_property
    def _literal(self) -> tokenizers.Tokenizer:
        """The vocabulary without reserved tokens; made when it is needed, as kernels do without."""
        return tokenizers.Tokenizer.from_str(orjson.dumps(_without_added_tokens(self.description)).decode())

    def with_template(self, template: Template | JinjaTemplate) -> Tokenizer:
        """The same vocabulary with another template, whose reserved tokens it has."""
        return Tokenizer(self._whole, template)

    @property
    def bos_id(self) -> int:
        """Id before a plain document."""
        return self.reserved[self.template.start_of_text]

    @property
    def end_id(self) -> int:
        """Id that ends an assistant's turn."""
        return self.reserved[self.template.end_of_turn]

    @property
    def end_of_text_id(self) -> int:
        """Id that ends a plain document; the same as `end_id` in some templates."""
        return self.reserved[self.template.end_of_text]

    @property
    def pad_id(self) -> int:
        """Id that fills up a batch."""
        return self.reserved[self.template.pad]

    @property
    def id_type(self) -> type[np.uint16] | type[np.uint32]:
        """Smallest unsigned type that holds every id."""
        return np.uint16 if self.vocab_size <= 1 << 16 else np.uint32

    def encode(self, text: str) -> list[int]:
        """Ids of a text, taken literally; no mark is added."""
        try:
            ids: list[int] = self._literal.encode(text, add_special_tokens=False).ids
        except (UnicodeEncodeError, TypeError) as error:
            raise DataError(f"a text cannot be encoded ({error}); remove lone surrogates from it") from error
        return ids

    def encode_many(self, texts: Sequence[str] | pa.Array, threads: int = 1) -> Encoded:
        """Ids of many texts in one array; the same ids as `encode`, for any number of threads.

        An Arrow string array is read in place. About 70 MB of text a second and thread on a vocabulary learned here;
        other files take the way of the `tokenizers` library, at about a thirtieth of that.
        """
        if self._byte_pairs is not None and self._byte_pairs.worth(_size(texts)):
            return self._byte_pairs.encode(texts, threads)
        lists = [self.encode(text) for text in (texts.to_pylist() if isinstance(texts, pa.Array) else texts)]
        bounds = np.cumsum([0, *map(len, lists)], dtype=np.int64)
        flat = itertools.chain.from_iterable(lists)
        return Encoded(np.fromiter(flat, dtype=np.int32, count=int(bounds[-1])), bounds)

    def encode_batch(self, texts: Sequence[str], threads: int = 1) -> list[list[int]]:
        """Ids of each text."""
        ids, bounds = self.encode_many(texts, threads)
        flat = ids.tolist()
        return [flat[start:stop] for start, stop in itertools.pairwise(bounds.tolist())]

    def count_batch(self, texts: Sequence[str] | pa.Array, threads: int = 1) -> NDArray[np.int32]:
        """Number of ids of each text, (n,) int32."""
        if self._byte_pairs is not None and self._byte_pairs.worth(_size(texts)):
            return self._byte_pairs.count(texts, threads).astype(np.int32)
        return np.diff(self.encode_many(texts, threads).bounds).astype(np.int32)

    def decode(self, ids: Iterable[int], *, reserved: bool = False) -> str:
        """Text of ids. Reserved tokens are left out unless asked for; bytes that are not UTF-8 become U+FFFD."""
        text: str = self._whole.decode(list(ids), skip_special_tokens=not reserved)
        return text

    def decode_batch(self, batch: Sequence[Sequence[int]]) -> list[str]:
        """Text of each list of ids, reserved tokens left out."""
        return [self.decode(ids) for ids in batch]

    def token_bytes(self) -> NDArray[np.int32]:
        """Bytes of text behind each id, (vocab_size,) int32; 0 for reserved and unused ids.

        Known only for byte-level vocabularies, where a token's spelling has one character a byte.
        """
        lengths = np.zeros(self.vocab_size, dtype=np.int32)
        for token, token_id in self._literal.get_vocab(with_added_tokens=False).items():
            lengths[token_id] = len(token)
        lengths[list(self._whole.get_added_tokens_decoder())] = 0
        return lengths

    def save(self, folder: Path) -> None:
        """Write tokenizer.json, its Hugging Face configuration with the chat template, and template.json."""
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **self.template.tokens(),
            "clean_up_tokenization_spaces": False,
            "chat_template": self.template.jinja(),
        }
        contents: dict[str, Any] = {
            "tokenizer_config.json": config,
            "special_tokens_map.json": self.template.tokens(),
            "template.json": self.template.model_dump(),
        }
        for name, content in contents.items():
            write_atomic(folder / name, orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        write_atomic(folder / "tokenizer.json", self._whole.to_str(pretty=False).encode())

    @classmethod
    def load(
        cls,
        path: Path,
        template: Template | Literal["own"] | None = None,
        values: Mapping[str, str | int | bool] = MappingProxyType({}),
    ) -> Tokenizer:
        """Read a folder that `save` wrote, or any tokenizer.json together with the template to use on it.

        A template.json beside the file wins. Without a given template the folder's own chat template is taken: the
        built-in one that writes the same, else itself once it has passed the probes; "own" asks for itself. `values`
        are set in it. Reserved tokens that the file lacks are appended. Raises InputMissing, and CallError when the
        file is not a tokenizer, no template is known, or it fails a probe.
        """
        file = path / "tokenizer.json" if path.is_dir() else path
        if not file.is_file():
            raise InputMissing(file, "tokenizer file", "expected a tokenizer.json or a folder with one")
        stored = file.with_name("template.json")
        if stored.is_file():
            return cls._with(file, _read_template(stored))
        if isinstance(template, Template):
            return cls._with(file, template)
        own = own_template(file.parent)
        known = None if template == "own" or values else own.recognised()
        return cls._with(file, known) if known is not None else cls._with_own(file, own, values)

    @classmethod
    def _with(cls, file: Path, template: Template | JinjaTemplate) -> Tokenizer:
        whole = _opened(file)
        _reserve(whole, template)
        return cls(whole, template)

    @classmethod
    def _with_own(cls, file: Path, own: OwnTemplate, values: Mapping[str, str | int | bool]) -> Tokenizer:
        from didact.render.probes import accepted

        trial = cls(_opened(file), template_named("didact"))
        return cls._with(file, accepted(trial, own.with_values(values), own.named, str(file.parent)))


def _opened(file: Path) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception for every broken file
        raise CallError(f"{file}: not a tokenizer.json ({error})") from error


def train_tokenizer(texts: Iterable[str], settings: TokenizerSettings) -> Tokenizer:
    """Learn a vocabulary from the first `sample_bytes` of the texts; the same texts give the same tokenizer anywhere.

    Reserved tokens have the first ids, then the 256 bytes, then merges in the order learned, then unused rows up to a
    multiple of 64. Little text gives a vocabulary smaller than asked for. With `settings.file` that file is loaded.
    """
    if settings.file is not None:
        named = settings.template
        wanted: Template | Literal["own"] | None = "own" if named == "own" else template_named(named) if named else None
        return Tokenizer.load(settings.file, wanted, settings.template_values)
    chosen = template_named(settings.template or "didact")
    from didact.render.learning import learn

    sample = list(_sample(texts, settings.sample_bytes))
    learner = tokenizers.Tokenizer(learn(sample, chosen.reserved, settings.vocab_size, settings.min_frequency))
    learner.pre_tokenizer = pre_tokenizer()
    learner.decoder = decoders.ByteLevel()
    _reserve(learner, chosen)
    return Tokenizer(learner, chosen)


def _sample(texts: Iterable[str], size: int) -> Iterator[str]:
    """Texts up to the one that reaches the number of bytes."""
    for text in texts:
        yield text
        size -= len(text.encode())
        if size <= 0:
            return


def _reserve(whole: tokenizers.Tokenizer, template: Template | JinjaTemplate) -> None:
    """Make the template's tokens special, and fill the vocabulary up to a multiple of 64 with unused ones."""
    whole.add_special_tokens(list(template.reserved))
    highest = max(whole.get_vocab(with_added_tokens=True).values())
    fill = range(highest + 1, -(-(highest + 1) // _MULTIPLE) * _MULTIPLE)
    whole.add_special_tokens([f"<|unused_{number}|>" for number in fill])


def _without_added_tokens(description: dict[str, Any]) -> dict[str, Any]:
    return description | {"added_tokens": [], "post_processor": None, "truncation": None, "padding": None}


def _what_decides_ids(description: dict[str, Any]) -> dict[str, Any]:
    """The parts of a tokenizer.json that decide ids, without what versions of the library add to the file."""
    model = description["model"]
    added = [[token["id"], token["content"]] for token in description["added_tokens"]]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model.get("merges", [])]
    kept = {"vocab": model["vocab"], "merges": merges, "added": added}
    return kept | {part: description.get(part) for part in ("normalizer", "pre_tokenizer")}


def _size(texts: Sequence[str] | pa.Array) -> int:
    """Characters of the texts, or their bytes where these are known."""
    return int(texts.nbytes) if isinstance(texts, pa.Array) else sum(map(len, texts))


def _read_template(path: Path) -> Template | JinjaTemplate:
    content = path.read_bytes()
    try:
        return (JinjaTemplate if b'"source"' in content else Template).model_validate_json(content)
    except ValidationError as error:
        raise CallError(f"{path}: not a template ({error.errors()[0]['msg']})") from error
