"""The Ray engine on this machine: what the local engine promises, and a Ray that keeps to itself."""

from __future__ import annotations

import ast
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from killing import die_always, die_once, fail_at_three, square
from test_layers import imports, modules, parsed

from didact.cli import cli
from didact.durable import own_folder
from didact.engine.choice import EngineChoice
from didact.engine.ray import RayEngine
from didact.errors import CallError, EngineError, UnknownName
from didact.remote.folder import Folder

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayEngine]:
    """A Ray of two cores, started for these tests; its workers can import the modules of this folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]))
        with RayEngine(2, shared=Folder(tmp_path_factory.mktemp("store"))) as started:
            yield started


def test_ray_gives_each_item_its_own_result(engine: RayEngine) -> None:
    """Each item comes back once with its own result; errors travel with their type, and the engine goes on after one;
    items are taken as workers get free.
    """
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(25):
            taken += 1
            yield number

    results = engine.map(square, items())
    first = next(results)
    assert taken <= 4
    assert sorted([first, *results]) == [(number, number * number) for number in range(25)]
    assert list(engine.map(square, [])) == []
    with pytest.raises(ValueError, match=r"^three"):
        list(engine.map(fail_at_three, range(9)))
    assert sorted(engine.map(square, range(4))) == [(number, number * number) for number in range(4)]


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def open_cluster(tmp_path: Path) -> Iterator[str]:
    """The address of a cluster of one core that asks nobody for a token."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=1"]
    ray += [f"--port={address.rpartition(':')[2]}", "--include-dashboard=false", "--disable-usage-stats"]
    variables = os.environ | {"RAY_AUTH_MODE": "disabled"}
    with own_folder(Path("/tmp"), "didact-test-") as folder, (tmp_path / "ray.txt").open("w") as told:
        running = subprocess.Popen([*ray, f"--temp-dir={folder}"], env=variables, stdout=told, stderr=told)
        try:
            patience = time.monotonic() + 60
            while not _answers(address):
                assert running.poll() is None and time.monotonic() < patience, Path(told.name).read_text()
                time.sleep(0.2)
            yield address
        finally:
            running.terminate()
            with suppress(subprocess.TimeoutExpired):
                running.wait(30)
            running.kill()


@pytest.mark.slow
def test_one_ray_may_follow_another(open_cluster: str, tmp_path: Path) -> None:
    """A process may start a Ray of its own, let it go, use a cluster and start another, as builds in one script do, and
    then connect to Ray itself: the token of the one is not that of the other.
    """
    code = (
        "import sys\nfrom pathlib import Path\nfrom didact.engine.ray import RayEngine\n"
        "from didact.remote.folder import Folder\n"
        "for address in (None, None, sys.argv[2], sys.argv[2], None):\n"
        "    with RayEngine(1, address, shared=Folder(Path(sys.argv[1]))) as engine:\n"
        "        print(*(length for _, length in engine.map(len, ['a', 'bc'])), flush=True)\n"
        "import ray\nray.init(sys.argv[2], logging_level='ERROR', log_to_driver=False)\nprint(1, 2)\n"
    )
    program = [sys.executable, "-c", code, str(tmp_path), open_cluster]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert [sorted(line.split()) for line in done.stdout.splitlines()] == [["1", "2"]] * 6


def test_a_worker_of_ray_that_dies_is_replaced(engine: RayEngine, tmp_path: Path) -> None:
    """A killed worker costs no item, and the caller hears of it."""
    told: list[str] = []
    engine.note = told.append
    items = [tmp_path / name for name in ("a", "b", "poison", "c", "d")]
    assert sorted(name for _, name in engine.map(die_once, items)) == ["a", "b", "c", "d", "poison"]
    assert len(told) == 1 and "poison" in told[0] and "its worker died; trying again (2 of 3)" in told[0]


@pytest.mark.slow
def test_an_item_that_kills_three_workers_of_ray_is_blamed(engine: RayEngine, tmp_path: Path) -> None:
    """An item whose worker dies each time ends the build with an error that names it."""
    poison = tmp_path / "poison"
    with pytest.raises(EngineError, match=r"poison.*its worker died, 3 times in a row"):
        list(engine.map(die_always, [tmp_path / "a", poison, tmp_path / "b"]))
    assert poison.read_text() == "xxx"


def test_nobody_else_reaches_a_ray_started_here(engine: RayEngine) -> None:
    """Every port of the processes that belong to it listens on 127.0.0.1 alone, and no dashboard answers."""
    assert engine.workers == 2
    names, ports = set(), []
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # a worker of an earlier test that ends just now
            names.add(process.name())
            ports += [place for place in process.net_connections("inet") if place.status == "LISTEN"]
    assert {"raylet", "gcs_server"} <= names and ports
    assert {place.laddr.ip.removeprefix("::ffff:") for place in ports} == {"127.0.0.1"}
    assert 8265 not in {place.laddr.port for place in ports}


def test_ray_has_what_forgets_a_token(engine: RayEngine) -> None:
    """The names by which `forget_token` reaches it are still there; without them it would do nothing."""
    assert engine.workers == 2
    assert {"Config", "AuthenticationTokenLoader"} <= vars(sys.modules["ray"]._raylet).keys()


def test_only_the_engine_imports_ray() -> None:
    """No stage, no command and no other module names Ray in an import, not even lazily."""
    named = {path.name for path in modules() if "ray" in {name.split(".")[0] for name in imports(parsed(path))}}
    assert named == {"ray.py"}
    assert "ray" in {name.split(".")[0] for name in imports(ast.parse("def f():\n    import ray.exceptions"))}


def test_without_ray_the_remedy_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Ray is not installed, the command ends with exit code 2 and says what to install."""
    recipe = tmp_path / "recipe.yaml"
    (tmp_path / "rows.jsonl").write_text('{"prompt": "Say a.", "completion": "a"}\n')
    recipe.write_text("name: r\nsources: {s: {path: rows.jsonl}}\nsplit: {validation: 0, test: 0}\ntokenizer: null\n")
    monkeypatch.setitem(sys.modules, "ray", None)
    done = CliRunner().invoke(cli, ["build", str(recipe), "--engine", "ray"])
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1] == 'didact: error: the engine `ray` needs Ray: pip install "didact[ray]"'


def test_an_address_is_for_ray() -> None:
    """An address without the engine that uses it, and an engine that is not there, are refused before anything runs."""
    with pytest.raises(CallError, match="add --engine ray"):
        EngineChoice(address="10.0.0.1:6379")
    with pytest.raises(UnknownName, match="unknown engine 'rey'; did you mean ray"):
        EngineChoice("rey")  # type: ignore[arg-type]
