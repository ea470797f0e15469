"""Rows of a dump's XML: whatever the chunks and ranges, one bad row costs one row, declarations are refused."""

from __future__ import annotations

import io
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from tastelab.data.feeds import base, xml_rows
from tastelab.data.feeds.base import BadRecords
from tastelab.data.feeds.xml_rows import Row, read_rows

HEAD = b"\xef\xbb\xbf<?xml version='1.0' encoding='utf-8'?>\n<posts>\n"
END = b"</posts>\n"
SECRET = "swordfish-of-the-house"


def _row(number: int, body: str = "a &lt;p&gt; &amp; a > b") -> bytes:
    return f'  <row Id="{number}" Body="{body}" />\r\n'.encode()


def _file(*rows: bytes) -> bytes:
    return HEAD + b"".join(rows) + END


def _read(data: bytes, **kwargs: Any) -> tuple[list[Row], BadRecords]:
    bad = BadRecords()
    blocks = read_rows(io.BytesIO(data), "Posts.xml", bad, **kwargs)
    return [row for block in blocks for row in block], bad


@pytest.mark.parametrize("chunk", [1, 7, 64, 2**20])
def test_all_rows_whatever_the_chunk(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml_rows, "CHUNK", chunk)
    rows, bad = _read(_file(*map(_row, range(10, 60))))
    assert rows == [(n + 1, {"Id": str(10 + n), "Body": "a <p> & a > b"}) for n in range(50)]
    assert (bad.num_records, bad.lines, bad.cut_short) == (50, [], False)


@pytest.mark.parametrize("data", [HEAD + END, b"<posts/>", b"<posts></posts>", HEAD + b"<!-- no row -->" + END])
def test_a_file_without_rows(data: bytes) -> None:
    rows, bad = _read(data)
    assert (rows, bad.num_records, bad.cut_short) == ([], 0, False)


def test_rows_in_other_layouts() -> None:
    data = b'<posts><row Id="1"></row><row\nId="2"/><other Id="3"/><rowx Id="4"/><row Id="5" /></posts>'
    assert [attributes["Id"] for _, attributes in _read(data)[0]] == ["1", "2", "5"]


def test_ranges_share_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml_rows, "CHUNK", 50)
    data = _file(*map(_row, range(30)))
    whole = [attributes for _, attributes in _read(data)[0]]
    for size in (1, 13, 40, 333, len(data) - 3, len(data)):
        parts = []
        for start in range(0, len(data), size):
            stop = start + size if start + size < len(data) else None
            rows, bad = _read(data, start=start, stop=stop)
            assert not bad.cut_short and not bad.lines
            parts += [attributes for _, attributes in rows]
        assert parts == whole, size


def test_ranges_report_a_cut_once() -> None:
    data = _file(*map(_row, range(30)))[:-40]
    for size in (20, 100, 500):
        ranges = [(s, s + size if s + size < len(data) else None) for s in range(0, len(data), size)]
        reports = [_read(data, start=start, stop=stop) for start, stop in ranges]
        assert [bad.cut_short for _, bad in reports].count(True) == 1
        assert sum(len(bad.lines) for _, bad in reports) == 1


@pytest.mark.parametrize(("cut", "left"), [(-30, 9), (-len(END), 10), (-3, 10), (len(HEAD) - 4, 0), (0, 0)])
def test_a_cut_file_gives_the_rows_before_the_cut(cut: int, left: int) -> None:
    rows, bad = _read(_file(*map(_row, range(10)))[:cut])
    assert [number for number, _ in rows] == list(range(1, left + 1))
    assert bad.cut_short and [line.reason for line in bad.lines] == ["the file ends before its closing tag"]
    assert bad.num_records == left + 1 == bad.lines[0].number


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b'<row Id="2" Body="\x01" />', "not well-formed (invalid token)"),
        (b'<row Id="2" Body="\xff\xfe" />', "not well-formed (invalid token)"),
        (b'<row Id="2" Body="&#x0;" />', "reference to invalid character number"),
        (b'<row Id="2" Body="&secret;" />', "undefined entity"),
        (b'<row Id="2" Id="3" />', "duplicate attribute"),
        (b'<row Id="2" Body="<p>hi</p>" />', "not well-formed (invalid token)"),
        (b"<row Id=2 />", "not well-formed (invalid token)"),
    ],
)
def test_a_malformed_row_costs_one_row(broken: bytes, reason: str) -> None:
    rows, bad = _read(_file(_row(1), broken, _row(3), _row(4)))
    assert [(number, attributes["Id"]) for number, attributes in rows] == [(1, "1"), (3, "3"), (4, "4")]
    assert [(line.number, line.reason) for line in bad.lines] == [(2, f"malformed XML: {reason}")]
    assert bad.lines[0].text.startswith(b"<row Id=") and not bad.cut_short and bad.num_records == 4


