"""The encoder: sees both ways and only its own document, hides tokens by key alone, opens in transformers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_fit import files_of, stop_at
from tiny_recipe import tiny, write_inputs
from toy_training import BOS, END, VOCABULARY, ToyShards, ToyTokenizer, counting_shards, shards_of

from didact.errors import CallError, DataError, Interrupted
from didact.evaluate.labelled import Labelled, label_set, measure_classifier
from didact.model.attention import DocumentAttention
from didact.model.checkpoint import load_decoder, load_model, resolve, save_checkpoint, write_model
from didact.model.classifier import Classifier
from didact.model.classify import LabelledShards, label_counts, macro_f1, predict, train_classifier
from didact.model.encoder import encoder_config, train_encoder
from didact.model.fit import FitResult, Progress
from didact.model.masked import Alphabet, MaskedPlan
from didact.model.speak import Speaker
from didact.model.transformer import Decoder
from didact.recipe.training import ClassifierSettings, EncoderSettings, ModelSettings
from didact.run import evaluate, run

SHAPE = ModelSettings(depth=2, width=32, heads=2, kv_heads=1, ffn=64, context=16)
ALPHABET = Alphabet(np.arange(VOCABULARY) > 2, VOCABULARY)


class Tokens(ToyTokenizer):
    """A tokenizer whose ids above 2 have text."""

    def token_bytes(self) -> NDArray[np.int32]:
        """One byte each."""
        return (np.arange(self.vocab_size) > 2).astype(np.int32)


def toy_encoder(seed: int = 0, labels: tuple[str, ...] | None = None) -> Decoder:
    """An encoder, or a classifier, whose every weight matters."""
    config = encoder_config(SHAPE, Tokens())
    model = Decoder(config) if labels is None else Classifier(config, labels)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.dim() == 1 else 0.0, 0.2, generator=generator)
    return model


def masked(shards: ToyShards, context: int = 16, at_once: int = 64, share: float = 0.15) -> MaskedPlan:
    """A plan over toy documents."""
    return MaskedPlan(shards, context, 128, at_once, "split", 3, ALPHABET, share)


def train(folder: Path, on_progress: Callable[[Progress], None] | None = None, **changes: Any) -> FitResult:
    """A short training on documents that count."""
    given = {"batch_tokens": 256, "epochs": 1, "eval_every": 5, "log_every": 1, "keep_last": 9, "mask": 0.3} | changes
    settings = EncoderSettings.model_validate(given)
    return train_encoder(
        SHAPE, settings, counting_shards(160), counting_shards(20, 9), Tokens(), folder, 1, on_progress, threads=1
    )


def test_tokens_see_both_ways_and_never_another_document() -> None:
    """Packed logits are those of each document alone; a later token changes an earlier one's, another document none."""
    model = toy_encoder()
    lengths = np.array([5, 9, 2, 9, 16])
    ids = torch.from_numpy(np.random.default_rng(0).integers(3, VOCABULARY, lengths.sum()))
    places = torch.from_numpy(np.concatenate([np.arange(length) for length in lengths]))[None]
    attend = DocumentAttention(lengths, both_ways=True)
    packed = model(ids[None], places, attend)[0]
    start = 0
    for length in lengths.tolist():
        alone = model(ids[None, start : start + length])[0]
        assert torch.allclose(packed[start : start + length], alone, atol=1e-5)
        start += length
    other = ids.clone()
    other[4] = (other[4] + 1) % VOCABULARY
    changed = model(other[None], places, attend)[0]
    assert torch.equal(changed[5:], packed[5:])
    assert (changed[0] - packed[0]).abs().max() > 1e-3


@given(st.lists(st.integers(1, 40), min_size=1, max_size=20), st.sampled_from([0.05, 0.15, 0.5]), st.integers(4, 32))
def test_hidden_tokens_depend_on_their_key_alone(lengths: list[int], share: float, context: int) -> None:
    """However documents are packed and cut into passes, the same places are hidden, at least one in each piece."""
    shards = shards_of(lengths)
    shards.ids[shards.bounds[:-1]] = BOS
    if not any(length > 1 for length in lengths):
        return
    seen: list[dict[tuple[int, int, int], tuple[int, float]]] = []
    for at_once in (context, 10_000):
        found: dict[tuple[int, int, int], tuple[int, float]] = {}
        plan = masked(shards, context, at_once, share)
        for step in range(plan.steps_per_epoch):
            for batch in plan.step(step):
                document = np.repeat(np.arange(len(batch.lengths)), batch.lengths)
                assert (np.bincount(document, batch.weights) >= 1).all()
                assert not batch.weights[batch.targets == BOS].any()
                for place, piece in enumerate(document.tolist()):
                    key = (int(batch.documents[piece]), int(batch.targets[place]), int(batch.positions[place]))
                    found[key] = (int(batch.ids[place]), float(batch.weights[place]))
        seen.append(found)
    assert seen[0] == seen[1]


