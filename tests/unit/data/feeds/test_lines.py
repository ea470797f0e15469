from __future__ import annotations

import gzip
import json
import random
import tracemalloc
from pathlib import Path

import pytest
import zstandard

from tastelab.data.feeds.base import BadRecords
from tastelab.data.feeds.lines import ranges, read_lines

LINES = [json.dumps({"id": number, "text": "x" * (number % 37)}).encode() for number in range(500)]
WHOLE = b"\n".join(LINES) + b"\n"


def _write(path: Path, raw: bytes) -> Path:
    if path.suffix == ".zst":
        raw = zstandard.ZstdCompressor().compress(raw)
    elif path.suffix == ".gz":
        raw = gzip.compress(raw)
    path.write_bytes(raw)
    return path


def _reasons(bad: BadRecords) -> list[tuple[int, str]]:
    return [(line.number, line.reason) for line in bad.lines]


@pytest.mark.parametrize("suffix", [".jsonl", ".zst", ".gz"])
def test_every_line_is_read_once_with_its_number(tmp_path: Path, suffix: str) -> None:
    bad = BadRecords()
    found = list(read_lines(_write(tmp_path / f"a{suffix}", WHOLE), bad))
    assert found == list(enumerate(LINES, 1))
    assert (bad.num_records, bad.lines, bad.cut_short) == (500, [], False)


def test_blank_lines_count_only_in_the_numbers(tmp_path: Path) -> None:
    bad = BadRecords()
    path = _write(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"a": 1}\r\n\r\n  {"b": 2}  \n\n')
    assert list(read_lines(path, bad)) == [(1, b'{"a": 1}'), (3, b'{"b": 2}')]
    assert bad.num_records == 2


def test_frames_follow_each_other(tmp_path: Path) -> None:
    half = len(WHOLE) // 2
    pack, skipped = zstandard.ZstdCompressor().compress, b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip"
    (tmp_path / "a.zst").write_bytes(pack(WHOLE[:half]) + skipped + pack(WHOLE[half:]))
    (tmp_path / "a.gz").write_bytes(gzip.compress(WHOLE[:half]) + gzip.compress(WHOLE[half:]))
    for name in ("a.zst", "a.gz"):
        bad = BadRecords()
        assert [line for _, line in read_lines(tmp_path / name, bad)] == LINES
        assert not bad.cut_short


def test_windows_of_public_dumps_are_read(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=31, enable_ldm=False)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    (tmp_path / "a.zst").write_bytes(packer.compress(WHOLE) + packer.flush())
    with pytest.raises(zstandard.ZstdError):  # what the file asks for is above the library's own limit
        zstandard.ZstdDecompressor().decompressobj().decompress((tmp_path / "a.zst").read_bytes())
    assert [line for _, line in read_lines(tmp_path / "a.zst", BadRecords())] == LINES


@pytest.mark.parametrize("suffix", [".zst", ".gz"])
def test_a_cut_frame_yields_what_is_there(tmp_path: Path, suffix: str) -> None:
    random.seed(0)
    lines = [json.dumps({"id": random.random()}).encode() for _ in range(60_000)]
    path = _write(tmp_path / f"a{suffix}", b"\n".join(lines) + b"\n")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    bad = BadRecords()
    found = [line for _, line in read_lines(path, bad)]
    assert 10_000 < len(found) < 50_000
    assert found == lines[: len(found)]
    assert bad.cut_short
    assert _reasons(bad) == [(len(found) + 1, "the file ends within this record")]
    assert bad.num_records == len(found) + 1


