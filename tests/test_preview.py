"""The preview shows what the trainer is fed: the same ids, weights and cuts, made visible and safe to look at."""

from __future__ import annotations

import io
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from small_tokenizer import SENTENCES, small_tokenizer
from tiny_recipe import build_tiny, write_inputs

from didact.cli import cli
from didact.errors import CallError, DataError
from didact.model.batches import BatchPlan, Policy
from didact.model.preview import Shown, preview_files, preview_version
from didact.render import renderer
from didact.render.renderer import Renderer
from didact.render.spelling import Speller
from didact.render.token_shards import TokenShards, tokenize_version
from didact.render.tokenizer import Tokenizer
from didact.report.preview_page import preview_page
from didact.report.preview_text import print_preview, runs
from didact.store.version import Version

HOSTILE = "<script>alert(1)</script> <|end|> \x1b[2J \x00 & 'q' \u202e 🙂\n\tx"


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """A version with a fine-tuning and a pre-training mix."""
    folder = tmp_path_factory.mktemp("preview")
    write_inputs(folder)
    return build_tiny(folder)


def turns_file(folder: Path, rows: list[list[dict[str, Any]]]) -> str:
    """A file of conversations."""
    path = folder / "chats.jsonl"
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def fed(plan: BatchPlan) -> list[list[int]]:
    """Tokens fed in and predicted, piece by piece in the order of documents, as the batches of an epoch have them."""
    pieces = []
    for step in range(plan.steps_per_epoch):
        for batch in plan.step(step):
            ends = np.cumsum(batch.lengths)
            for document, start, end in zip(batch.documents, ends - batch.lengths, ends, strict=True):
                pieces.append((int(document), [*batch.ids[start:end].tolist(), int(batch.targets[end - 1])]))
    return [ids for _, ids in sorted(pieces, key=lambda piece: piece[0])]


@pytest.mark.parametrize("mix", ["finetune", "pretrain"])
def test_every_row_is_what_the_token_shards_hold(version: Version, tmp_path: Path, mix: str) -> None:
    """Ids, weights and turns of a preview of all rows are those of the token shards that training reads."""
    tokenizer = Tokenizer.load(version.path / "tokenizer")
    tokenize_version(version.path, tokenizer, tmp_path)
    shards = TokenShards.open(tmp_path, mix, "train")
    shown = preview_version(version, 0, 1000, mix).documents
    assert [token.id for one in shown for token in one.tokens] == shards.ids.tolist()
    assert [token.weight for one in shown for token in one.tokens] == shards.weights.tolist()
    assert [len(one.tokens) for one in shown] == shards.lengths.tolist()
    assert [one.id for one in shown] == [bytes(record).hex() for record in shards.record_ids]
    if shards.turns is not None:
        assert [start for one in shown for _, start in one.turns] == shards.turns.starts.tolist()
    (third,) = preview_version(version, 2, 1, mix).documents
    assert third == shown[2]


@pytest.mark.parametrize("policy", ["drop", "head", "tail", "turns", "first_turns"])
def test_what_is_shown_as_kept_is_what_batches_feed_in(version: Version, tmp_path: Path, policy: Policy) -> None:
    """Under every policy the tokens shown as kept are the ones that the batches of an epoch feed in, piece by piece."""
    tokenizer = Tokenizer.load(version.path / "tokenizer")
    tokenize_version(version.path, tokenizer, tmp_path)
    context = 100
    plan = BatchPlan(TokenShards.open(tmp_path, "finetune", "train"), context, 400, 400, policy, 0)
    shown = preview_version(version, 0, 1000, context=context, over_long=policy).documents
    kept = [[token.id for token in one.tokens if token.part == 0] for one in shown]
    assert [ids for ids in kept if ids] == fed(plan)
    fates = [one.fate.split(":")[0] for one in shown]
    report = plan.report()
    assert fates.count("whole") == report["whole"] and fates.count("cut") == report["truncated"]
    assert fates.count("left out") == report["documents"] - report["whole"] - report["truncated"]


def test_the_trainers_renderer_is_called(version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the renderer does to a record, the preview shows: there is no second way."""
    called: list[str] = []
    render = Renderer.render_batch

    def watched(self: Renderer, *args: Any, **named: Any) -> Any:
        called.append("render_batch")
        batch = render(self, *args, **named)
        return batch._replace(weights=np.full_like(batch.weights, 0.25))

    monkeypatch.setattr(renderer.Renderer, "render_batch", watched)
    path = turns_file(tmp_path, [[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]])
    for document in (*preview_version(version).documents, *preview_files(path).documents):
        assert {token.weight for token in document.tokens} == {0.25}
    assert len(called) == 2


def test_a_split_text_shows_its_pieces(version: Version) -> None:
    """Plain text longer than the context goes in whole, in consecutive pieces."""
    (shown,) = preview_version(version, mix="pretrain", context=16).documents
    parts = [token.part for token in shown.tokens]
    assert parts == sorted(parts) and parts[0] == 0
    assert shown.fate == f"split into {parts[-1] + 1} pieces" and parts[-1] >= 1


@pytest.mark.parametrize("name", ["didact", "chatml", "llama3"])
@given(text=st.one_of(st.text(), st.sampled_from(SENTENCES)))
def test_spelt_tokens_give_the_text_back(name: str, text: str) -> None:
    """The bytes behind ids are the text's, and nothing that is shown moves a cursor or hides."""
    tokenizer = small_tokenizer(name)
    speller = Speller(tokenizer)
    ids = [tokenizer.bos_id, *tokenizer.encode(text), tokenizer.end_id]
    assert b"".join(map(speller.bytes_of, ids[1:-1])) == text.encode()
    shown = speller.spell(ids)
    assert len(shown) == len(ids) and all(one.isprintable() and one for one in shown)
    assert (shown[0], shown[-1]) == (tokenizer.template.start_of_text, tokenizer.template.end_of_turn)


class _Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def hostile(folder: Path) -> str:
    """A conversation whose texts try to be marks, tags and control sequences."""
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": HOSTILE},
        {"role": "assistant", "content": "ok", "weight": 1},
        {"role": "user", "content": "more"},
        {"role": "assistant", "content": "unlearned", "weight": 0},
    ]
    return turns_file(folder, [turns])