def test_shares_of_hidden_tokens_are_bert_s() -> None:
    """15 % are targets, of which about 80 % show the mask, 10 % another token, 10 % themselves; epochs differ."""
    plan = masked(shards_of([16] * 2000), at_once=1 << 20)
    batches = plan.first_rows(10**6)
    ids, targets, weights = (np.concatenate([getattr(b, n) for b in batches]) for n in ("ids", "targets", "weights"))
    assert weights.mean() == pytest.approx(2 / 16)  # 15 % of 16, to the nearest
    hit = weights > 0
    assert (ids[~hit] == targets[~hit]).all()
    assert (ids[hit] == ALPHABET.mask).mean() == pytest.approx(0.8, abs=0.02)
    assert (ids[hit] == targets[hit]).mean() == pytest.approx(0.1 + 0.1 / 61, abs=0.02)
    assert ALPHABET.ordinary[ids[hit][ids[hit] != ALPHABET.mask]].all()
    assert plan.report()["trained_tokens"] == hit.sum()
    again = plan.step(plan.steps_per_epoch)[0]
    assert not np.array_equal(np.sort(again.ids[again.weights > 0]), np.sort(ids[hit]))


def test_training_learns_resumes_exactly_and_is_refused_where_text_is_wanted(tmp_path: Path) -> None:
    """The loss falls below chance; an interrupted run ends with the same bytes; nothing generates with an encoder."""
    straight = train(tmp_path / "straight", epochs=6)
    assert straight.validations[-1]["loss"] < 0.85 * np.log(VOCABULARY)
    with pytest.raises(Interrupted):
        train(tmp_path / "resumed", stop_at(7), epochs=6)
    resumed = train(tmp_path / "resumed", epochs=6)
    assert files_of(resumed.last) == files_of(straight.last)
    assert load_model(straight.best).config.bidirectional
    with pytest.raises(CallError, match="is an encoder, which reads text and writes none"):
        load_decoder(straight.best)
    with pytest.raises(CallError, match="is an encoder"):
        Speaker.load(straight.best)


@pytest.mark.filterwarnings("ignore")
def test_transformers_opens_encoder_and_classifier(tmp_path: Path) -> None:
    """AutoModelForMaskedLM and AutoModelForSequenceClassification compute the same logits, padded or not."""
    from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification

    ids = torch.from_numpy(np.random.default_rng(0).integers(3, VOCABULARY, (2, 12)))
    encoder = toy_encoder(1)
    write_model(tmp_path / "encoder", encoder)
    theirs = AutoModelForMaskedLM.from_pretrained(tmp_path / "encoder", attn_implementation="eager")
    with torch.no_grad():
        assert torch.allclose(theirs(ids).logits, encoder(ids), atol=1e-5)
    assert theirs.config.mask_token_id == VOCABULARY
    again = load_model(tmp_path / "encoder")
    assert torch.equal(again(ids), encoder(ids))

    classifier = toy_encoder(2, ("no", "yes", "maybe"))
    assert isinstance(classifier, Classifier)
    write_model(tmp_path / "classifier", classifier)
    loaded = load_model(tmp_path / "classifier")
    assert isinstance(loaded, Classifier)
    assert loaded.labels == ("no", "yes", "maybe")
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "classifier")
    lengths = torch.tensor([12, 7])
    mask = torch.arange(12) < lengths[:, None]
    flat, places = ids[mask][None], torch.cat([torch.arange(12), torch.arange(7)])[None]
    attend = DocumentAttention(lengths.numpy(), both_ways=True)
    with torch.no_grad():
        mine = loaded.scores(flat, places, attend, lengths)
        assert torch.allclose(theirs(ids, attention_mask=mask.long()).logits, mine, atol=1e-5)
    assert theirs.config.id2label == {0: "no", 1: "yes", 2: "maybe"}


