"""What a build counted, gathered from its tasks, and the sentence where that is too little."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from tastelab.data.mix.facts import CommunityFacts, Facts
from tastelab.data.mix.gathered import Gathered
from tastelab.data.mix.items import Catalog
from tastelab.data.mix.options import MixOptions

Answers = Sequence[dict[str, Any]]
LOST = "engagement in a community without another item to show"


def counted(
    gathered: Gathered,
    items: Catalog,
    answers: Answers,
    dropped: Counter[str],
    options: MixOptions,
    timings: dict[str, float],
) -> Facts:
    """Sum the answers of the tasks that made impressions."""
    kinds, notes = Counter[str](), Counter[str]()
    for answer in answers:
        kinds.update(answer["kinds"])
        notes.update(answer["counts"])
    lost = Counter({LOST: notes.pop(LOST, 0)})
    notes["accounts joined with another of the same person"] = gathered.people().num_joined
    return Facts(
        sources=gathered.source_facts(items.sources),
        dropped=+(dropped + lost),
        engagements=dict(+kinds),
        people=sum(answer["people"] for answer in answers),
        communities=_communities(items, answers),
        options=options.public(),
        timings=timings,
        notes=dict(notes),
    )


def _communities(items: Catalog, answers: Answers) -> dict[str, CommunityFacts]:
    sizes = np.diff(items.timelines.starts)
    engagements = np.sum([answer["engagements"] for answer in answers], axis=0)
    people = np.sum([answer["people_of"] for answer in answers], axis=0)
    return {
        items.timelines.names[row]: {
            "items": int(sizes[row]),
            "engagements": int(engagements[row]),
            "people": int(people[row]),
        }
        for row in np.argsort(-sizes, kind="stable").tolist()
    }


def no_impressions(answers: Answers, facts: Facts, options: MixOptions) -> str:
    """Say in one sentence why there is no impression, and what to do."""
    needed = options.min_history + 1
    most = max((answer["most"] for answer in answers), default=0)
    if not facts.communities:
        return "The sources hold no post with a title and a time that nothing else is the parent of: check the paths."
    if most < needed:
        own = "" if options.own_posts else ", count posting as engaging with --own-posts,"
        return (
            f"Nobody engaged with {needed} items (the most is {most}, of {facts.people:,} people): give more of the "
            f"feeds{own} or lower --min-history."
        )
    return (
        "Nobody has an impression: the communities are too small for a second item beside the one engaged with, or all "
        "engagements with enough history are negative; give more of the feeds."
    )


def too_few(num_train: int, num_dev: int) -> str:
    """Say that one of the splits is empty."""
    return (
        f"There are {num_train:,} impressions for train and {num_dev:,} for dev, and neither may be empty: give more "
        "of the feeds, lower --min-history, or change --dev-share."
    )
