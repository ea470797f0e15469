"""Configuration of candidate generation [B]: what items and users are made of, what is contrasted (methods.md §6)."""

from __future__ import annotations

from dataclasses import dataclass, field

from tastelab.config.plain import LATER, Component

TEXTS = ("none", "frozen", "trained")
TARGETS = ("each", "window")
DAYS = ("all", "weekdays")
POLICIES = ("trained", "random", "popularity", "oracle")


@dataclass(frozen=True)
class UserTower(Component, kind="user tower", home="tastelab.modeling"):
    """How the clicks of a user become the vectors that retrieve for them."""


@dataclass(frozen=True)
class CandidateLoss(Component, kind="candidate loss", home="tastelab.losses"):
    """What a clicked item is contrasted with, and how."""


@dataclass(frozen=True)
class ItemTowerConfig:
    """What an item's vector is made of; any part may be absent, not all."""

    width: int = 64
    """Length of item and user vectors."""
    ids: bool = True
    """An embedding of the item's own; items that training never saw clicked share one."""
    category: bool = True
    source: bool = True
    """The community, or whatever published the item, where the data say it."""
    tags: bool = True
    """Subcategories and entities."""
    text: str = "frozen"
    """none, frozen (vectors computed once) or trained (the encoder learns with the rest, by `model.adaptation`)."""
    id_dropout: float = 0.1
    """Share of a step's items that train the shared vector of unseen items in place of their own."""


@dataclass(frozen=True)
class SimulationConfig:
    """A simulated population that is served day by day, and what decides what it is shown.

    Nothing of it is a measurement on people: it stands in for the online experiments of [B] (methods.md §6).
    """

    policy: str = "trained"
    """trained (the system that the rest of the configuration describes), random, popularity (clicks so far) or oracle
    (the true click probabilities)."""
    users: int = 1_000
    slots: int = 10
    """Items that a user is shown on a day."""
    warmup_days: int = 12
    """Days that the production policy fills, before the system is trained for the first time."""
    days: int = 8
    """Days that the system serves; before each it is trained on all that was logged before."""
    daily_epochs: int = 1
    """Passes over the log before each day but the first, which takes `optim.epochs`."""
    retrieved: int = 50
    """Items that are retrieved for a user, from which the slate is drawn."""
    slate_temperature: float = 1.0
    """Slates are drawn without replacement from the softmax of score / this; 0 takes the best."""
    exposure_skew: float = 1.0
    """The production policy shows the item of popularity rank r in proportion to r to the power of minus this."""
    exposure_taste: float = 0.25
    """How far the production policy knows a user: weight of the true affinity in its logits."""
    appeal: float = 0.0
    """Standard deviation over items of what makes all users click alike, in logits. 0: popularity comes of exposure
    alone, so that q ≈ p_data, [B]'s assumption, holds; the larger, the less it does."""
    dwell_s: float = 30.0
    """Mean seconds that a click of affinity 0 is dwelt on."""
    dwell_gain: float = 1.0
    """The mean grows by a factor of e to this from affinity 0 to the largest that there can be."""

    def __post_init__(self) -> None:
        """Refuse what cannot be served."""
        if self.policy not in POLICIES:
            raise ValueError(f"There is no simulated policy '{self.policy}': choose one of {', '.join(POLICIES)}.")
        if min(self.users, self.slots, self.warmup_days, self.days, self.daily_epochs) < 1:
            raise ValueError("A simulation needs at least one user, slot, warm-up day, day and daily epoch.")
        if self.retrieved < self.slots:
            raise ValueError(
                f"{self.slots} slots cannot be filled from {self.retrieved} retrieved items: raise retrieved."
            )
        if min(self.slate_temperature, self.dwell_s) < 0:
            raise ValueError("The slate's temperature and dwell times cannot be negative.")


@dataclass(frozen=True)
class RetrievalConfig:
    """A run that trains candidate generation in place of ranking."""

    items: ItemTowerConfig = field(default_factory=ItemTowerConfig)
    user: UserTower = field(default_factory=lambda: UserTower.named("weighted"))
    loss: CandidateLoss = field(default_factory=lambda: CandidateLoss.named("clrec"))
    temperature: float = 0.07
    learnable_temperature: bool = False
    targets: str = "each"
    """each: a step takes `optim.global_batch` clicks, each with its own history; window: as many windows of a user's
    clicks, every click of which is predicted from those before it (for towers that read each prefix at once)."""
    days: str = "all"
    """Clicks that are trained on: all, or weekdays (Monday to Friday, UTC)."""
    metric: str = "hr@50"
    """What choosing looks at."""
    ks: tuple[int, ...] = (10, 50, 200)
    exclude_seen: bool = False
    """Whether items that a user has clicked are left out of what is retrieved."""
    num_vectors: int = 4
    """Vectors of a user that retrieve, for towers with several; their results are merged by the best score."""
    diversity_users: int = 10_000
    """Users (drawn by a fixed seed, the same for every system) whose retrieved items are counted."""
    simulation: SimulationConfig | None = field(default=None, metadata=LATER)
    """Serve a simulated population day by day, training on its clicks; None: train and evaluate on the data."""
