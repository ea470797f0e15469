"""The words around a table: what the records share, what the reader must know, and which runs stand behind a row."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from tastelab.config import METHOD_VERSION
from tastelab.results.comparisons import SIGNIFICANT
from tastelab.results.measures import is_retrieval, measure, metric_label, unit_of
from tastelab.results.relative import relative_notes
from tastelab.results.rows import Row
from tastelab.results.store import Record, distinct, lookup
from tastelab.retrieval.measure import DIVERSITY_SEED, LIST

SMOKE = "A smoke run shows that everything works; its values say nothing about quality."
OF_A_SAMPLE = ("diversity", "coverage", "gini", "popularity", "popularity_index")
MAX_ERROR = 160  # characters of an error that a note repeats


def caption(rows: Sequence[Row], size: str) -> list[str]:
    """Return the paragraphs above a table: size, data, encoder, split, counts, code and machine of its runs."""
    runs = [run for row in rows for run in row.runs]
    features = [f"features {names}" for names in distinct(runs, "features") if names]
    counts = [_line(made)] if (made := [*_counts(runs), *_best(runs)]) else []
    return [setting(runs, size, *features), *counts, *machine(runs)]


def setting(runs: Sequence[Record], size: str, *more: str) -> str:
    """Return the line that names size, data, encoder, split, ties, `more`, and the method version of runs."""
    facts = [f"size **{size}**", *_named(runs, "data"), *_named(runs, "encoder")]
    facts += [
        f"{word} {value}" for word, path in (("split", "split"), ("ties", "dialect")) for value in distinct(runs, path)
    ]
    return _line([*facts, *more, *(f"method version {value}" for value in distinct(runs, "method_version"))])


def warnings(runs: Iterable[Record]) -> list[str]:
    """Return what a reader must know of the data of runs, such as a trivial ranker that they favour, each once."""
    found = [sentence for run in runs for sentence in lookup(run, "data.warnings") or ()]
    return list(dict.fromkeys(map(str, found)))


def notes(
    rows: Sequence[Row], left_out: Sequence[Record], size: str, note: str = "", metrics: Sequence[str] = ()
) -> list[str]:
    """Return the sentences below a table: the experiment's own, how to read it, pending, failed, stale, left out.

    `metrics` are those that the table shows: what some of them are relative to, or counted over, is said.
    """
    runs = [run for row in rows for run in row.runs]
    found = [*warnings(runs), *([note] if note else [])]
    if runs:
        found.append(
            f"Values are means over seeds. The interval is over {unit_of(runs)} (95 % bootstrap; the mean of the "
            "seeds' bounds), ± is the standard deviation over seeds. Bold: the best trained row."
        )
    found += [*comparison_notes(rows), *relative_notes(rows, metrics), *_sample(runs, metrics)]
    if any(row.mean("latency_ms.warm_1") is not None for row in rows):
        found.append(
            "Latency is in milliseconds per impression, measured in the run on the machine named above; what can be "
            "computed of an item alone is kept between requests, as a feed does (cold: nothing is kept but tokens)."
        )
    found += _unlike_workers(rows)
    if any(row.trials for row in rows):
        found.append("Trials searched are the finished and the pruned ones.")
    if size == "smoke":
        found.append(SMOKE)
    if pending := [row.label for row in rows if row.status == "pending"]:
        found.append(f"Pending: {', '.join(pending)}.")
    if stale := [row.label for row in rows if row.status == "stale"]:
        found.append(f"Stale, made by an older method version than {METHOD_VERSION}: {', '.join(stale)}.")
    found += [f"Failed: {row.label}, seed {run.get('seed')}: {_error(run)}" for row in rows for run in row.failed]
    found += [_failed_trial(row, trial) for row in rows for trial in row.trials if trial["status"] == "failed"]
    if left_out:
        what = f"{_counted(len(left_out), 'record')} ({_others(left_out)})"
        found.append(f"Left out because it differs from the latest in data, encoder, split, ties or study: {what}.")
    return found


def comparison_notes(rows: Sequence[Row]) -> list[str]:
    """Say in words which rows differ from the first one; nothing where no test was made."""
    tested = [(row, row.comparison["comparison"], row.p_holm) for row in rows if row.comparison]
    if not tested:
        return []
    ends: dict[str, list[str]] = {"higher": [], "lower": [], "no difference shown": []}
    for row, test, p in tested:
        shown = p is not None and p < SIGNIFICANT and test["difference"] != 0
        end = ("higher" if test["difference"] > 0 else "lower") if shown else "no difference shown"
        ends[end].append(row.label)
    found = "; ".join(f"{end}: {', '.join(labels)}" for end, labels in ends.items() if labels)
    names = " / ".join(dict.fromkeys(str(test.get("test") or "paired") for _, test, _ in tested))
    known = measure(tested[0][1].get("metric") or "auc")
    return [
        f"{known.label} against {rows[0].label} ({names} test over {known.over}; {_counted(len(tested), 'test')}, p "
        f"corrected by Holm, level {SIGNIFICANT:g}): {found}. The test does not cover the spread over seeds."
    ]


def _unlike_workers(rows: Sequence[Row]) -> list[str]:
    """Say which rows had another number of workers: they train the same, but cost differs with it."""
    by_number: dict[str, list[str]] = {}
    for row in rows:
        if numbers := distinct([run for run in row.runs if not row.baseline], "hardware.workers"):
            by_number.setdefault(" or ".join(map(str, numbers)), []).append(row.label)
    if len(by_number) < 2 and not any(" or " in numbers for numbers in by_number):
        return []
    found = "; ".join(
        f"{numbers} {'worker' if numbers == '1' else 'workers'}: {', '.join(labels)}"
        for numbers, labels in by_number.items()
    )
    rate = "examples/s" if unit_of([run for row in rows for run in row.runs]) == "users" else "impressions/s"
    return [f"Time, {rate} and memory are not comparable between runs of different numbers of workers: {found}."]


def _sample(runs: Sequence[Record], metrics: Sequence[str]) -> list[str]:
    """Say what the measures of what is retrieved are counted over: the same users and the same k for every system."""
    shown = [metric_label(metric) for metric in metrics if metric in OF_A_SAMPLE]
    users = distinct(runs, "counts.n_diversity_users")
    if not shown or not users:
        return []
    sides = dict.fromkeys(
        max((k for k in lookup(run, "config.retrieval.ks") or () if k <= LIST), default=LIST) for run in runs
    )
    lists = f"the first {' / '.join(map(str, sides))} items"
    found = []
    if "diversity" in metrics:
        drawn = f"drawn with seed {DIVERSITY_SEED}, the same for every system"
        found.append(
            f"Diversity: distinct items among {lists} for the last click of each of "
            f"{' / '.join(f'{n:,}' for n in users)} users ({drawn})."
        )
    if others := [label for label in shown if label != "diversity"]:
        words = " and ".join(filter(None, (", ".join(others[:-1]), others[-1])))
        found.append(f"{words[:1].upper()}{words[1:]}: over {lists} for every click.")
    return found


def run_list(rows: Sequence[Row]) -> str:
    """Return the run ids behind each row, folded away."""
    lines = [
        f"- {_escaped(row.label)}: " + ", ".join(f"`{run['run_id']}`" for run in row.runs) for row in rows if row.runs
    ]
    return folded("Runs", "\n".join(lines)) if lines else ""


def folded(title: str, body: str) -> str:
    """Fold Markdown away under a title, which is plain text."""
    return f"<details><summary>{html.escape(title)}</summary>\n\n{body}\n\n</details>"


def _escaped(label: str) -> str:
    """Keep a leading `+` from becoming a list of its own."""
    return f"\\{label}" if label.startswith(("+ ", "- ", "* ")) else label


def _line(facts: Iterable[str]) -> str:
    text = " · ".join(facts)
    return text[:1].upper() + text[1:]


def _named(runs: Sequence[Record], what: str) -> list[str]:
    pairs = [(lookup(run, f"{what}.name"), lookup(run, f"{what}.fingerprint")) for run in runs]
    return [f"{what} `{name}` (`{print_}`)" for name, print_ in dict.fromkeys(pairs) if name]


def _counts(runs: Sequence[Record]) -> list[str]:
    """Say what became of the impressions, or clicks; scored ones may differ where a row's system cannot score all."""
    words = {
        "n_total": "clicks" if runs and all(map(is_retrieval, runs)) else "impressions",
        **{"n_scored": "scored", "n_single_class": "of one class only", "n_empty_history": "with an empty history"},
        **{"n_users": "users", "n_cold_targets": "on items that training never saw clicked"},
        "n_items": "items in the catalogue",
    }
    found = {word: distinct(runs, f"counts.{key}") for key, word in words.items()}
    if not found["items in the catalogue"]:
        found["items in the catalogue"] = list(dict.fromkeys(map(_catalogue_size, _with_degrees(runs))))
    return [" / ".join(f"{value:,}" for value in values) + f" {word}" for word, values in found.items() if values]