def test_an_oversized_row_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml_rows, "CHUNK", 64)
    monkeypatch.setattr(base, "MAX_LINE", 200)
    fits = 200 - len(_row(5, ""))
    rows, bad = _read(_file(_row(1), _row(2, "x" * 999), _row(3), _row(4, "x" * (fits + 1)), _row(5, "x" * fits)))
    assert [(number, attributes["Id"]) for number, attributes in rows] == [(1, "1"), (3, "3"), (5, "5")]
    assert [(line.number, line.reason) for line in bad.lines] == [
        (2, "a row of more than 200 bytes"),
        (4, "a row of more than 200 bytes"),
    ]
    rows, bad = _read(_file(_row(1), _row(2, "x" * 999))[:-300])
    assert [number for number, _ in rows] == [1] and bad.cut_short and len(bad.lines) == 1


class _Endless(io.RawIOBase):
    """A file of `size` bytes: one row whose attribute does not end, then one more row."""

    def __init__(self, size: int) -> None:
        self.parts = iter([HEAD + b'<row Body="', *[b"x" * 2**20] * (size // 2**20), b'"/>' + _row(2) + END])

    def read(self, size: int = -1) -> bytes:
        return next(self.parts, b"")


def test_a_1_gb_attribute_is_not_held() -> None:
    bad = BadRecords()
    tracemalloc.start()
    rows = [row for block in read_rows(_Endless(2**30), "Posts.xml", bad) for row in block]  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [attributes["Id"] for _, attributes in rows] == ["2"] and len(bad.lines) == 1
    assert peak < 4 * base.MAX_LINE


def _bomb(kind: str, secret: Path) -> bytes:
    levels = "".join(f'<!ENTITY b{i} "{f"&b{i - 1};" * 10}">' for i in range(1, 12))
    inside = {
        "bomb": f'<!DOCTYPE posts [<!ENTITY b0 "lol">{levels}]><posts><row Id="1" Body="&b11;"/></posts>',
        "external": f'<!DOCTYPE p [<!ENTITY x SYSTEM "{secret.as_uri()}">]><posts><row Body="&x;"/></posts>',
        "parameter": f'<!DOCTYPE p [<!ENTITY % x SYSTEM "{secret.as_uri()}"> %x;]><posts><row Id="1"/></posts>',
        "dtd": f'<!DOCTYPE posts SYSTEM "{secret.as_uri()}"><posts><row Id="1"/></posts>',
        "row in name": f'<!DOCTYPE posts SYSTEM "<row {secret.as_uri()}"><posts><row Id="1"/></posts>',
        "later": f'<posts><row Id="1"/><!DOCTYPE p [<!ENTITY x SYSTEM "{secret.as_uri()}">]><row B="&x;"/></posts>',
        "last": f'<posts><row Id="1"/><!ENTITY x SYSTEM "{secret.as_uri()}">',
    }[kind]
    return b"<?xml version='1.0'?>" + inside.encode()


@pytest.mark.parametrize("chunk", [16, 2**20])
@pytest.mark.parametrize("kind", ["bomb", "external", "parameter", "dtd", "row in name", "later", "last"])
def test_declarations_are_refused(kind: str, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml_rows, "CHUNK", chunk)
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    os.utime(secret, (1, 1))  # a read would renew a time of access that old
    bad = BadRecords()
    rows: list[Row] = []
    with pytest.raises(ValueError, match=r"Posts\.xml declares a document type or an entity"):
        for block in read_rows(io.BytesIO(_bomb(kind, secret)), "Posts.xml", bad):
            rows += block
    assert secret.stat().st_atime == 1
    assert not any(SECRET in str(row) or "lol" in str(row) for row in rows)


def test_a_read_would_be_seen(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    os.utime(secret, (1, 1))
    secret.read_text()
    if secret.stat().st_atime == 1:
        pytest.skip("this file system keeps no times of access")


def test_an_encoding_cannot_hide_a_declaration() -> None:
    text = '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE p [<!ENTITY x "y">]><posts><row B="&x;"/></posts>'
    with pytest.raises(ValueError, match="does not start as XML in UTF-8"):
        _read(text.encode("utf-16"))
    hidden = b'<?xml version="1.0" encoding="utf-7"?>+ADwAIQ-DOCTYPE p+AD4-<posts><row B="1"/></posts>'
    with pytest.raises(ValueError, match="does not start as XML in UTF-8"):
        _read(hidden)


@pytest.mark.parametrize("data", [b"7z\xbc\xaf\x27\x1c", b"hello", b"{}\n<row/>", b"\x00" * 50])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"Posts\.xml does not start as XML in UTF-8"):
        _read(data)
