"""Streams and listings: every compression reads back, damage is told, files come in one order."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from didact.errors import InputMissing
from didact.sources.endings import bare_suffix
from didact.sources.files import bytes_stream, list_files, open_stream

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": lambda content: zstandard.ZstdCompressor().compress(content),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


@pytest.mark.parametrize("compress", COMPRESSORS.values(), ids=COMPRESSORS)
@given(content=st.binary(max_size=20_000), sizes=st.lists(st.integers(1, 6000), min_size=1, max_size=5))
def test_stream_gives_back_what_was_compressed(
    compress: Callable[[bytes], bytes], content: bytes, sizes: list[int]
) -> None:
    """Reading in pieces of any sizes gives the content byte for byte, and each piece is full but the last."""
    if compress is bytes and content.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ\x00")):
        return
    stream, found, turn = bytes_stream(compress(content)), b"", 0
    while piece := stream.read(sizes[turn % len(sizes)]):
        assert len(piece) == sizes[turn % len(sizes)] or found + piece == content
        found, turn = found + piece, turn + 1
    assert found == content
    assert stream.damage is None


@pytest.mark.parametrize("name", ["gzip", "zstd", "bzip2", "xz"])
def test_members_follow_each_other(name: str) -> None:
    """Two compressed members in one file read as their contents joined."""
    compress = COMPRESSORS[name]
    stream = bytes_stream(compress(b"first ") + compress(b"second"))
    assert stream.read(100) == b"first second"
    assert stream.damage is None


@pytest.mark.parametrize("name", ["gzip", "zstd", "bzip2", "xz"])
@pytest.mark.parametrize("cut", [0.3, 0.6, 0.99])
def test_truncated_stream_gives_its_start_and_says_so(name: str, cut: float) -> None:
    """What a truncated file can still give is the beginning of its content, and the damage is told."""
    content = b"".join(b"%d\n" % (i * i * 7919 % 104729) for i in range(60_000))
    packed = COMPRESSORS[name](content)
    stream = bytes_stream(packed[: int(len(packed) * cut)])
    found = stream.read(len(content) + 1)
    assert content.startswith(found)
    assert len(found) < len(content) or cut > 0.9
    assert stream.damage


def test_rubbish_behind_a_member_is_damage_but_zeros_are_padding() -> None:
    """Zero bytes after a gzip member are padding; other bytes are reported."""
    packed = gzip.compress(b"content")
    padded, spoilt = bytes_stream(packed + b"\0" * 5000), bytes_stream(packed + b"rubbish")
    assert (padded.read(100), padded.damage) == (b"content", None)
    assert spoilt.read(100) == b"content"
    assert spoilt.damage


@pytest.mark.parametrize("name", ["plain", "gzip"])
def test_unread_bytes_come_first_again(name: str) -> None:
    """Bytes put back are read next, whatever the compression."""
    stream = bytes_stream(COMPRESSORS[name](b"abcdef"))
    stream.unread(stream.read(4))
    assert stream.read(10) == b"abcdef"


def test_listing_is_sorted_relative_and_without_hidden_files(tmp_path: Path) -> None:
    """A folder stands for all its files in the order of their relative paths, hidden ones left out."""
    for name in ("b/2.json", "a.json", "b/1.json", ".hidden", ".git/x", "b/.x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [relative for _, relative in list_files([str(tmp_path)], Path("/"))] == ["a.json", "b/1.json", "b/2.json"]
    assert [relative for _, relative in list_files(["b/*.json", "b/1.json"], tmp_path)] == ["1.json", "2.json"]
    assert [relative for _, relative in list_files(["a.json", "b"], tmp_path)] == ["a.json", "b/1.json", "b/2.json"]
    assert [relative for _, relative in list_files(["**/*.json"], tmp_path)] == ["a.json", "b/1.json", "b/2.json"]


@pytest.mark.parametrize("path", ["nothing.json", "*.nothing", "empty"])
def test_path_that_stands_for_nothing_is_refused(tmp_path: Path, path: str) -> None:
    """A missing file, a glob without match and an empty folder end with InputMissing and the path."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputMissing, match=path.replace("*", r"\*")):
        list_files([path], tmp_path)


def test_stream_of_a_missing_file_is_refused(tmp_path: Path) -> None:
    """Opening what is not there is a call error, not a traceback."""
    with pytest.raises(InputMissing), open_stream(tmp_path / "gone"):
        pass


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.JSON.gz", ".json"), ("b.tsv.zst", ".tsv"), ("c", ""), ("d.txt", ".txt"), ("e.csv.xz", ".csv")],
)
def test_suffix_is_that_under_the_compression(name: str, suffix: str) -> None:
    """Compression endings do not hide a file's own."""
    assert bare_suffix(Path(name)) == suffix