def _with_degrees(runs: Iterable[Record]) -> list[Record]:
    return [run for run in runs if lookup(run, "degrees.items")]


def _catalogue_size(run: Record) -> int:
    """Every item of the catalogue is in one bin of the degree histogram."""
    return sum(lookup(run, "degrees.items"))


def _best(runs: Sequence[Record]) -> list[str]:
    return [f"best reachable AUC {value:.4f}" for value in distinct(runs, "data.best_auc")]


def machine(runs: Sequence[Record]) -> list[str]:
    """Return the line that names the code and the hardware of runs; none where they name neither."""
    git = [run["git"] for run in runs if run.get("git")]
    facts = [f"commit `{commit[:7]}`" for commit in dict.fromkeys(state["commit"] for state in git)]
    facts += ["uncommitted changes"] if any(state["dirty"] for state in git) else []
    facts += [_counted(value, "CPU") for value in distinct(runs, "hardware.cpus")]
    facts += [str(value) for value in distinct(runs, "hardware.cpu")]
    facts += [str(value) for value in distinct(runs, "hardware.gpu")] or (["no GPU"] if facts else [])
    facts += [_counted(value, "worker") for value in distinct(runs, "hardware.workers")]
    return [_line(facts)] if facts else []


def _failed_trial(row: Row, trial: Record) -> str:
    return f"Failed trial: {row.label}, number {lookup(trial, 'trial.number')}: {_error(trial)}"


def _error(record: Record) -> str:
    text = " ".join(str(record.get("error") or "no message").split()).replace("`", "'")
    return f"`{text if len(text) <= MAX_ERROR else text[: MAX_ERROR - 1] + '…'}`"


def _others(left_out: Sequence[Record]) -> str:
    facts = [*_named(left_out, "data"), *_named(left_out, "encoder")]
    splits = [f"split {split}" for split in distinct(left_out, "split")]
    return ", ".join([*facts, *splits])


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
