"""Preference tuning: the loss of others to the last digit, pairs never torn, exact resume, prompts never trained."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_tokenizer import small_tokenizer
from test_fit import files_of, stop_at
from tiny_recipe import tiny, write_inputs
from toy_training import VOCABULARY, ToyShards, ToyTokenizer, toy_model

from didact.durable import write_json
from didact.errors import CheckpointError, DataError, Interrupted, NoTrainedTokens
from didact.model import checkpoint
from didact.model.checkpoint import load_model, save_checkpoint, write_model
from didact.model.config import derive_config
from didact.model.fit import FitResult, Progress, accumulate
from didact.model.loss import answer_log_probabilities
from didact.model.pairs import LabelledPairShards, PairPlan, cut_pairs, with_reference
from didact.model.preference import Preference, tune_preferences
from didact.model.transformer import Decoder
from didact.recipe.load import Recipe
from didact.recipe.training import ModelSettings, PreferenceSettings
from didact.render.token_shards import TokenShards, tokenize_version
from didact.run import run

TURN = pa.struct([("role", pa.string()), ("content", pa.string())])


def said(role: str, content: str) -> dict[str, str]:
    """One message."""
    return {"role": role, "content": content}


PAIRS: list[dict[str, Any]] = [
    {
        "prompt": [said("system", "Be brief."), said("user", f"Sort {n} 3 1 and add them.")],
        "chosen": [said("assistant", f"The numbers 1 3 {n}.")],
        "rejected": [said("assistant", f"It didn't stop: hello, {n} hello {'and ' * n}")],
    }
    for n in range(1, 7)
]


def pair_shards(pairs: int, seed: int = 0, learnable: bool = False) -> ToyShards:
    """Random prompts of 3 tokens with two answers each; `learnable`: the chosen one consists of small ids."""
    rng = np.random.default_rng(seed)
    texts, weights = [], []
    for document in range(2 * pairs):
        if document % 2 == 0:
            prompt = rng.integers(3, VOCABULARY, 3).tolist()
        low, high = ((3, 30) if document % 2 == 0 else (30, VOCABULARY)) if learnable else (3, VOCABULARY)
        answer = rng.integers(low, high, int(rng.integers(1, 9))).tolist()
        texts += [1, *prompt, *answer, 2]
        weights.append([0] * 4 + [1] * (len(answer) + 1))
    bounds = np.cumsum([0, *map(len, weights)]).astype(np.int64)
    return ToyShards(np.array(texts, np.uint16), np.concatenate(weights).astype(np.uint8), bounds)


def tune(folder: Path, base: Path, on_progress: Callable[[Progress], None] | None = None, **changes: Any) -> FitResult:
    """A short tuning on pairs whose chosen answers can be told from the rejected ones."""
    given = {"batch_tokens": 256, "epochs": 1, "eval_every": 5, "log_every": 1, "keep_last": 9} | changes
    settings = PreferenceSettings.model_validate({"learning_rate": 0.003} | given)
    shards, held = pair_shards(160, learnable=True), pair_shards(30, 9, learnable=True)
    return tune_preferences(settings, base, shards, held, ToyTokenizer(), folder, 1, on_progress, threads=1)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base folder beside the runs."""
    write_model(tmp_path / "base", toy_model(5))
    return tmp_path / "base"


