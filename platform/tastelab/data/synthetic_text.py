"""Titles and abstracts of the synthetic world.

A title names things of one topic and qualifies them by words of two styles. Every topic and every style has a
vocabulary of 40 to 90 words, so items that mean the same seldom share a string: taste is in the meaning.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tastelab.data import synthetic_words as words

DRAWS = 40
"""Uniform numbers that the text of one item consumes, at most."""

COMMUNITIES = tuple(words.TOPICS)
TOPICS = tuple(tuple(topics) for topics in words.TOPICS.values())
AXES = tuple(words.AXES)

_THINGS = {topic: nouns.split() for topics in words.TOPICS.values() for topic, nouns in topics.items()}
_STYLES = tuple((low.split(), high.split()) for low, high in words.AXES.values())
_NOUNS, _VERBS, _FIRST = words.NOUNS.split(), words.VERBS.split(), words.FIRST_NAMES.split()
_SURNAMES = [start + end for start in words.SURNAME_STARTS.split() for end in words.SURNAME_ENDS.split()]
_PLACES = [start + end for start in words.PLACE_STARTS.split() for end in words.PLACE_ENDS.split()]

_TITLES = (
    "{a}, {a2} {ts} and the {b} {us}",
    "a {a} {t} for {b}, {b2} {us}",
    "{a} {ts}, a {a2} {u}, and {b} {t}",
    "{a} and {a2} {ts} meet {b} {us}",
    "the {a} {t} of a {b}, {b2} {u}",
    "my {a} {t}: {b} and {b2} for the {u}",
    "{b} {t} or {b2} {u}: both {a}",
    "from {a}, {a2} {ts} to {b} {us}",
    "why {a} {ts} need {b}, {b2} {us}",
    "{a} {ts} and {b} {us}, {t} and {u}",
    "how {a}, {a2} {ts} became {b} {us}",
    "{a} or {b}? {ts}, {us} and {t}",
    "in search of {a} {ts} and {b} {us}",
)

_SENTENCES = (
    "{name} from {place} {v} a {a} {t} and {v2} the {u}.",
    "In {place}, {name} {v} {ts} that were {a}.",
    "The {n} began when {name} {v} a {t} near {place}.",
    "A {n} by {name}: {a} {ts}, {us} and a {n2}.",
    "Readers in {place} {v} the {t} as a {a} {n}.",
    "{name} {v} the {u}, then {v2} a {a} {t}.",
    "Every {n} about the {t} ends with a {a} {u}.",
    "What {name} {v} was a {n} of {ts} and {a} {us}.",
    "For a {n}, the people of {place} {v} {a} {ts}.",
    "There is a {n} in {place} that {v} {us} beside the {t}.",
)

_ARTICLE = re.compile(r"\b([Aa]) (?=(?!one|once|eu)[aeio]|heir|hour|u[nlp])", re.IGNORECASE)


def compose(topic: str, styles: Sequence[tuple[int, int]], draws: Sequence[float]) -> tuple[str, str, str]:
    """Compose the title, the abstract and the entities of an item.

    Args:
        topic: A topic of `TOPICS`.
        styles: Two pairs (axis, side): side 0 is the negative pole of the axis, 1 the positive.
        draws: `DRAWS` uniform numbers in [0, 1), which alone decide the choice of words.
    """
    pen = _Pen(topic, styles, draws)
    title = pen.write(pen.pick(_TITLES))
    abstract = " ".join(pen.write(pen.pick(_SENTENCES)) for _ in range(3))
    return title, abstract, ", ".join(pen.entities)


class _Pen:
    """Fill templates from a topic, two styles and a row of uniform numbers."""

    def __init__(self, topic: str, styles: Sequence[tuple[int, int]], draws: Sequence[float]) -> None:
        self._draws = iter(draws)
        self._things = _THINGS[topic]
        self._styles = [_STYLES[axis][side] for axis, side in styles]
        self._used: set[str] = set()
        self.entities: list[str] = []

    def pick(self, options: Sequence[str]) -> str:
        return options[int(next(self._draws) * len(options))]

    def _unused(self, options: Sequence[str]) -> str:
        """Pick a word that the item's text does not hold yet."""
        place = int(next(self._draws) * len(options))
        word = next(word for word in (*options[place:], *options[:place]) if word not in self._used)
        self._used.add(word)
        return word

    def write(self, template: str) -> str:
        fields = re.findall(r"{(\w+)}", template)
        if int(next(self._draws) * 2):
            self._styles.reverse()
        text = template.format(**{field: self._word(field) for field in fields})
        text = with_articles(text)
        return text[0].upper() + text[1:]

    def _word(self, field: str) -> str:
        if field[0] in "ab":
            return self._unused(self._styles[field[0] == "b"])
        if field in ("t", "u"):
            return self._unused(self._things)
        if field in ("ts", "us"):
            return plural(self._unused(self._things))
        if field in ("n", "n2"):
            return self.pick(_NOUNS)
        if field in ("v", "v2"):
            return self.pick(_VERBS)
        entity = self.pick(_PLACES) if field == "place" else f"{self.pick(_FIRST)} {self.pick(_SURNAMES)}"
        self.entities.append(entity)
        return entity


def with_articles(text: str) -> str:
    """Write "an" for "a" before a word that begins with a vowel's sound."""
    return _ARTICLE.sub(r"\1n ", text)


def plural(noun: str) -> str:
    """Return the regular plural.

    >>> [plural(noun) for noun in ("comet", "gallery", "brush", "pulley")]
    ['comets', 'galleries', 'brushes', 'pulleys']
    """
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"
