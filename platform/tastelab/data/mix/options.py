"""What a build of a mix can be told."""

from __future__ import annotations

import os
import secrets
from dataclasses import asdict, dataclass
from typing import Any

SALT_VARIABLE = "TASTELAB_SALT"


@dataclass(frozen=True)
class MixOptions:
    """Options of `build_mix`; a wrong value raises `ValueError` with a sentence."""

    window: int = 16
    """Candidates of an impression: one positive in a run of so many items of its community."""
    min_history: int = 2
    """Engagements that a person has before one that becomes an impression."""
    max_history: int = 50
    """The most recent engagements that an impression's history keeps."""
    dev_share: float = 0.2
    """Share of each community's impressions, the latest, that become the dev split."""
    own_posts: bool = False
    """Whether posting an item engages with it."""
    seed: int = 0
    """Draws places and orders of candidates."""
    salt: str | None = None
    """Key of the identifiers; None: that of the environment variable, or else a random one that nobody keeps."""
    name: str | None = None
    """Label of the data set; None: the name of its folder."""
    max_bad_share: float = 0.01
    """Share of a file's records that may be malformed."""
    force: bool = False
    """Replace what is at the target."""
    progress: bool = True
    """Show bars."""
    bucket_events: int = 250_000
    """Engagements that one task turns into impressions, about."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        for name, value, least in (
            ("--window", self.window, 2),
            ("--min-history", self.min_history, 1),
            ("--max-history", self.max_history, 1),
            ("the number of events of a bucket", self.bucket_events, 1),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}.")
        if not 0 < self.dev_share < 1:
            raise ValueError(f"--dev-share lies between 0 and 1, without either, not {self.dev_share}.")
        if not 0 <= self.max_bad_share <= 1:
            raise ValueError(f"--max-bad-share lies in 0..1, not {self.max_bad_share}.")
        if self.salt is not None and not self.salt.strip():
            raise ValueError("--salt is empty: give any text that you keep to yourself, or leave it out.")

    @property
    def salted(self) -> bool:
        """Whether somebody holds the key: then another build can have the same identifiers."""
        return bool(self.salt or os.environ.get(SALT_VARIABLE))

    def key(self) -> bytes:
        """Return the key of the identifiers: the salt's, or 32 random bytes."""
        salt = self.salt or os.environ.get(SALT_VARIABLE)
        return salt.encode() if salt else secrets.token_bytes(32)

    def public(self) -> dict[str, Any]:
        """What a data card may say of the options: of the salt only whether it was given."""
        hidden = {"salt", "force", "progress", "name", "bucket_events"}
        chosen = {name: value for name, value in asdict(self).items() if name not in hidden}
        return chosen | {"salt": "given" if self.salted else "random, not kept"}
