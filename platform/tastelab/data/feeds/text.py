"""Texts of posts as one line of plain text, without markup, tricks of control characters, and personal names."""

from __future__ import annotations

import re
import unicodedata
from html import unescape

from selectolax.lexbor import LexborHTMLParser

MAX_TEXT_CHARS = 2_000
"""Characters of an item's text that are kept."""
MAX_HTML_CHARS = 200_000
"""Characters of HTML that are parsed: the time of the parser grows with the square of the depth of nested blocks."""
MAX_ADDRESS_CHARS = 320
"""Characters of an e-mail address: half of one would not be told as such, so none is cut there."""

_DROPPED = "pre, script, style, template, noscript"
_BLOCKS = "p|br|hr|div|li|ul|ol|dl|dt|dd|tr|td|th|table|blockquote|pre|h[1-6]|section|article|figure|figcaption"
_BLOCK_TAG = re.compile(rf"</?(?:{_BLOCKS})\b", re.IGNORECASE)
_NAMES = f"a|abbr|b|big|code|del|em|font|i|img|ins|kbd|mark|s|script|small|span|strong|style|sub|sup|u|{_BLOCKS}"
# "List<String>" and "how to centre a <div>" are words of a title: markup is closed again or has attributes.
_OPEN = re.compile(rf"<({_NAMES})(?=[\s/>])([^<>]*)>", re.IGNORECASE)
_CLOSE = re.compile(rf"</({_NAMES})\s*>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # controls that are no blanks
    "\u00ad\u180e\u200b\u2060-\u2065\ufeff"  # soft hyphen, zero widths
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # directions: marks, embeddings, overrides, isolates
    "\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f"  # annotations, noncharacters, tags
    "\ud800-\udfff]+"  # half a pair of surrogates: JSON can name one, UTF-8 cannot
)
# Persian, the scripts of India and emoji are wrong without (non-)joiners; in Latin text they only hide something.
_JOINERS = re.compile(
    "(?<![\u0590-\u1fff\u2100-\U0010ffff])[\u200c\u200d]+|[\u200c\u200d]+(?![\u0590-\u1fff\u2100-\U0010ffff])"
)
_LAST_WORD = re.compile(r"[^\s<>]+$")
_HANDLE = re.compile(r"(?<![\w@\uff20.+-])[@\uff20]\w+(?:[.-]\w+)*(?:[@\uff20][\w-]+(?:\.[\w-]+)+)?")
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+(?:['%][\w.+-]+){0,3}[@\uff20][\w-]+(?:\.[\w-]+)+")
_REDDIT_NAME = re.compile(
    r"(?:(?<!\w)/)?(?<!\w)u/[\w-]{3,20}(?![\w-])|(?<=reddit\.com/)user/[\w-]{3,20}", re.IGNORECASE
)

_PROFILE = re.compile(
    r"(?<=/)users?/[\w.~-]+(?:/[\w.~-]+)?|(?<=/)profile/[\w.~-]*[^\W\d][\w.~-]*|(?<=user\?id=)[\w-]+", re.IGNORECASE
)


def plain_text(html: str) -> str:
    """Return HTML as one line of plain text.

    Tags go, with the code blocks (`<pre>`) and scripts they hold; code within a sentence stays. Entities are decoded
    once. What is invisible goes as well: controls, zero widths, and marks that turn the direction of text. Joiners stay
    between letters of scripts that need them. The result is in Unicode's form NFC and has single blanks.
    """
    return _visible(_without_tags(html) if "<" in html else _decoded(html))


def clean_title(text: str) -> str:
    """Return a title as `plain_text` does, with tags removed only where they are markup.

    Markup is an element that is opened and closed, or a tag with attributes. So the words of "Why is `Vec<T>` slow?"
    and "How to centre a `<div>`?" stay.
    """
    return _visible(_without_tags(text) if "<" in text and _has_markup(text) else _decoded(text))


def without_personal(text: str) -> str:
    """Return `text` with e-mail addresses as "[e-mail]", and handles and links to profiles as "[name]".

    Handles are @name, @name@host and u/name; profiles are /users/12/name, /user/name, /profile/name and user?id=name. A
    word such as "@property" cannot be told from a handle and goes, too.
    """
    if "@" in text or "\uff20" in text:  # the same, as wide as a Chinese character
        text = _EMAIL.sub("[e-mail]", _HANDLE.sub("[name]", text))
    if "u/" in text or "U/" in text or "user/" in text:
        text = _REDDIT_NAME.sub("[name]", text)
    if "/" in text or "user?id=" in text:
        text = _PROFILE.sub("[name]", text)
    return text


def _has_markup(text: str) -> bool:
    closed = {name.lower() for name in _CLOSE.findall(text)}
    return any("=" in match[2] or match[1].lower() in closed for match in _OPEN.finditer(text))


def _without_tags(html: str) -> str:
    if len(html) > MAX_HTML_CHARS:
        end = html[MAX_HTML_CHARS - MAX_ADDRESS_CHARS : MAX_HTML_CHARS]
        html = html[: MAX_HTML_CHARS - MAX_ADDRESS_CHARS] + _LAST_WORD.sub("", end)
    # Words of two blocks must not grow together, while "un<b>believ</b>able" is one word.
    tree = LexborHTMLParser(_BLOCK_TAG.sub(r" \g<0>", html.replace("\0", "")))
    for node in tree.css(_DROPPED):
        node.decompose()
    return tree.body.text() if tree.body else ""


def _decoded(text: str) -> str:
    return _ENTITY.sub(lambda match: unescape(match[0]), text) if "&" in text else text


def _visible(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        text = unicodedata.normalize("NFC", _JOINERS.sub("", _INVISIBLE.sub("", text)))
    return " ".join(text.split())
