"""MovieLens' films → the item table: titles as people say them, genres as category, the year as an entity."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pyarrow as pa

from tastelab.data.feeds.text import clean_title
from tastelab.data.movielens_layout import RawMovieLens
from tastelab.data.quarantine import BadLine, Quarantine
from tastelab.schema import ITEMS

GENRES = (
    "",  # unknown
    *("Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy"),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
"""What the flags at the end of a line of `u.item` stand for, in their order."""

NO_GENRE = ("", "unknown", "(no genres listed)")
_YEAR = re.compile(r"\s*\((\d{4})(?:[-–]\d{0,4})?\)\s*$")
_ARTICLES = "The|A|An|La|Le|Les|L'|Il|Lo|I|Gli|El|Los|Las|Un|Una|Une|Der|Die|Das|Ein|Eine|Det|Den|De|Het|O|Os|As"
_MOVED = re.compile(rf"^(.+), ({_ARTICLES})(?=$| \()")
_MOVED_WITHIN = re.compile(rf"\(([^()]+), ({_ARTICLES})\)")

FIRST_FLAG = 5

COLUMNS = {
    "id": ("movieid", "item_id"),
    "title": ("title", "movie_title"),
    "genres": ("genres", "genre", "class"),
    "year": ("year", "release_year"),
}
"""Names that headers have for what is read; only the year may be missing."""


def read_films(release: RawMovieLens, quarantine: Quarantine, advance: Callable[[int], object]) -> pa.Table:
    """Return the table of `schema.ITEMS` of the films, one per id; of several lines with one id the first wins.

    The title is the film's without its year, a trailing article in its place ("Matrix, The" → "The Matrix").
    `category` is the first genre, `subcategory` the others, `entities` the year: a fact about the film such as the
    labels of that column are, which a model sees only where it is asked for. `created` is null: the sources do not say
    when a film entered the catalogue, and the date of the film is another thing.

    Raises:
        ValueError: The file is empty, its header lacks a column, or too many of its lines are malformed.
    """
    layout, label = release.layout, release.items.label
    with release.items.open() as stream:
        lines = _text(stream.read(), label).split("\n")
    advance(release.items.size)
    places = {"id": 0, "title": 1, "genres": 2}
    if layout.has_header:
        places = header_places(layout.split_item(lines[0]), label)
    num_columns = max(places.values()) + 1 if layout.genre_separator else FIRST_FLAG + len(GENRES)
    bad: list[BadLine] = []
    films: dict[str, list[str]] = {}
    num_lines = 0
    for number, line in enumerate(lines[layout.has_header :], 1 + layout.has_header):
        if not line.strip():
            continue
        num_lines += 1
        fields = [field.strip() for field in layout.split_item(line)]
        if len(fields) < num_columns:
            bad.append(BadLine(number, f"truncated: {len(fields)} of {num_columns} columns", line.encode()))
        elif not fields[places["id"]]:
            bad.append(BadLine(number, "empty id", line.encode()))
        else:
            films.setdefault(fields[places["id"]], fields)
    quarantine.check(label, num_lines, quarantine.add("all", label, bad))
    return _table(films, places, layout.genre_separator)


def header_places(names: Sequence[str], label: str) -> dict[str, int]:
    """Return where id, title, genres and, if it has a column, the year stand.

    Raises:
        ValueError: One of the first three is missing.
    """
    plain = [name.split(":")[0].strip().lower() for name in names]  # RecBole adds a type: "item_id:token"
    found = {key: plain.index(name) for key, known in COLUMNS.items() for name in known if name in plain}
    if missing := [key for key in COLUMNS if key not in found and key != "year"]:
        raise ValueError(
            f"{label} has no column for {' and '.join(missing)}: its first line must name them, for instance "
            f"{', '.join(COLUMNS[key][-1] for key in missing)}."
        )
    return found


def spoken_title(title: str) -> tuple[str, str]:
    """Return a film's title with its article in front, and its year, "" if it is not there.

    >>> spoken_title("City of Lost Children, The (Cité des enfants perdus, La) (1995)")
    ('The City of Lost Children (La Cité des enfants perdus)', '1995')
    """
    year = _YEAR.search(title)
    title = _MOVED.sub(_in_front, title[: year.start()] if year else title)
    title = _MOVED_WITHIN.sub(lambda match: f"({_in_front(match)})", title)
    return clean_title(title), year[1] if year else ""


def _in_front(match: re.Match[str]) -> str:
    name, article = match.groups()
    return f"{article}{name}" if article.endswith("'") else f"{article} {name}"


def _text(raw: bytes, label: str) -> str:
    """Decode a file; the older releases are in Latin-1, in which every byte is a character."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    if not text.strip():
        raise ValueError(f"{label} is empty.")
    return text.replace("\r\n", "\n")


def _table(films: dict[str, list[str]], places: dict[str, int], genre_separator: str) -> pa.Table:
    titles, years = zip(*(spoken_title(fields[places["title"]]) for fields in films.values()), strict=True)
    if "year" in places:
        columns = [fields[places["year"]] for fields in films.values()]
        years = tuple(
            column if re.fullmatch(r"\d{4}", column) else year for column, year in zip(columns, years, strict=True)
        )
    genres = [_genres(fields, places["genres"], genre_separator) for fields in films.values()]
    nothing = [""] * len(films)
    return pa.table(
        {
            "item_id": list(films),
            "title": titles,
            "abstract": nothing,
            "body": nothing,
            "category": [names[0] if names else "" for names in genres],
            "subcategory": [", ".join(names[1:]) for names in genres],
            "entities": years,
            "created": pa.nulls(len(films), pa.timestamp("s")),
            "has_text": [True] * len(films),
        },
        schema=ITEMS,
    )


def _genres(fields: list[str], place: int, separator: str) -> list[str]:
    if not separator:
        flags = fields[FIRST_FLAG : FIRST_FLAG + len(GENRES)]
        return [name for name, flag in zip(GENRES, flags, strict=True) if flag == "1" and name]
    return [] if fields[place] in NO_GENRE else [name for name in fields[place].split(separator) if name]
