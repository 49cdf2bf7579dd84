"""Databases: rows of a query in a stated order, read only, streamed, without secrets in what is said."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from postgres import running_server, why_not
from pydantic import ValidationError

import didact
from didact.errors import CallError, InputMissing
from didact.recipe.sources import Source
from didact.records import Record
from didact.records.findings import Finding
from didact.sources import database
from didact.sources.database import outermost, query_rows
from didact.sources.spool import Spool

sqlalchemy = pytest.importorskip("sqlalchemy", reason="needs didact[sql]")

QUERY = "SELECT prompt, completion, id FROM answers ORDER BY id"


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """A folder with a database of 2,500 answers, in no order."""
    with sqlite3.connect(tmp_path / "answers.db") as connection:
        connection.execute("CREATE TABLE answers (id INTEGER, prompt TEXT, completion TEXT, score REAL)")
        rows = [(number * 7919 % 2500, f"q{number}", f"a{number}", None) for number in range(2500)]
        connection.executemany("INSERT INTO answers VALUES (?, ?, ?, ?)", rows)
    connection.close()
    return tmp_path


def rows_in(folder: Path, query: str, url: str = "sqlite:///answers.db") -> list[dict[str, Any]]:
    """What the spool of a query holds."""
    with Spool(folder / "spool") as spool:
        return [json.loads(line) for line in query_rows(url, query, folder, spool, "s").read_bytes().splitlines()]


def selected(folder: Path, query: str) -> list[dict[str, Any]]:
    """What SQLite itself gives for a query."""
    with sqlite3.connect(folder / "answers.db") as connection:
        connection.row_factory = sqlite3.Row
        found = [dict(row) for row in connection.execute(query)]
    connection.close()
    return found


def test_an_ordered_query_keeps_its_order(answers: Path) -> None:
    """Rows come as ORDER BY says, each once, whatever the number fetched at a time."""
    assert rows_in(answers, QUERY) == selected(answers, QUERY)


@pytest.mark.parametrize("in_memory", [5000, 1 << 20])
def test_rows_without_an_order_are_sorted_by_content(
    answers: Path, monkeypatch: pytest.MonkeyPatch, in_memory: int
) -> None:
    """The same rows in another order in the table read the same, also where they do not fit into memory."""
    monkeypatch.setattr(database, "_SORTED_BYTES", in_memory)
    query = "SELECT prompt, completion FROM answers"
    first = rows_in(answers, query)
    with sqlite3.connect(answers / "answers.db") as connection:
        connection.execute("CREATE TABLE turned AS SELECT * FROM answers ORDER BY id DESC")
    connection.close()
    assert rows_in(answers, "SELECT prompt, completion FROM turned") == first
    assert sorted(first, key=str) == sorted(selected(answers, query), key=str)
    assert not list((answers / "spool").iterdir())


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("DELETE FROM answers", "only reads databases"),
        ("-- SELECT\nUPDATE answers SET id = 1", "only reads databases"),
        ("SELECT 1; DELETE FROM answers", "several statements"),
        ("SELECT * FROM answers LIMIT 5", "add ORDER BY a unique key"),
        ("SELECT * FROM (SELECT * FROM answers ORDER BY id) LIMIT 5", "add ORDER BY a unique key"),
        ("SELECT lacking FROM answers", "no such column: lacking"),
        ("SELECT id, prompt AS id FROM answers", "two columns of the query are called 'id'"),
        ("SELECT * FROM answers WHERE", "incomplete input"),
    ],
)
def test_queries_that_cannot_be_answered_are_refused(answers: Path, query: str, told: str) -> None:
    """A query that writes, has no order that can be kept, or is wrong is one line that says so."""
    with pytest.raises(CallError, match=told) as caught:
        rows_in(answers, query)
    assert "\n" not in str(caught.value)
    assert len(selected(answers, "SELECT * FROM answers")) == 2500


def test_the_database_cannot_be_written(answers: Path) -> None:
    """Even a statement that gets past the look at its first word changes nothing."""
    with pytest.raises(CallError, match="readonly database"):
        rows_in(answers, "WITH x AS (SELECT 1) INSERT INTO answers SELECT 1, 'a', 'b', 2 RETURNING id")
    assert len(selected(answers, "SELECT * FROM answers")) == 2500


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("SELECT ';' FROM t -- ORDER BY x\n", "SELECT   FROM t  \n"),
        ('SELECT "order by" FROM t', "SELECT   FROM t"),
        ("SELECT rank() OVER (PARTITION BY (a) ORDER BY b) FROM t", "SELECT rank  OVER   FROM t"),
        ("SELECT /* order\nby */ $q$ order by $q$ FROM t", "SELECT     FROM t"),
    ],
)
def test_only_the_outermost_order_counts(query: str, left: str) -> None:
    """What stands in quotes, comments and parentheses does not order the rows."""
    assert outermost(query) == left


@given(st.text(alphabet=r"\:%%a$?() ") | st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0'")))
def test_a_query_reaches_the_database_as_it_is_written(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Colons, per cent signs and backslashes in a query are its own, never placeholders."""
    folder = tmp_path_factory.mktemp("db")
    sqlite3.connect(folder / "answers.db").close()
    assert rows_in(folder, f"SELECT '{text} :a %s %(b)s \\:c' AS text") == [{"text": f"{text} :a %s %(b)s \\:c"}]