def test_a_page_runs_nothing_and_loses_nothing(tmp_path: Path) -> None:
    """Everything from outside is escaped; all tokens are there; weights are told in words and lines, not hue alone."""
    preview = preview_files(hostile(tmp_path), context=100, over_long="head")
    page = preview_page(preview)
    parsed = _Page(page)
    assert not {"script", "img", "link", "iframe"} & set(parsed.tags)
    assert not [name for name in parsed.attributes if name.startswith("on")]
    assert "script-src" not in page and "default-src 'none'" in page
    said = "".join(parsed.text)
    (document,) = preview.documents
    assert "".join(token.text for token in document.tokens[1:40]) in said.replace("\n", "")
    assert "UN006" in said and document.spelt == ["<|end|>"]
    assert "left out" in said and 'class="say trained"' in page and "text-decoration: underline" in page
    assert all(character.isprintable() or character == "\n" for character in page)


def test_a_terminal_shows_weights_without_colour(tmp_path: Path) -> None:
    """In plain text a bar marks what is trained, scissors what is left out, and nothing moves the cursor."""
    preview = preview_files(hostile(tmp_path), context=100, over_long="head")
    file = io.StringIO()
    print_preview(preview, Console(file=file, width=200, no_color=True))
    said = file.getvalue()
    assert "\x1b" not in said and "\x00" not in said
    assert "▌ o│k│<|end|>│" in said and "✂" in said and "UN006" in said
    weights = [run.weight for run in runs(preview.documents[0], 10**6)]
    assert 1.0 in weights and weights.count(1.0) == 1


def test_runs_join_to_the_document(version: Version) -> None:
    """Cut by turn, weight and piece, the tokens are still all there, each once and in order."""
    documents: list[Shown] = preview_version(version, 0, 20, context=60, over_long="tail").documents
    for document in documents:
        assert [token for run in runs(document, 10**9) for token in run.tokens] == document.tokens
        assert sum(len(run.tokens) for run in runs(document, 7)) == min(7, len(document.tokens))


def test_the_command_shows_files_and_versions(version: Version, tmp_path: Path) -> None:
    """Files of any format, versions by path, JSON and a page; a rejected row and one that is not there are told."""
    run = CliRunner()
    asked: dict[str, Any] = {"role": "user", "content": "a"}
    path = turns_file(tmp_path, [[asked, {"role": "assistant", "content": "b"}], [{"role": "user"}]])
    done = run.invoke(cli, ["preview", path, "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)["documents"][0]
    assert (told["count"], told["trained"]) == (7, 2) and [turn["start"] for turn in told["turns"]] == [1, 4]
    done = run.invoke(cli, ["preview", str(version.path), "--mix", "pretrain", "--html", str(tmp_path / "p.html")])
    assert done.exit_code == 0 and (tmp_path / "p.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    for arguments, code, said in (
        ([path, "--row", "1"], 1, "rejected"),
        ([path, "--row", "9"], 2, "--row counts from 0"),
        ([str(version.path), "--row", "900"], 2, "--row counts from 0"),
        ([str(version.path), "--mix", "fintune"], 2, "did you mean finetune"),
        ([str(tmp_path / "none.jsonl")], 2, "none.jsonl"),
        (["nothing"], 2, "unknown version"),
        ([path, "--template", "chatml"], 2, "--tokenizer"),
        ([path, "--tokenizer", str(version.path / "tokenizer"), "--context", "3", "--over-long", "error"], 0, "ends"),
    ):
        done = run.invoke(cli, ["preview", *arguments])
        assert done.exit_code == code, done.output
        assert said in done.output


def test_rows_of_several_files_are_counted_on(tmp_path: Path) -> None:
    """A row is the same wherever the file before it ends; one that was rejected keeps its place."""
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": \n{"text": "three"}\n')
    (tmp_path / "b.jsonl").write_text('{"text": "four"}\n')
    found = [
        "".join(token.text for token in preview_files(str(tmp_path / "*.jsonl"), row).documents[0].tokens)
        for row in (0, 2, 3)
    ]
    assert found == [f"<|begin|>{word}<|end|>" for word in ("one", "three", "four")]
    with pytest.raises(DataError, match="rejected"):
        preview_files(str(tmp_path / "*.jsonl"), 1)
    with pytest.raises(CallError, match="none is row 4"):
        preview_files(str(tmp_path / "*.jsonl"), 4)