def labelled(texts: int, seed: int = 0) -> LabelledShards:
    """Texts of random ids, labelled by whether most of them are small."""
    rng = np.random.default_rng(seed)
    documents, labels = [], []
    for _ in range(texts):
        label = int(rng.integers(0, 3))
        body = rng.integers(3 + 20 * label, 23 + 20 * label, int(rng.integers(2, 12)))
        documents.append(np.concatenate([[BOS], body, [END]]))
        labels.append(label)
    bounds = np.cumsum([0, *map(len, documents)]).astype(np.int64)
    ids = np.concatenate(documents).astype(np.int32)
    zero = np.zeros(len(ids), np.uint8)
    return LabelledShards(ids, zero, bounds, np.array(labels), np.zeros(texts, np.int32), ["toy"])


def classify(
    folder: Path, init: Path | None, on_progress: Callable[[Progress], None] | None = None, **changes: Any
) -> FitResult:
    """A short training of a classifier."""
    given = {"batch_tokens": 256, "epochs": 2, "eval_every": 5, "log_every": 1, "keep_last": 9} | changes
    settings = ClassifierSettings.model_validate(given)
    return train_classifier(
        settings, ["a", "b", "c"], init, SHAPE, labelled(200), labelled(60, 9), Tokens(), folder, 1, on_progress,
        threads=1,
    )  # fmt: skip


def test_a_classifier_learns_and_resumes_exactly(tmp_path: Path) -> None:
    """From an encoder it learns what can be told; stopped and gone on with, it ends with the same bytes."""
    init = save_checkpoint(tmp_path / "encoder", 0, toy_encoder(1), {"tokenizer": "toy"})
    straight = classify(tmp_path / "straight", init)
    measures = straight.validations[-1]["measures"]
    assert measures["accuracy"] > 0.9 and measures["macro_f1"] > 0.9
    with pytest.raises(Interrupted):
        classify(tmp_path / "resumed", init, stop_at(7))
    resumed = classify(tmp_path / "resumed", init)
    assert files_of(resumed.last) == files_of(straight.last)
    model, held = load_model(straight.last), labelled(60, 9)
    assert isinstance(model, Classifier)
    said = predict(model, held.ids, held.bounds)
    assert (said == held.labels).mean() == pytest.approx(measures["accuracy"])
    for one in range(5):
        alone = held.ids[held.bounds[one] : held.bounds[one + 1]]
        assert predict(model, alone, np.array([0, len(alone)]))[0] == said[one]
    with pytest.raises(CallError, match="is a classifier"):
        load_decoder(straight.last)


def test_a_decoder_is_no_start_for_a_classifier(tmp_path: Path) -> None:
    """A classifier starts from an encoder or from nothing."""
    from toy_training import toy_model

    write_model(tmp_path / "decoder", toy_model())
    with pytest.raises(CallError, match="is a decoder"):
        classify(tmp_path / "run", tmp_path / "decoder")


@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_macro_f1_is_the_mean_of_each_label_s_f1(pairs: list[tuple[int, int]]) -> None:
    """Against the definition by precision and recall; a label neither true nor said does not count."""
    true, said = (np.array(column) for column in zip(*pairs, strict=True))
    scores = []
    for label in range(4):
        right = int(((true == label) & (said == label)).sum())
        there, claimed = int((true == label).sum()), int((said == label).sum())
        if there + claimed == 0:
            continue
        precision, recall = (right / n if n else 0.0 for n in (claimed, there))
        scores.append(2 * precision * recall / (precision + recall) if right else 0.0)
    assert macro_f1(label_counts(true, said, 4)) == pytest.approx(np.mean(scores))


WORDS = {"sports": "goal match team score", "money": "bank market stock price", "food": "soup bread salt oven"}


