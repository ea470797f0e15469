"""HTML written by hand: escaped text, tags, the little Markdown that tables use, and figures as data."""

from __future__ import annotations

import base64
import html
import re

VOID = {"img", "br"}
STRONG, EMPHASIS = re.compile(r"\*\*(.+?)\*\*"), re.compile(r"(?<!\*)\*([^*]+)\*(?!\*)")
BLANK = re.compile(r">\s+<")
UNSEEN = re.compile(r"^.*?(?=<svg\b)|<metadata>.*?</metadata>|<!--.*?-->", re.DOTALL)


def text(value: object) -> str:
    """Escape a text so that it can stand between tags and in attributes."""
    return html.escape(str(value), quote=True)


def inline(value: str) -> str:
    """Escape a text and set its `code`, **bold** and *italic* parts: the Markdown of cells, captions and notes."""
    parts = re.split(r"(`[^`]*`)", value)
    return "".join(
        f"<code>{text(part[1:-1])}</code>"
        if len(part) > 1 and part[0] == part[-1] == "`"
        else EMPHASIS.sub(r"<i>\1</i>", STRONG.sub(r"<b>\1</b>", text(part)))
        for part in parts
    )


def tag(name: str, *children: str, **attributes: object) -> str:
    """Write an element; children are markup already, attributes are escaped and left out where None or False.

    A trailing `_` is dropped from an attribute's name and another becomes `-`: `class_`, `data_row`.
    """
    given = [(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items()]
    shown = [f" {key}" if value is True else f' {key}="{text(value)}"' for key, value in given if _is_set(value)]
    opened = f"<{name}{''.join(shown)}>"
    return opened if name in VOID else f"{opened}{''.join(children)}</{name}>"


def data_uri(svg: str) -> str:
    """Turn an SVG into a data URI without what nobody sees of it; as an image, its ids meet those of no other."""
    lean = BLANK.sub("><", UNSEEN.sub("", svg)).strip()
    return "data:image/svg+xml;base64," + base64.b64encode(lean.encode()).decode()


def _is_set(value: object) -> bool:
    return value is not None and value is not False and value != ""