def validations(folder: Path) -> list[dict[str, Any]]:
    """The lines of the metrics about validation."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == "validation"]


def plain_scores(model: Decoder, shards: ToyShards) -> torch.Tensor:
    """Log P(answer) of each document by itself, from whole logits: the definition, written out; (pairs, 2)."""
    found = []
    for start, stop in zip(shards.bounds, shards.bounds[1:], strict=False):
        ids = torch.from_numpy(shards.ids[start:stop].astype(np.int64))
        probabilities = model(ids[None, :-1])[0].double().log_softmax(-1)
        chosen = probabilities[torch.arange(len(ids) - 1), ids[1:]]
        found.append((chosen * torch.from_numpy(shards.weights[start + 1 : stop].astype(np.float64))).sum())
    return torch.stack(found).view(-1, 2)


@pytest.mark.parametrize(
    "given", [{}, {"beta": 0.7, "label_smoothing": 0.2}, {"length_normalised": True}], ids=["plain", "smooth", "mean"]
)
def test_loss_and_gradients_are_the_formula_s(given: dict[str, Any]) -> None:
    """The loss of packed pairs and every gradient equal DPO written out over whole logits, pair by pair."""
    settings = PreferenceSettings.model_validate(given)
    shards, reference_model, model = pair_shards(7), toy_model(1), toy_model(2)
    reference = plain_scores(reference_model, shards).detach()
    plan = PairPlan(shards, 32, 4096, 64, "drop", 0, reference.numpy())
    loss = accumulate(model, plan.step(0), 7.0, Preference(settings))

    other = toy_model(2)
    ratio = plain_scores(other, shards) - reference
    if settings.length_normalised:
        lengths = [float(shards.weights[a:b].sum()) for a, b in zip(shards.bounds, shards.bounds[1:], strict=False)]
        ratio = ratio / torch.tensor(lengths, dtype=torch.float64).view(-1, 2)
    z = (5.0 if settings.length_normalised else settings.beta or 0.1) * (ratio[:, 0] - ratio[:, 1])
    e = settings.label_smoothing
    expected = (-(1 - e) * torch.log(torch.sigmoid(z)) - e * torch.log(1 - torch.sigmoid(z))).mean()
    expected.backward()  # type: ignore[no-untyped-call]
    assert loss == pytest.approx(expected.item(), abs=1e-6)
    for (name, mine), (_, theirs) in zip(model.named_parameters(), other.named_parameters(), strict=True):
        assert mine.grad is not None and theirs.grad is not None
        assert torch.allclose(mine.grad, theirs.grad, atol=2e-5 * float(theirs.grad.abs().max() + 1e-3)), name


def version_of_pairs(folder: Path) -> Path:
    """A version with a preference mix."""
    columns: dict[str, Any] = {
        "id": pa.array([f"{n:032x}" for n in range(len(PAIRS))]),
        "source": pa.array(["a" if n % 2 else "b" for n in range(len(PAIRS))]),
        "epoch": pa.array([0] * len(PAIRS), pa.int32()),
    }
    for name in ("prompt", "chosen", "rejected"):
        columns[name] = pa.array([pair[name] for pair in PAIRS], pa.list_(TURN))
    (folder / "data" / "preference").mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "data" / "preference" / "train-00000-of-00001.parquet")
    write_json(folder / "manifest.json", {"made": "for a test"})
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_trl_computes_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """TRL's DPOTrainer over the same checkpoints, from the words on: ids, log-probabilities and loss to 1e-5."""
    import datasets
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    datasets.disable_progress_bars()
    tokenizer = small_tokenizer()
    shape = ModelSettings(depth=2, width=64, heads=2, context=128)
    config = derive_config(shape, tokenizer.vocab_size, tokenizer.bos_id, tokenizer.end_id, tokenizer.pad_id)
    models = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = Decoder(config)
        models.append(model)
        save_checkpoint(tmp_path / str(seed), 0, model, {}, save_tokenizer=tokenizer.save)
    folders = [tmp_path / str(seed) / "step-0" for seed in (1, 2)]

    tokenize_version(version_of_pairs(tmp_path / "version"), tokenizer, tmp_path / "tokens")
    shards = TokenShards.open(tmp_path / "tokens", "preference", "train")
    plan = PairPlan(shards, 128, 1 << 20, 1 << 20, "drop", 0)
    (batch,) = plan.step(0)
    with torch.no_grad():
        reference = np.zeros((len(PAIRS), 2))
        reference[batch.documents[::2] // 2] = answer_log_probabilities(models[0], batch).view(-1, 2).numpy()
    settings = PreferenceSettings(beta=0.3)
    judged = Preference(settings).plan(with_reference(shards, reference), 128, 1 << 20, 1 << 20, "drop", 0)
    ours = Preference(settings).scores(models[1], judged.step(0)[0])

    theirs = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(folders[1]),
        ref_model=AutoModelForCausalLM.from_pretrained(folders[0]),
        args=DPOConfig(
            output_dir=str(tmp_path / "trl"), beta=0.3, per_device_train_batch_size=len(PAIRS), report_to=[],
            disable_dropout=True, max_length=None, use_cpu=True, bf16=False,
        ),
        train_dataset=datasets.Dataset.from_list(PAIRS),
        processing_class=AutoTokenizer.from_pretrained(folders[0]),
    )  # fmt: skip
    inputs = theirs.data_collator([theirs.train_dataset[n] for n in range(len(PAIRS))])
    loss = theirs._compute_loss(theirs.model, inputs, return_outputs=False)
    metrics = {name: values[-1] for name, values in theirs._metrics["eval"].items()}
    for place, (ids, mask) in enumerate(zip(inputs["input_ids"], inputs["completion_mask"], strict=True)):
        document = 2 * (place % len(PAIRS)) + place // len(PAIRS)
        own = slice(*shards.bounds[document : document + 2])
        length = own.stop - own.start
        assert ids[:length].tolist() == shards.ids[own].tolist()
        assert mask[:length].tolist() == shards.weights[own].tolist()
    assert ours.loss.mean().item() == pytest.approx(loss.item(), abs=1e-5)
    chosen, rejected = answer_log_probabilities(models[1], batch).view(-1, 2).mean(0).tolist()
    assert chosen == pytest.approx(metrics["logps/chosen"], rel=1e-5)
    assert rejected == pytest.approx(metrics["logps/rejected"], rel=1e-5)
    assert ours.rewards[:, 0].mean().item() == pytest.approx(metrics["rewards/chosen"], abs=1e-5)
    assert float((ours.margin > 0).double().mean()) == pytest.approx(metrics["rewards/accuracies"])


