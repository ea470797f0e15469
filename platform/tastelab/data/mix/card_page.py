"""The data card as a page of Markdown, made of the facts of `card.json` alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tastelab.data.mix.trivial import EXPECTED, RANKERS, TOLERANCE

Card = Mapping[str, Any]
MAX_COMMUNITIES = 50
"""Communities that are listed one by one; the rest is one row."""


def page(card: Card) -> str:
    """Print a card: warnings first, then sources, sizes, trivial rankers, what was left out, and how it was built."""
    sections = [
        [f"# Data card: {card['name']}"],
        _warnings(card),
        ["## Sources", _sources(card), *_unseen(card), _RIGHTS],
        ["## Sizes", _sizes(card), _items(card)],
        ["## Engagements", _counts("kind", "engagements", card["engagements"]), _PEOPLE.format(**_number(card))],
        ["## Communities", _communities(card)],
        ["## Trivial rankers", _RANKERS, _trivial(card)],
        ["## Left out", _dropped(card), *_quarantine(card)],
        ["## Checked", *_checks(card)],
        ["## Built with", _counts("option", "value", card["options"] | {"tastelab": card["tastelab"]})],
        [_counts("of the build", "number", card["notes"])] if card["notes"] else [],
    ]
    return "\n\n".join(part for section in sections for part in section) + "\n"


_RIGHTS = (
    "The texts are by the contributors of each source, under the licence named there; whoever passes them on "
    "attributes them. Identifiers of people and items are keyed hashes; of a reply no text is kept."
)
_PEOPLE = "The first engagement of a person with an item counts: {people} people with at least one."
_RANKERS = (
    "AUC of rankers that know nothing of taste, with the 95 % interval. On sound data all but popularity are near .5; "
    f"one outside .5 ± {TOLERANCE:.2f} is marked and stands beside every table on this data."
)


def _warnings(card: Card) -> list[str]:
    """Return the rankers outside the tolerance of both variants, or the sentence that there are none."""
    found = [f"- **{sentence}**" for variant in card["variants"].values() for sentence in variant["warnings"]]
    if not found:
        return [f"No trivial ranker but popularity has an AUC outside .5 ± {TOLERANCE:.2f}."]
    return ["\n".join(found)]


def _sources(card: Card) -> str:
    columns = ["posts", "items", "replies", "reactions", "accounts", "bad"]
    rows = [
        [source["label"], source["feed"], source["licence"], *(f"{source[name]:,}" for name in columns)]
        for source in card["sources"]
    ]
    return table(["source", "feed", "licence", *columns[:-1], "malformed"], rows, left=3)


def _unseen(card: Card) -> list[str]:
    found = []
    if feeds := card["never_run_on_real_data"]:
        found.append(
            f"Never run on a real dump, only on files written from the format's documentation: {', '.join(feeds)}."
        )
    if cut := [f"{file} ({source['label']})" for source in card["sources"] for file in source["cut_short"]]:
        found.append(f"Cut within a record, kept up to there: {', '.join(cut)}.")
    return found


def _sizes(card: Card) -> str:
    rows = [
        [
            variant,
            split,
            *(f"{sizes[key]:,}" for key in ("impressions", "people")),
            *(f"{sizes[key]:.1f}" for key in ("mean_history", "mean_candidates")),
            f"{sizes['empty_histories']:,}",
            f"{sizes['first']} to {sizes['last']}",
        ]
        for variant, split, sizes in _splits(card)
    ]
    header = ["variant", "split", "impressions", "people", "mean history", "mean candidates", "empty histories", "span"]
    return table(header, rows, left=2)


def _items(card: Card) -> str:
    items = {name: f"{count:,}" for name, count in card["items"].items()}
    return (
        "{items} items. {near_duplicates} of them are marked as near-duplicates of an earlier one (the same link or "
        "almost the same title), in {near_duplicate_groups} groups of at most {largest_group}; {equal_titles} have the "
        "very title of an earlier one. None is removed for that; posts with one id are one item."
    ).format(**items)


def _communities(card: Card) -> str:
    communities = list(card["communities"].items())
    rows = [[name, *_sums([found])] for name, found in communities[:MAX_COMMUNITIES]]
    if rest := [found for _, found in communities[MAX_COMMUNITIES:]]:
        items, engagements, _ = _sums(rest)
        rows.append([f"{len(rest):,} more", items, engagements, "–"])
    return table(["community", "items", "engagements", "people"], rows)


def _sums(communities: Iterable[Mapping[str, int]]) -> list[str]:
    found = list(communities)
    return [f"{sum(each[key] for each in found):,}" for key in ("items", "engagements", "people")]


def _trivial(card: Card) -> str:
    rows = [[name, what] + [_auc(name, sizes["trivial"]) for *_, sizes in _splits(card)] for name, what in _rankers()]
    return table(["ranker", "order", *(f"{variant}, {split}" for variant, split, _ in _splits(card))], rows, left=2)


def _rankers() -> Iterable[tuple[str, str]]:
    return RANKERS.items()


def _auc(name: str, aucs: Mapping[str, Mapping[str, float]]) -> str:
    if name not in aucs:
        return "–"
    auc = aucs[name]
    text = f"{auc['mean']:.3f} ({auc['low']:.3f} to {auc['high']:.3f})"
    return f"**{text}**" if name not in EXPECTED and abs(auc["mean"] - 0.5) > TOLERANCE else text


def _dropped(card: Card) -> str:
    return _counts("reason", "number", card["dropped"]) if card["dropped"] else "Nothing was dropped."


def _quarantine(card: Card) -> list[str]:
    reasons = card["quarantine"].get("reasons", {})
    if not reasons:
        return ["No record was malformed."]
    return ["Malformed records, by number in `quarantine.tsv`:", _counts("reason", "records", reasons)]


def _checks(card: Card) -> list[str]:
    counts = [
        f"{name}: {found['impressions']:,} impressions, {found['candidates']:,} candidates, "
        f"{found['history_slots']:,} history slots ({found['disliked_slots']:,} disliked), {found['users']:,} users"
        for name, found in ((name, variant["sanity"]) for name, variant in card["variants"].items())
    ]
    held = card["variants"]["final"]["sanity"]["checks"]
    return [f"On every impression of both variants ({'; '.join(counts)}):", "\n".join(f"- {line}" for line in held)]


def _splits(card: Card) -> list[tuple[str, str, Mapping[str, Any]]]:
    return [
        (variant, split, sizes)
        for variant, found in card["variants"].items()
        for split, sizes in found["splits"].items()
    ]


def _number(card: Card) -> dict[str, str]:
    return {"people": f"{card['people']:,}"}


def _counts(what: str, number: str, counts: Mapping[str, Any]) -> str:
    return table([what, number], [[name, _cell(value)] for name, value in counts.items()])


def _cell(value: object) -> str:
    """Return a number with thousands between commas, anything else as it is."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Return a table of Markdown whose first `left` columns are words and whose others are numbers."""
    rule = ["---" if place < left else "---:" for place in range(len(header))]
    lines = [header, rule, *([_escaped(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: str) -> str:
    """Return a text, such as the name of a community, in which nothing ends a cell or starts markup."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())
