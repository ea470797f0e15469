from __future__ import annotations

import time

import pytest

from tastelab.data.feeds import text as module
from tastelab.data.feeds.text import clean_title, plain_text, without_personal

ALEF_LAM = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"  # a Persian word that needs its non-joiner
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<p>One</p><p>two</p>", "One two"),
        ("a<br>b<br/>c", "a b c"),
        ("un<b>believ</b>able", "unbelievable"),
        ("before<pre><code>x = 1</code></pre>after", "before after"),
        ("call <code>f(x)</code> twice", "call f(x) twice"),
        ("a<script>alert(1)</script>b<style>p {}</style>c", "abc"),
        ("R&amp;D &lt;here&gt;", "R&D <here>"),
        ("<p>R&amp;D &amp;lt;here&amp;gt;</p>", "R&D &lt;here&gt;"),
        ("  many \t\r\n blanks\u00a0\u2003here ", "many blanks here"),
        ('<a href="https://a.org/x">link', "link"),
        ("cut <p", "cut"),
        ("", ""),
        ("<p></p>", ""),
    ],
)
def test_html_becomes_plain_text(html: str, expected: str) -> None:
    assert plain_text(html) == expected


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Why is Vec<T> slower than List<String>?", "Why is Vec<T> slower than List<String>?"),
        ("How to centre a <div>?", "How to centre a <div>?"),
        ("a < b && b > c", "a < b && b > c"),
        ("<b>Bold</b> claim", "Bold claim"),
        ('<img src="x" onerror="alert(1)">Look', "Look"),
        ("<script>alert(1)</script>Look", "Look"),
        ("AT&amp;T &#8211; a &quot;test&quot;", 'AT&T \u2013 a "test"'),
        ("&amp;lt;b&amp;gt;", "&lt;b&gt;"),
        ("&lt;b&gt;not bold&lt;/b&gt;", "<b>not bold</b>"),
        ("?a=1&copy=2&nosuchentity;", "?a=1&copy=2&nosuchentity;"),
        ("Tab\tand\nnewline", "Tab and newline"),
    ],
)
def test_title_loses_only_markup_that_is_there(title: str, expected: str) -> None:
    assert clean_title(title) == expected


@pytest.mark.parametrize("clean", [plain_text, clean_title])
def test_invisible_characters_go_and_scripts_stay(clean: object) -> None:
    assert callable(clean)
    assert clean("in\u202evisible\u202c \x00bell\x07 \u200bzero\ufeff \u2066iso\u2069 soft\u00adhyphen") == (
        "invisible bell zero iso softhyphen"
    )
    assert clean("line\u2028and\u2029paragraph\x85next") == "line and paragraph next"
    assert clean("half \ud83d pair") == "half pair"
    assert clean("flag\U000e0067\U000e007f") == "flag"
    hebrew = "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd"
    assert clean(f"\u200f{hebrew}\u200f") == hebrew
    assert clean("pay\u200dpal ad\u200cmin\u200d") == "paypal admin"
    assert clean(f"{ALEF_LAM} {FAMILY}") == f"{ALEF_LAM} {FAMILY}"
    assert clean("cafe\u0301") == "caf\u00e9"
    assert clean("&#x202e;txt.exe") == "txt.exe"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to jo.doe+x@mail.example.org.", "write to [e-mail]."),
        ("thanks @jo_doe, and @al-b.", "thanks [name], and [name]."),
        ("@jo@social.example said", "[name] said"),
        ("by u/jo-doe and /u/JoDoe", "by [name] and [name]"),
        ("see reddit.com/u/jodoe and reddit.com/user/jodoe", "see reddit.com/[name] and reddit.com/[name]"),
        ("https://social.example/@jodoe", "https://social.example/[name]"),
        ("to o'hara@mail.example, x%y@mail.example", "to [e-mail], [e-mail]"),
        ("jo\uff20mail.example or \uff20jodoe", "[e-mail] or [name]"),
        ("(\u6d4b\u8bd5@\u4f8b\u5b50.\u5e7f\u544a)", "([e-mail])"),
        ("5 @ 3 euros, r/python, a/u/b, menu/item", "5 @ 3 euros, r/python, a/u/b, menu/item"),
    ],
)
def test_names_and_addresses_go(text: str, expected: str) -> None:
    assert without_personal(text) == expected
    assert without_personal(expected) == expected


def test_a_title_without_markup_meets_no_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LexborHTMLParser", None)
    assert plain_text("plain words") == clean_title("plain words") == "plain words"
    assert clean_title("Vec<T>") == "Vec<T>"
    with pytest.raises(TypeError):
        plain_text("<p>x")


def test_html_is_read_up_to_a_length_and_not_into_an_address() -> None:
    filler = "<i></i>" * (module.MAX_HTML_CHARS // 7 - 2)
    assert plain_text(f"{filler} jo@mail.example.org later") == ""
    assert plain_text(f"{filler[: -7 * 60]} jo@mail.example.org {filler}later") == "jo@mail.example.org"
    assert len(plain_text(f"<p>{chr(0x5B57) * 10**6}</p>")) > module.MAX_HTML_CHARS - 1_000  # no blanks, no words


def test_time_is_linear_in_hostile_text() -> None:
    started = time.process_time()
    for hostile in (
        "<b>" * 300_000,
        "<b " * 300_000,
        "&amp" * 200_000,
        "a" * 10**6 + "@",
        "@a" * 400_000,
        "u/" * 500_000,
        "a'" * 500_000 + "@",
        "<div>" * 500_000,
        "<ul><li>" * 200_000,
    ):
        clean_title(without_personal(hostile))
        plain_text(hostile)
    assert time.process_time() - started < 20


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("see https://a.example/users/12/alice-smith here", "see https://a.example/[name] here"),
        ("https://m.example/users/alice", "https://m.example/[name]"),
        ("news.ycombinator.com/user?id=alice said", "news.ycombinator.com/user?id=[name] said"),
        ("https://b.example/profile/alice", "https://b.example/[name]"),
        ("and/or users of profile/ pages", "and/or users of profile/ pages"),
        ("many users/people", "many users/people"),
    ],
)
def test_links_to_profiles_lose_their_names(text: str, left: str) -> None:
    assert without_personal(text) == left