def test_pairs_are_two_documents_whose_prompts_carry_no_weight(tmp_path: Path) -> None:
    """Token shards of a preference mix: chosen, then rejected, of each record; an assistant in the prompt is silent."""
    PAIRS.append(
        {
            "prompt": [said("user", "hello"), said("assistant", "hello"), said("user", "numbers")],
            "chosen": [said("assistant", "3 1 2")],
            "rejected": [said("assistant", "no")],
        }
    )
    try:
        tokenize_version(version_of_pairs(tmp_path / "version"), small_tokenizer(), tmp_path / "tokens")
    finally:
        PAIRS.pop()
    shards = TokenShards.open(tmp_path / "tokens", "preference", "train")
    assert len(shards) == 14
    assert shards.described["records"] == 7
    assert shards.record_ids[::2].tolist() == shards.record_ids[1::2].tolist()
    decoded = []
    for start, stop in zip(shards.bounds, shards.bounds[1:], strict=False):
        trained = shards.ids[start:stop][shards.weights[start:stop] > 0]
        decoded.append(small_tokenizer().decode(trained.tolist()))
    expected = [pair[side][0]["content"] for pair in PAIRS for side in ("chosen", "rejected")]
    assert decoded == [*expected, "3 1 2", "no"]


def test_tuning_lowers_the_loss_and_raises_the_accuracy(tmp_path: Path, base: Path) -> None:
    """From log 2 and one half, where a reference stands towards itself, on pairs not trained on."""
    result = tune(tmp_path / "run", base, epochs=3)
    found = validations(tmp_path / "run")
    assert found[-1]["loss"] < 0.6 * math.log(2)
    assert found[-1]["measures"]["reward_accuracy"] > 0.9
    assert found[-1]["measures"]["reward_margin"] > 0
    assert result.validation_loss == min(line["loss"] for line in found)
    assert result.data["pieces"] == 160
    at_first = tune(tmp_path / "still", base, tokens=300, learning_rate=1e-12)
    assert at_first.validation_loss == pytest.approx(math.log(2), abs=1e-6)