def test_integers_stay_integers_beside_null(tmp_path: Path) -> None:
    """A column of large integers with a NULL, of reals, of bytes: each cell is what it was."""
    with sqlite3.connect(tmp_path / "answers.db") as connection:
        connection.execute("CREATE TABLE t (n INTEGER, r REAL, b BLOB)")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", [(2**62 + 1, 1.5, b"\xff\x00"), (None, None, None)])
    connection.close()
    assert rows_in(tmp_path, "SELECT * FROM t ORDER BY n DESC") == [
        {"n": 2**62 + 1, "r": 1.5, "b": "/wA="},
        {"n": None, "r": None, "b": None},
    ]


def test_a_text_in_another_encoding_costs_its_row(tmp_path: Path) -> None:
    """SQLite does not check its texts; one that is no UTF-8 is rejected with its number, the others are read."""
    with sqlite3.connect(tmp_path / "answers.db") as connection:
        connection.execute("CREATE TABLE t (prompt TEXT, completion TEXT)")
        connection.execute("INSERT INTO t VALUES ('a', 'b'), (CAST(X'636166E9' AS TEXT), 'c'), ('d', 'e')")
    connection.close()
    findings: list[Finding] = []
    url = f"sqlite:///{tmp_path}/answers.db"
    records = list(didact.read(url, query="SELECT * FROM t ORDER BY completion", findings=findings))
    assert len(records) == 2
    assert [(one.code, one.path, one.index) for one in findings] == [("IO002", "query", 1)]


def test_rows_become_records_with_their_place(answers: Path) -> None:
    """The rows of a query are read as those of a file are; validate counts them all."""
    url = f"sqlite:///{answers}/answers.db"
    records: list[Record] = list(didact.read(url, query=QUERY))
    assert [record.texts()[0].text for record in records] == [row["prompt"] for row in selected(answers, QUERY)]
    assert records[0].origin is not None
    assert (records[0].origin.format, records[0].origin.key) == ("prompt_completion", "0")
    assert didact.validate(url, query=QUERY).files[0].valid == 2500


def recipe(query: str, **source: Any) -> dict[str, Any]:
    """A recipe that reads a query."""
    return {
        "name": "x",
        "sources": {"s": {"path": "sqlite:///answers.db", "query": query, **source}},
        "tokenizer": None,
        "split": {"validation": 0, "test": 0},
    }