def test_a_frame_cut_after_its_last_line_is_cut(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.gz", WHOLE)
    path.write_bytes(path.read_bytes()[:-4])
    bad = BadRecords()
    assert len(list(read_lines(path, bad))) == 500
    assert (bad.cut_short, _reasons(bad)) == (True, [(501, "the file ends within this record")])


@pytest.mark.parametrize("suffix", [".zst", ".gz"])
def test_what_is_not_compressed_is_one_bad_record(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_bytes(WHOLE)
    bad = BadRecords()
    assert list(read_lines(tmp_path / f"a{suffix}", bad)) == []
    assert (bad.num_records, len(bad.lines), bad.cut_short) == (1, 1, True)


def test_a_cut_last_line_is_set_aside_and_a_whole_one_is_not(tmp_path: Path) -> None:
    bad = BadRecords()
    assert list(read_lines(_write(tmp_path / "whole.jsonl", b'{"a": 1}\n{"a": {"b": 2}}'), bad)) == [
        (1, b'{"a": 1}'),
        (2, b'{"a": {"b": 2}}'),
    ]
    assert not bad.cut_short
    for cut in (b'{"a": 1}\n{"a": {"b": 2}', b'{"a": 1}\n{"a": "\xc3'):
        bad = BadRecords()
        assert list(read_lines(_write(tmp_path / "cut.jsonl", cut), bad)) == [(1, b'{"a": 1}')]
        assert (bad.cut_short, bad.num_records) == (True, 2)
        assert _reasons(bad) == [(2, "the file ends within this record")]


def test_a_line_that_is_no_utf8_is_one_bad_record(tmp_path: Path) -> None:
    bad = BadRecords()
    path = _write(tmp_path / "a.jsonl", b'{"a": 1}\n{"a": "\xff"}\n{"a": "\xc3\xa9"}\n')
    assert [number for number, _ in read_lines(path, bad)] == [1, 3]
    assert _reasons(bad) == [(2, "not UTF-8")]
    assert bad.num_records == 3


@pytest.mark.parametrize("num_bytes", [1_000, 1_001, 5_000])
def test_only_a_line_above_the_limit_is_skipped(tmp_path: Path, num_bytes: int) -> None:
    bad = BadRecords()
    path = _write(tmp_path / "a.jsonl", b"[]\n" + b"7" * num_bytes + b"\n{}\n")
    found = list(read_lines(path, bad, max_line=1_000))
    expected = [(1, b"[]"), (2, b"7" * 1_000), (3, b"{}")]
    assert found == (expected if num_bytes == 1_000 else [expected[0], expected[2]])
    assert _reasons(bad) == ([] if num_bytes == 1_000 else [(2, "longer than 1,000 bytes")])
    assert bad.num_records == 3


@pytest.mark.parametrize("suffix", [".jsonl", ".zst", ".gz"])
def test_a_giant_line_is_never_held(tmp_path: Path, suffix: str) -> None:
    path = _write(tmp_path / f"a{suffix}", b"[]\n" + b"x" * (64 * 2**20) + b"\n{}\n")
    bad = BadRecords()
    tracemalloc.start()
    found = list(read_lines(path, bad, max_line=2**20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [(1, b"[]"), (3, b"{}")]
    assert len(bad.lines[0].text) <= 2_000
    assert peak < 24 * 2**20


def test_ranges_give_every_line_exactly_once(tmp_path: Path) -> None:
    rng = random.Random(3)
    for trial in range(60):
        lines = [b'{"a": "%s"}' % (b"x" * rng.randrange(60)) for _ in range(rng.randrange(1, 40))]
        raw = b"\n".join(lines) + (b"\n" if rng.random() < 0.7 else b"")
        path = _write(tmp_path / f"{trial}.jsonl", raw)
        cuts = sorted({0, *(rng.randrange(len(raw)) for _ in range(rng.randrange(8)))})
        bad, found = BadRecords(), []
        for start, stop in zip(cuts, [*cuts[1:], None], strict=True):
            part = list(read_lines(path, bad, start, stop))
            assert [number for number, _ in part] == list(range(1, len(part) + 1))
            found += [line for _, line in part]
        assert found == lines
        assert (bad.num_records, bad.lines) == (len(lines), [])


def test_a_giant_line_is_bad_in_one_range_only(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", b"[]\n" + b"7" * (3 * 2**20) + b"\n{}\n")
    bad, found = BadRecords(), []
    for start, stop in ranges(path, 2**19):
        found += [line for _, line in read_lines(path, bad, start, stop, max_line=2**18)]
    assert found == [b"[]", b"{}"]
    assert len(bad.lines) == 1


def test_files_are_cut_into_ranges_of_about_the_size(tmp_path: Path) -> None:
    plain, packed = _write(tmp_path / "a.jsonl", b"1" * 1_000), _write(tmp_path / "a.gz", WHOLE)
    assert ranges(plain, 1_000) == ranges(packed, 10) == [(0, None)]
    assert ranges(plain, 400) == [(0, 400), (400, None)]
    assert ranges(plain, 300) == [(0, 300), (300, 600), (600, None)]


def test_a_range_of_a_compressed_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.gz is compressed and can only be read whole: unpack it"):
        list(read_lines(_write(tmp_path / "a.gz", WHOLE), BadRecords(), start=5))


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    for suffix in (".jsonl", ".zst", ".gz"):
        bad = BadRecords()
        (tmp_path / f"a{suffix}").write_bytes(b"")
        assert list(read_lines(tmp_path / f"a{suffix}", bad)) == []
        assert (bad.num_records, bad.cut_short) == (0, False)