def test_an_interrupted_tuning_ends_with_the_same_bytes(tmp_path: Path, base: Path) -> None:
    """Straight through, or stopped and gone on with: the same bytes; the reference is computed once."""
    straight = tune(tmp_path / "straight", base)
    with pytest.raises(Interrupted):
        tune(tmp_path / "resumed", base, stop_at(7))
    before = (tmp_path / "resumed" / "reference" / "train.npy").stat().st_mtime_ns
    resumed = tune(tmp_path / "resumed", base)
    assert (tmp_path / "resumed" / "reference" / "train.npy").stat().st_mtime_ns == before
    assert files_of(resumed.last) == files_of(straight.last)
    assert checkpoint.steps(tmp_path / "resumed")[-1] == straight.steps
    write_model(base, toy_model(6))
    with pytest.raises(CheckpointError, match="other settings or data"):
        tune(tmp_path / "resumed", base)


def test_adapters_learn_preferences_too(tmp_path: Path, base: Path) -> None:
    """With `lora` only adapters are trained and written; the base is the reference and stays as it is."""
    before = (base / "model.safetensors").read_bytes()
    result = tune(tmp_path / "run", base, lora={"rank": 4}, epochs=2, learning_rate=0.02)
    assert validations(tmp_path / "run")[-1]["measures"]["reward_accuracy"] > 0.8
    assert (base / "model.safetensors").read_bytes() == before
    assert (result.best / "adapter_model.safetensors").is_file()
    assert not torch.equal(
        load_model(result.best)(torch.arange(3, 9)[None]), load_model(base)(torch.arange(3, 9)[None])
    )


def test_a_changed_reference_file_is_not_taken_for_another_base(tmp_path: Path, base: Path) -> None:
    """The stored log-probabilities belong to one base, data and context; for others they are computed again."""
    tune(tmp_path / "run", base, tokens=300)
    first = np.load(tmp_path / "run" / "reference" / "train.npy")
    some = pair_shards(160, learnable=True)
    some.bounds = some.bounds[:21]
    assert np.allclose(first[:10], plain_scores(toy_model(5), some).detach().numpy(), atol=1e-4)
    write_model(base, toy_model(6))
    shutil.copytree(tmp_path / "run" / "reference", tmp_path / "other" / "reference")
    tune(tmp_path / "other", base, tokens=300)
    second = np.load(tmp_path / "other" / "reference" / "train.npy")
    assert np.allclose(second[:10], plain_scores(toy_model(6), some).detach().numpy(), atol=1e-4)


_TRAIN = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from test_preference import tune
from didact.model.world import joined