def test_a_build_notices_changed_rows_and_nothing_else(answers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two builds of the same rows are one version, wherever the database is; a changed row makes another."""
    monkeypatch.chdir(answers)
    first = didact.build(recipe(QUERY), store="store", workers=1)
    assert first.manifest.accounting[0].rows_in == 2500
    (answers / "answers.db").rename(answers / "moved.db")
    moved = recipe(QUERY, path="sqlite:///moved.db")
    assert didact.build(moved, store="store", workers=1).path == first.path
    with sqlite3.connect("moved.db") as connection:
        connection.execute("UPDATE answers SET completion = 'other' WHERE id = 7")
    connection.close()
    assert didact.build(moved, store="store", workers=1).path != first.path
    assert not list(Path("store/builds").glob("spool-*"))


@pytest.mark.parametrize(
    "settings",
    [
        {"path": "answers.db", "query": QUERY},
        {"path": ["sqlite:///a.db", "sqlite:///b.db"], "query": QUERY},
        {"path": "hf://a/b", "query": QUERY},
        {"path": "sqlite:///a.db"},
        {"path": ["x.json", "postgresql+psycopg://a:geheim@b/c"]},
        {"path": "sqlite:///a.db", "query": ""},
    ],
)
def test_a_query_and_a_database_come_together(settings: dict[str, Any]) -> None:
    """A recipe that names one without the other is refused at load, without the URL's password."""
    with pytest.raises(ValidationError) as caught:
        Source.model_validate(settings)
    assert "geheim" not in "".join(problem["msg"] for problem in caught.value.errors())


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    """A missing file, a database in memory, a URL of another kind and an unknown dialect are told apart."""
    with pytest.raises(InputMissing, match=r"gone\.db"):
        rows_in(tmp_path, QUERY, "sqlite:///gone.db")
    with pytest.raises(CallError, match="in memory is empty"):
        rows_in(tmp_path, QUERY, "sqlite://")
    with pytest.raises(CallError, match="no database URL"):
        rows_in(tmp_path, QUERY, "no url")
    with pytest.raises(CallError, match="install the database's driver"):
        rows_in(tmp_path, QUERY, "nosuch://ann:geheim@host/name")
    (tmp_path / "x.db").write_bytes(b"not a database" * 100)
    with pytest.raises(CallError, match="file is not a database"):
        rows_in(tmp_path, QUERY, "sqlite:///x.db")


def test_without_the_extra_one_line_says_what_to_install(answers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where SQLAlchemy is missing, the call is refused with the remedy."""
    monkeypatch.setitem(__import__("sys").modules, "sqlalchemy", None)
    with pytest.raises(CallError, match=r"pip install 'didact\[sql\]'"):
        rows_in(answers, QUERY)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a PostgreSQL server of this module's own, or the reason why there is none."""
    pytest.importorskip("psycopg", reason="needs didact[postgres]")
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with running_server() as url:
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "CREATE TABLE chats (id BIGINT, turns JSONB, tags TEXT[], at TIMESTAMPTZ, n NUMERIC)"
            )
            connection.exec_driver_sql("CREATE SEQUENCE counter")
            turns = [{"role": "user", "content": "Grüße"}, {"role": "assistant", "content": "Hallo."}]
            connection.execute(
                sqlalchemy.text(
                    "INSERT INTO chats SELECT i, CAST(:turns AS jsonb), ARRAY['a', 'b'], '2024-05-01 12:30+00', 1.50 "
                    "FROM generate_series(1, 3000) AS i"
                ),
                {"turns": json.dumps(turns)},
            )
        engine.dispose()
        yield url


def test_postgresql_gives_conversations(server: str) -> None:
    """Rows with JSON and arrays are read through a server-side cursor; what JSON lacks is spelt."""
    records = list(didact.read(server, query="SELECT turns AS messages, tags, at, n, id FROM chats ORDER BY id"))
    assert len(records) == 3000
    assert [turn["content"] for turn in records[0].dialogue()] == ["Grüße", "Hallo."]
    assert records[2999].origin is not None
    assert records[2999].origin.key == "3000"
    extra = dict(records[2999].origin.extra)
    assert str(extra.pop("at")).startswith("2024-05-01T")
    assert extra == {"tags": ["a", "b"], "n": "1.50", "id": 3000}


def test_postgresql_reads_in_a_transaction_that_cannot_write(server: str, tmp_path: Path) -> None:
    """A query that writes, by a function or inside of a WITH, is refused by the server."""
    with pytest.raises(CallError, match="cannot execute nextval\\(\\) in a read-only transaction"):
        rows_in(tmp_path, "SELECT nextval('counter') AS n", server)
    with pytest.raises(CallError, match="must not contain data-modifying statements"):
        rows_in(tmp_path, "WITH gone AS (DELETE FROM chats RETURNING id) SELECT id FROM gone ORDER BY id", server)
    assert rows_in(tmp_path, "SELECT count(*) AS n FROM chats", server) == [{"n": 3000}]


def test_postgresql_casts_and_patterns_are_no_placeholders(server: str, tmp_path: Path) -> None:
    """Double colons and per cent signs reach the server as they are written."""
    query = "SELECT '5'::int AS n, 'a%b' LIKE 'a%' AS like, '12:30:00'::time AS at"
    assert rows_in(tmp_path, query, server) == [{"n": 5, "like": True, "at": "12:30:00"}]


def test_a_password_is_never_told(server: str, tmp_path: Path) -> None:
    """Errors of the server name it without its password."""
    with pytest.raises(CallError) as caught:
        rows_in(tmp_path, QUERY, server.replace("/postgres?", "/nothing?"))
    assert "geheim" not in str(caught.value)
    assert "postgresql+psycopg://ann:***@/nothing: " in str(caught.value)
