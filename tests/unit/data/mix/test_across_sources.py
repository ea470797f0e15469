"""One account of a network of sites is one person, whichever sources the sites come in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tastelab.data.mix.build import MixOptions, build_mix
from tastelab.data.mix.tasks import here

SITES = ("ai", "beer")
DAY = 'CreationDate="2020-01-{day:02}T12:00:00.000"'
POST = f'<row Id="{{day}}" PostTypeId="1" {DAY} OwnerUserId="99" Title="Question {{day}}" />'
COMMENT = f'<row Id="{{user}}{{day}}" PostId="{{day}}" {DAY} UserId="{{user}}" />'
USER = f'<row Id="{{user}}" AccountId="{{account}}" {DAY.format(day=1)} />'
ACCOUNTS = {"ai": {1: 500, 2: 501}, "beer": {1: 501, 2: 502}}
"""User 2 of one site is user 1 of the other; the users 1 of both are different people."""


def site(folder: Path, name: str) -> Path:
    """A site with a question a day; both of its users comment on every other."""
    place = folder / f"{name}.stackexchange.com"
    place.mkdir(parents=True)
    rows = {
        "posts": [POST.format(day=day) for day in range(1, 29)],
        "comments": [COMMENT.format(day=day, user=user) for day in range(1, 29, 2) for user in ACCOUNTS[name]],
        "users": [USER.format(user=user, account=account) for user, account in ACCOUNTS[name].items()],
    }
    for kind, lines in rows.items():
        (place / f"{kind.capitalize()}.xml").write_text(f"<{kind}>\n" + "\n".join(lines) + f"\n</{kind}>\n")
    return place


def people(sources: Sequence[str], out: Path) -> int:
    build_mix(sources, out, MixOptions(window=2, min_history=1, salt="s", progress=False), here)
    return int(json.loads((out / "card.json").read_text())["people"])


def test_sites_join_their_accounts_in_one_source_and_in_several(tmp_path: Path) -> None:
    places = [site(tmp_path / "dumps", name) for name in SITES]
    assert people([f"stackexchange:{tmp_path / 'dumps'}"], tmp_path / "one") == 3
    assert people([f"stackexchange:{place}" for place in places], tmp_path / "several") == 3