with joined():
    tune(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_two_processes_tune_as_one(tmp_path: Path, base: Path) -> None:
    """Every loss and measure of two processes is that of one to 1e-5, and so is the reference."""
    script = tmp_path / "train.py"
    script.write_text(_TRAIN.format(tests=str(Path(__file__).parent)))
    lines = {}
    for count in (1, 2):
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
        command = [sys.executable, *launch, str(script), str(tmp_path / str(count)), str(base)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        found = map(json.loads, (tmp_path / str(count) / "metrics.jsonl").read_text().splitlines())
        # The first line tells sizes and data, and has no loss.
        lines[count] = [line["loss"] for line in found if "loss" in line] + [
            value for line in validations(tmp_path / str(count)) for value in line["measures"].values()
        ]
    assert len(lines[1]) > 4
    assert lines[2] == pytest.approx(lines[1], abs=1e-5)
    one, two = (np.load(tmp_path / str(count) / "reference" / "train.npy") for count in (1, 2))
    assert np.allclose(one, two, atol=1e-5)


SIDE = st.tuples(st.integers(0, 6), st.integers(0, 14))
"""Lengths of a prompt and an answer."""


@given(
    st.lists(st.tuples(SIDE, SIDE, st.booleans()), min_size=1, max_size=12),
    st.sampled_from(["drop", "head", "tail"]),
    st.integers(2, 16),
)
def test_any_pairs_are_used_whole_or_counted(sides: Any, policy: Any, context: int) -> None:
    """Whatever the pairs: each is whole, truncated or dropped for a counted reason, and both sides share a batch."""
    texts: list[list[int]] = []
    for first, second, same in sides:
        for prompt, answer in (first, first if same else second):
            texts.append([3 + (len(texts) * (not same) + n) % 9 for n in range(1 + prompt + answer)])
    lengths = [len(text) for text in texts]
    bounds = np.cumsum([0, *lengths]).astype(np.int64)
    place = np.arange(bounds[-1]) - np.repeat(bounds[:-1], lengths)
    prompts = [1 + (first if n == 0 or same else second)[0] for first, second, same in sides for n in range(2)]
    weights = (place >= np.repeat(prompts, lengths)).astype(np.uint8)
    shards = ToyShards(np.concatenate(texts).astype(np.uint16), weights, bounds)
    try:
        plan = PairPlan(shards, context, 3 * context, 2 * context, policy, 1)
    except NoTrainedTokens:
        with pytest.raises(NoTrainedTokens):
            cut_pairs(shards, context, policy)
        return
    report = plan.report()
    kinds = ("whole", "truncated", "dropped_over_long", "dropped_untrained", "dropped_empty", "dropped_equal")
    assert sum(report[kind] for kind in kinds) == report["documents"] == len(sides)
    seen = []
    for step in range(plan.steps_per_epoch):
        for batch in plan.step(step):
            assert batch.documents[::2].tolist() == (batch.documents[1::2] - 1).tolist()
            assert batch.weight == len(batch.documents) / 2 > 0
            assert batch.lengths.max() <= context
            document = np.repeat(batch.documents, batch.lengths)
            assert all((batch.weights[document == one] > 0).any() for one in batch.documents)
            seen += (batch.documents[::2] // 2).tolist()
    assert len(seen) == len(set(seen)) == report["pieces"]


def test_over_long_pairs_may_end_the_run() -> None:
    """Under the policy `error` the pair is named, before anything is trained."""
    with pytest.raises(DataError, match="a side of pair 0 has"):
        cut_pairs(pair_shards(1), 4, "error")


def test_pairs_with_the_same_answer_twice_teach_nothing_and_are_counted() -> None:
    """A record with one answer gives a pair of equal sides, which is left out; of such alone there is no run."""
    shards = pair_shards(4)
    width = int(shards.bounds[1])
    own = shards.weights.astype(np.uint8)
    ids, weights = np.concatenate([shards.ids[:width]] * 2), np.concatenate([own[:width]] * 2)
    same = ToyShards(ids, weights, np.array([0, width, 2 * width]))
    with pytest.raises(NoTrainedTokens, match="two different answers"):
        cut_pairs(same, 32, "drop")
    both = ToyShards(
        np.concatenate([shards.ids, ids]),
        np.concatenate([own, weights]),
        np.concatenate([shards.bounds, shards.bounds[-1] + same.bounds[1:]]),
    )
    assert PairPlan(both, 32, 64, 64, "drop", 0).report()["dropped_equal"] == 1


def test_a_recipe_needs_something_to_prefer_with() -> None:
    """Preference tuning without a model before it, or with two, is refused when the recipe is read."""
    sources = {"a": {"path": "a.jsonl"}}
    base = {"name": "x", "sources": sources, "preference": {}}
    with pytest.raises(ValueError, match="no model to start from"):
        Recipe.model_validate(base)
    with pytest.raises(ValueError, match=r"tokenizer\.file"):
        Recipe.model_validate(base | {"preference": {"base": "m"}})
    with pytest.raises(ValueError, match="remove the base or section"):
        Recipe.model_validate(base | {"preference": {"base": "m"}, "tokenizer": {"file": "m"}, "finetune": {}})
    assert Recipe.model_validate(base | {"finetune": {}}).preference is not None
    assert PreferenceSettings().strength == 0.1
    assert PreferenceSettings(length_normalised=True).strength == 5.0


def test_measures_do_not_depend_on_the_batches(base: Path) -> None:
    """Loss, accuracy and losses by source are means over pairs, however the pairs are cut into passes."""
    shards, model = pair_shards(40, learnable=True), toy_model(3)
    reference = plain_scores(load_model(base), shards).detach().numpy()

    sources = np.repeat(np.arange(40) % 3, 2).astype(np.int32)
    labelled = LabelledPairShards(shards, reference, sources, ["a", "b", "c"])
    objective = Preference(PreferenceSettings())
    plans = [objective.plan(labelled, 32, at_once, at_once, "drop", 0) for at_once in (64, 1 << 16)]
    found = [objective.measure(model, plan.first_rows(10**6), labelled, None) for plan in plans]
    assert found[0].loss == pytest.approx(found[1].loss, abs=1e-6)
    assert found[0].measures == pytest.approx(found[1].measures, abs=1e-5)
    ratio = plain_scores(model, shards).detach() - torch.from_numpy(reference)
    loss = -torch.nn.functional.logsigmoid(0.1 * (ratio[:, 0] - ratio[:, 1]))
    for number, name in enumerate("abc"):
        assert found[0].by_source[name] == pytest.approx(float(loss[number::3].mean()), abs=1e-5)


def test_a_run_tunes_after_fine_tuning_and_its_best_is_the_tuned_one(tmp_path: Path) -> None:
    """From ranked candidates in a file to a tuned checkpoint: the best and the worst of each list are the pair."""
    write_inputs(tmp_path)
    ranked = [
        {"prompt": f"Say {n}.", "responses": [f"bad {n}", f"so so {n}", f"good {n}"], "scores": [1, 2, 3]}
        for n in range(40)
    ]
    (tmp_path / "ranked.jsonl").write_text("\n".join(map(json.dumps, ranked)))
    phase = {"batch_tokens": 512, "log_every": 1, "epochs": 1}
    recipe = tiny(
        tmp_path,
        model={"depth": 1, "width": 32, "heads": 2, "ffn": 32, "context": 128},
        finetune=phase,
        preference=phase | {"over_long": "turns"},
        mixes={
            "finetune": {"sources": {"stories": {"epochs": 1}}},
            "preference": {"sources": {"ranked": {"epochs": 1}}},
        },
        filters=[],
        dedup={"minhash": None},
    )
    recipe["sources"]["ranked"] = {"path": str(tmp_path / "ranked.jsonl")}
    result = run(recipe, workers=1, threads=1)
    assert list(result.phases) == ["finetune", "preference"]
    assert result.as_json()["best"] == str(result.phases["preference"].best)
    assert checkpoint.resolve(result.folder) == result.phases["preference"].best
    assert result.phases["preference"].data["documents"] > 25
    (table,) = (result.version.table("preference", split) for split in ("train",))
    for row in table.to_pylist():
        assert row["chosen"][0]["content"].startswith("good")
        assert row["rejected"][0]["content"].startswith("bad")
    state = json.loads((result.phases["preference"].best / "state.json").read_text())
    assert state["phase"] == "preference"
    again = run(recipe, workers=1, threads=1)
    assert again.as_json()["best"] == result.as_json()["best"]
    assert again.phases["preference"].seconds == result.phases["preference"].seconds
