"""Rows of a Stack Exchange XML file, one `<row …/>` a record, streamed: `Posts.xml` of a large site has 100 GB.

A raw `<` never stands inside an attribute (XML 1.0, production 10), so cutting the bytes in front of each `<` gives
whole tags. A block of them goes to expat; if expat refuses it, its tags are parsed one by one, so that one malformed
row costs one row. A declaration (`<!DOCTYPE`, `<!ENTITY` …) is refused before any parser sees it: nothing is expanded
and nothing outside the file is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO
from xml.parsers import expat

from tastelab.data.feeds import base
from tastelab.data.feeds.base import BadRecords
from tastelab.data.quarantine import MAX_TEXT

Row = tuple[int, dict[str, str]]
"""Number of a row in what is read (from 1), and its attributes."""

CHUNK = 2**20
"""Bytes that are read and parsed at a time."""
_ROW = re.compile(rb"<row[\s/>]")
_TAG = re.compile(rb"<[^<]*")
_UNFINISHED = (expat.errors.XML_ERROR_NO_ELEMENTS, expat.errors.XML_ERROR_UNCLOSED_TOKEN)
_DECLARATION = re.compile(rb"<!(?!--)")


def read_rows(
    stream: IO[bytes], name: str, bad: BadRecords, start: int = 0, stop: int | None = None
) -> Iterator[list[Row]]:
    """Yield the rows of a file in blocks of about `CHUNK` bytes; memory does not grow with the file.

    Args:
        stream: The file; seekable unless `start` is 0.
        name: What messages call it.
        bad: Takes malformed rows and rows of more than `base.MAX_LINE` bytes (which are never held whole), counts all
            rows, and learns whether the file ends before its closing tag; the rows before that end are yielded.
        start: Rows are read whose first byte is in the range from here …
        stop: … to here, so that several ranges share one file; None: to its end.

    Raises:
        ValueError: The file declares a document type or an entity, or does not start as XML in UTF-8.
    """
    tags = _Tags(stream, bad, start, stop)
    head = None if start else _Head(name)
    for block in tags:
        _refuse_declarations(block, name)
        rows = block if head is None else head.skip(block)
        if rows:
            head = None
            yield _parse(rows, bad)
    if tags.tail is not None:
        _refuse_declarations(tags.tail, name)
        yield _parse_tail(tags.tail, bad, head)


class _Tags:
    """Blocks of whole tags of a range of a file; where the range meets the file's end, its last tag is the `tail`."""

    def __init__(self, stream: IO[bytes], bad: BadRecords, start: int, stop: int | None) -> None:
        self.stream, self.bad, self.stop = stream, bad, stop
        self.tail: bytes | None = None
        self._held, self._offset = b"", start
        if start:
            stream.seek(start)
            self._skip_to_tag()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            chunk = self.stream.read(CHUNK)
            self._held += chunk
            self._drop_oversized()
            if (end := self._end_of_range()) >= 0:
                yield self._held[:end]
                return
            if not chunk:
                self.tail = None if self.bad.cut_short or (self._offset and not self._held) else self._held
                return
            if (cut := self._held.rfind(b"<")) > 0:
                yield self._held[:cut]
                self._held, self._offset = self._held[cut:], self._offset + cut

    def _end_of_range(self) -> int:
        """Return where the first tag after the range starts in what is held; -1: not yet there."""
        return -1 if self.stop is None else self._held.find(b"<", max(self.stop - self._offset, 0))

    def _drop_oversized(self) -> None:
        """Set a first tag above `MAX_LINE` aside, reading to its end without holding it."""
        following = self._held.find(b"<", 1)
        if (following if following > 0 else len(self._held)) > base.MAX_LINE:
            self.bad.num_records += 1
            reason = f"a row of more than {base.MAX_LINE:,} bytes"
            self.bad.add(self.bad.num_records, reason, self._held[:MAX_TEXT])
            self._held, self._offset = self._held[1:], self._offset + 1
            self.bad.cut_short |= not self._skip_to_tag()

    def _skip_to_tag(self) -> bool:
        """Drop what is held and read on until a tag starts; False: the file has no further tag."""
        while (start := self._held.find(b"<")) < 0:
            self._offset += len(self._held)
            self._held = self.stream.read(CHUNK)
            if not self._held:
                return False
        self._held, self._offset = self._held[start:], self._offset + start
        return True


class _Head:
    """What stands before the first row: the XML declaration and the root's opening tag."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._parser = expat.ParserCreate("utf-8")  # whatever encoding the file declares

    def skip(self, block: bytes) -> bytes:
        """Return a block from its first row on; empty: no row yet."""
        found = _ROW.search(block)
        cut = found.start() if found else len(block)
        try:
            if b"\0" in block[:cut]:  # UTF-16, which expat would accept for its byte order mark
                raise expat.ExpatError("a zero byte")
            self._parser.Parse(block[:cut], False)
        except expat.ExpatError as error:
            raise self._refusal(error) from error
        return block[cut:]

    def is_whole(self) -> bool:
        """Whether what was seen is a document of its own, without rows, and not only the start of one."""
        try:
            self._parser.Parse(b"", True)
        except expat.ExpatError as error:
            if expat.ErrorString(error.code) not in _UNFINISHED:
                raise self._refusal(error) from error
            return False
        return True

    def _refusal(self, error: expat.ExpatError) -> ValueError:
        return ValueError(f"{self._name} does not start as XML in UTF-8 ({error}): give the dump's own file.")


def _refuse_declarations(block: bytes, name: str) -> None:
    if _DECLARATION.search(block):
        raise ValueError(
            f"{name} declares a document type or an entity, which no site dump does and which could read other files "
            "or fill the memory: download the dump again from its source."
        )


def _parse(block: bytes, bad: BadRecords) -> list[Row]:
    """Return the rows of a block of whole tags."""
    try:
        rows = _attributes(b"<rows>" + block + b"</rows>")
    except expat.ExpatError:
        return _parse_singly(block, bad)
    first = bad.num_records + 1
    bad.num_records += len(rows)
    return list(enumerate(rows, first))


def _parse_singly(block: bytes, bad: BadRecords) -> list[Row]:
    """Return the rows of a block that is not well-formed, its malformed rows set aside."""
    rows: list[Row] = []
    for tag in _TAG.findall(block):
        if not _ROW.match(tag):
            continue
        bad.num_records += 1
        try:
            whole = tag if tag.rstrip().endswith(b"/>") else tag + b"</row>"
            rows += [(bad.num_records, attributes) for attributes in _attributes(whole)]
        except expat.ExpatError as error:
            bad.add(bad.num_records, f"malformed XML: {expat.ErrorString(error.code)}", tag)
    return rows


def _parse_tail(tail: bytes, bad: BadRecords, head: _Head | None) -> list[Row]:
    """Return the row that a file's last tag may be; unless the tag closes the root, the file has been cut."""
    if head is not None and not head.skip(tail) and head.is_whole():
        return []
    if tail.startswith(b"</") and tail.rstrip().endswith(b">"):
        return []
    rows: list[Row] = []
    if _ROW.match(tail) and tail.rstrip().endswith(b"/>"):
        rows = _parse(tail, bad)
    bad.cut_short = True
    bad.num_records += 1
    bad.add(bad.num_records, "the file ends before its closing tag", tail)
    return rows


def _attributes(document: bytes) -> list[dict[str, str]]:
    """Return the attributes of the rows of a small document."""
    rows: list[dict[str, str]] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag == "row":
            rows.append(attributes)

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = start
    parser.Parse(document, True)
    return rows
