"""The command: every verb explains itself, bad calls are one line and exit code 2, results come as tables or JSON."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from tiny_recipe import tiny, write_inputs

from didact.cli import cli


def call(*arguments: object, text: str | None = None) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], input=text, prog_name="didact")


def printed_json(result: Result) -> Any:
    """The one JSON value a command printed on stdout."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def is_one_line(result: Result, *told: str) -> bool:
    """Whether a call failed as a bad call: exit code 2 and, after what the stages told, one line and no traceback."""
    errors = [line for line in result.stderr.splitlines() if re.match(r"(didact: )?error: ", line, re.IGNORECASE)]
    crashed = result.exception is not None and not isinstance(result.exception, SystemExit)
    return result.exit_code == 2 and not crashed and len(errors) == 1 and all(part in errors[0] for part in told)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with inputs, a recipe, and its version in the store."""
    folder = tmp_path_factory.mktemp("cli")
    write_inputs(folder)
    (folder / "recipe.yaml").write_text(json.dumps(tiny(folder)), encoding="utf-8")
    assert call("build", folder / "recipe.yaml", "--workers", 1).exit_code == 0
    return folder


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_explains_itself(name: str) -> None:
    """--help tells what the command does, ends with an example of itself, and says something about every option."""
    told = call(name, "--help")
    assert told.exit_code == 0
    assert f"Example: didact {name}" in " ".join(told.output.split())
    command = cli.commands[name]
    assert (command.help or "").strip()
    assert [o.name for o in command.params if isinstance(o, click.Option) and not o.help] == []


def test_help_lists_the_commands_in_the_order_of_the_data_path() -> None:
    """What comes first in use comes first in the list; the version is told."""
    listed = re.findall(r"^  (\w[\w-]*)  ", call("--help").output, re.MULTILINE)
    assert listed == list(cli.commands) and listed.index("build") < listed.index("run") < listed.index("chat")
    assert re.fullmatch(r"didact \d+\.\d+\.\d+\n", call("--version").output)


def changed(home: Path, place: str, value: Any) -> Path:
    """The recipe with another value at a dotted place, as a file."""
    recipe = tiny(home)
    section: Any = recipe
    *path, last = place.split(".")
    for part in path:
        section = section[part]
    section[last] = value
    (home / "bad.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    return home / "bad.yaml"


@pytest.mark.parametrize("verb", ["build", "run"])
@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("sources.prose.fromat", "text", "sources.prose.fromat: unknown key; did you mean 'format'?"),
        ("sources.prose.format", "txet", "unknown format 'txet'; did you mean text"),
        ("sources.prose.path", "no.txt", "no.txt: no such file"),
        ("mixes.pretrain.sources.prose", {"share": -0.5}, "mixes.pretrain.sources.prose.share"),
        ("mixes.pretrain.sources.pros", {"share": 1}, "unknown source 'pros'; did you mean prose?"),
    ],
)
def test_bad_recipes_are_one_line(home: Path, verb: str, place: str, value: Any, told: str) -> None:
    """A recipe that cannot be meant ends with exit code 2 and one line that says where and what to do."""
    recipe = changed(home, place, value)
    if verb == "run":
        recipe.write_text(json.dumps(json.loads(recipe.read_text()) | {"finetune": {"epochs": 1}}))
    assert is_one_line(call(verb, recipe), told)


def test_bad_calls_are_one_line(home: Path) -> None:
    """So do files, names and versions that are not there."""
    store = home / "store"
    assert is_one_line(call("validate", home / "no.jsonl"), "no.jsonl: no such file")
    assert is_one_line(call("validate", home / "alpaca.json", "--format", "alpca"), "did you mean alpaca")
    assert is_one_line(call("build", home / "no.yaml"), "no.yaml: no such recipe")
    assert is_one_line(call("verify", "tinny", "--store", store), "unknown version 'tinny'; did you mean tiny")
    assert is_one_line(call("verify", "tiny@ffff", "--store", store), "unknown version")
    assert is_one_line(call("verify", "../x", "--store", store), "neither a version's folder nor NAME")
    assert is_one_line(call("log", "tinny", "--store", store), "unknown data set 'tinny'; did you mean tiny")
    assert is_one_line(call("schema", "taks"), "did you mean task")
    assert is_one_line(call("codes", "RO03"), "did you mean RO003")
    assert is_one_line(call("tokenize", "nothing", "--store", home / "nowhere"), "unknown version")
    assert is_one_line(call("init", home), "recipe.yaml: exists already")
    assert is_one_line(call("generate", home / "nothing", "--prompt", "Hi"), "nothing")
    assert is_one_line(call("run", home / "recipe.yaml"), "nothing to train")
    assert is_one_line(call("build", home / "recipe.yaml", "--workers", "0"), "--workers")
    assert is_one_line(call("bild"), "bild")


def test_a_bad_call_in_a_shell_prints_no_traceback(home: Path) -> None:
    """The installed command behaves as it does in this process: one line on stderr, nothing on stdout."""
    code = "from didact.cli import main; main()"
    recipe = changed(home, "sources.prose.fromat", "text")
    command = [sys.executable, "-c", code, "build", str(recipe)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("didact: error: ")


def test_validate_tells_by_its_exit_code(home: Path) -> None:
    """0: nothing wrong; 1: something is, or with --strict looks odd; 2: a bad call. Counts agree with the file."""
    assert call("validate", home / "prose.txt").exit_code == 0
    wrong = call("validate", home / "alpaca.json")
    assert wrong.exit_code == 1 and "JS002" in wrong.stdout
    odd = home / "odd.jsonl"
    odd.write_text(json.dumps({"instruction": "Say nothing.", "input": "", "output": ""}) + "\n")
    assert [call("validate", odd, *strict).exit_code for strict in ((), ("--strict",))] == [0, 1]
    assert call("validate", home / "no").exit_code == 2
    report = json.loads(call("validate", home / "alpaca.json", home / "sums.jsonl", "--json").stdout)
    assert (report["records"], report["valid"], report["rejected"]) == (92, 90, 2)
    assert report["findings"] == {"CO002": 1, "DU001": 5, "JS001": 1, "JS002": 1}
    located = {finding["code"]: finding for finding in report["located"]}
    assert located["JS001"]["line"] == 13 and located["JS001"]["path"].endswith("sums.jsonl")


def test_build_says_what_happened_and_does_it_once(home: Path) -> None:
    """The table names sources and reasons; a second call finds the version; --json is one object with the manifest."""
    first = call("build", home / "recipe.yaml", "--workers", 1)
    assert first.exit_code == 0 and "already built" in first.stderr
    for told in ("stories", "duplicate.exact", "JS001", "Mix finetune", "Leak check"):
        assert told in first.stdout
    answer = printed_json(call("build", home / "recipe.yaml", "--json"))
    assert answer["manifest"]["version"] == answer["version"] and Path(answer["path"]).is_dir()


def test_log_and_verify_know_the_version(home: Path) -> None:
    """The log lists it as the latest; verify is content until a file is changed."""
    (entry,) = printed_json(call("log", "tiny", "--store", home / "store", "--json"))
    assert entry["latest"] and entry["mixes"]["finetune"]["train"] > 0
    assert entry["version"] in call("log", "tiny", "--store", home / "store").stdout
    for name in ("tiny", "tiny@latest", f"tiny@{entry['version'][:6]}"):
        assert printed_json(call("verify", name, "--store", home / "store", "--json"))["problems"] == []
    readme = home / "store" / "data" / "tiny" / entry["version"] / "README.md"
    content = readme.read_bytes()
    readme.write_bytes(b"changed")
    broken = call("verify", "tiny", "--store", home / "store")
    readme.write_bytes(content)
    assert broken.exit_code == 1 and "README.md: content differs" in broken.stdout


def test_tokenize_writes_shards_once(home: Path) -> None:
    """Token shards are made from the version, and found the second time."""
    answers = [
        printed_json(call("tokenize", "tiny", "--store", home / "store", "--workers", 1, "--json")) for _ in range(2)
    ]
    assert answers[0] == answers[1] and list(Path(answers[0]["path"]).iterdir())


def test_what_there_is_is_listed() -> None:
    """Formats, signals, codes and schemas are printed, as lines and as JSON."""
    assert {"alpaca", "sharegpt", "text"} <= printed_json(call("formats", "--json")).keys()
    assert "gsm8k" in call("formats").stdout
    assert any(entry["name"] == "response.words" for entry in printed_json(call("signals", "--json")))
    assert "response.words" in call("signals").stdout
    (code,) = printed_json(call("codes", "RO003", "--json"))
    assert code["severity"] == "warning" and code["title"] in call("codes").stdout
    assert printed_json(call("schema", "task"))["$id"].endswith(":task")
    assert call("schema", "task", "--json").stdout == call("schema", "task").stdout
    lines = call("schema").stdout.splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [
        [*item] for item in printed_json(call("schema", "--json")).items()
    ]
    told = call("codes", "co003").stdout
    assert "didact validate, didact build" in told and "empty_input" in told and '"input": "<noinput>"' in told


def test_init_writes_a_recipe_that_builds(tmp_path: Path) -> None:
    """What `init` writes is a good recipe over good data."""
    assert call("init", tmp_path / "new").exit_code == 0
    built = call("build", tmp_path / "new" / "recipe.yaml", "--workers", 1)
    assert built.exit_code == 0, built.output
    assert call("verify", "starter", "--store", tmp_path / "new" / "store").exit_code == 0