def write_news(folder: Path) -> None:
    """Labelled texts that a few words give away."""
    rng = np.random.default_rng(0)
    rows = []
    for n in range(240):
        label = list(WORDS)[n % 3]
        words = rng.choice([*WORDS[label].split(), "the", "a", "day", "one", "many"], 12)
        rows.append({"text": f"{' '.join(words)} {n}", "label": label})
    (folder / "news.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_a_run_trains_encoder_and_classifier_and_measures_it(tmp_path: Path) -> None:
    """From a recipe without a decoder: both phases, accuracy and macro-F1 beside their baselines, again by evaluate."""
    write_inputs(tmp_path)
    write_news(tmp_path)
    phase = {"batch_tokens": 1024, "log_every": 1}
    recipe = tiny(
        tmp_path,
        model={"depth": 1, "width": 32, "heads": 2, "ffn": 32, "context": 64},
        encoder=phase | {"epochs": 2},
        classifier=phase | {"epochs": 12, "sources": ["news"], "learning_rate": 0.01},
        mixes={"finetune": {"sources": {"stories": {"epochs": 1}, "news": {"epochs": 1}}}},
        filters=[],
        dedup={"minhash": None},
    )
    recipe["sources"]["news"] = {"path": str(tmp_path / "news.jsonl"), "format": "classification"}
    result = run(recipe, workers=1, threads=1)
    assert list(result.phases) == ["encoder", "classifier"]
    assert resolve(result.folder) == result.phases["classifier"].best
    accuracy, f1 = result.evaluations["classifier"]["tasks"]
    assert (accuracy["metric"], f1["metric"]) == ("accuracy", "macro_f1")
    assert accuracy["score"]["low"] <= accuracy["score"]["mean"] <= accuracy["score"]["high"]
    assert f1["score"]["low"] <= f1["score"]["mean"] <= f1["score"]["high"]
    assert accuracy["score"]["mean"] > accuracy["chance"]
    assert f1["neighbour"] is not None
    found = json.loads(json.dumps(evaluate(result.phases["classifier"].best, recipe, threads=1).as_json()))
    assert found["tasks"] == result.evaluations["classifier"]["tasks"]
    with pytest.raises(CallError, match="is an encoder"):
        evaluate(result.phases["encoder"].best, recipe | {"evaluate": {}}, threads=1)


def test_answers_in_words_are_no_labels() -> None:
    """Free answers are refused with the way out; one label alone too."""
    from didact.evaluate.items import Item

    def items(answers: list[str]) -> Labelled:
        return Labelled([Item("t", str(n), (), (answer,), source="s") for n, answer in enumerate(answers)])

    with pytest.raises(DataError, match="different answers"):
        label_set(items([str(n) for n in range(50)]), 20)
    with pytest.raises(DataError, match=r"classifier\.sources"):
        label_set(items(["same"] * 9), 20)
    assert label_set(items(["b", "a", "b"]), 20) == ("a", "b")


def test_an_unseen_label_counts_as_wrong(tmp_path: Path) -> None:
    """Held-out records with a label that training never had are asked, and lost."""
    from small_tokenizer import small_tokenizer

    from didact.evaluate.items import Item

    tokenizer = small_tokenizer()
    model = Classifier(encoder_config(SHAPE, tokenizer), ("a", "b")).initialise(0)
    assert isinstance(model, Classifier)
    folder = save_checkpoint(tmp_path, 0, model.initialise_head(0), {}, save_tokenizer=tokenizer.save)

    def of(labels: str) -> Labelled:
        ask = {"role": "user", "content": "hello"}
        return Labelled([Item("t", str(n), (ask,), (label,), source="s") for n, label in enumerate(labels)])

    accuracy, f1 = measure_classifier(folder, of("aaab"), of("acc"), 1)
    assert accuracy.score.mean <= 1 / 3
    assert accuracy.chance == pytest.approx(1 / 3)
    assert f1.score.n == 3


_TRAIN = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from test_encoder import classify, train
from didact.model.world import joined

with joined():
    train(Path(sys.argv[1]) / "encoder")
    classify(Path(sys.argv[1]) / "classifier", None)
"""


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """Losses and measures of both phases are the same with one process and with two, to 1e-5."""
    script = tmp_path / "train.py"
    script.write_text(_TRAIN.format(tests=str(Path(__file__).parent)))
    found: dict[int, list[float]] = {}
    for count in (1, 2):
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
        command = [sys.executable, *launch, str(script), str(tmp_path / str(count))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        found[count] = []
        for phase in ("encoder", "classifier"):
            text = (tmp_path / str(count) / phase / "metrics.jsonl").read_text()
            # The first line tells sizes and data, and has no loss.
            for line in (line for line in map(json.loads, text.splitlines()) if "loss" in line):
                found[count] += [line["loss"], *line.get("measures", {}).values()]
    assert len(found[1]) > 4
    assert found[2] == pytest.approx(found[1], abs=1e-5)
