"""Many tasks, each run once on Ray Data, with a bar; a task's small answer comes back as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from tastelab.data.progress import bar_of

Task = TypeVar("Task")
Answer = dict[str, Any]


class Each(Protocol):
    """Runs a function on every task and yields the answers in the order of the tasks."""

    def __call__(self, work: Callable[[Task], Answer], tasks: Sequence[Task], label: str, show: bool) -> list[Answer]:
        """Run `work` on each of `tasks`; a `ValueError` or `OSError` of one is raised here."""
        ...


def on_ray(work: Callable[[Task], Answer], tasks: Sequence[Task], label: str, show: bool) -> list[Answer]:
    """Run tasks on the Ray that is connected, as one Ray Data pipeline of a block per task."""
    import ray.data

    def run(row: dict[str, int]) -> dict[str, str]:
        return {"answer": _answered(work, tasks[row["id"]])}

    ray.data.DataContext.get_current().enable_progress_bars = False
    dataset = ray.data.range(len(tasks), override_num_blocks=len(tasks)).map(run)
    dataset.context.execution_options.preserve_order = True
    rows: Iterator[dict[str, str]] = dataset.iter_rows()
    return _collected((row["answer"] for row in rows), len(tasks), label, show)


def here(work: Callable[[Task], Answer], tasks: Sequence[Task], label: str, show: bool) -> list[Answer]:
    """Run tasks in this process, one after the other."""
    return _collected((_answered(work, task) for task in tasks), len(tasks), label, show)


def _answered(work: Callable[[Task], Answer], task: Task) -> str:
    """Return the answer as JSON; a user's mistake as a sentence, which Ray would bury in a traceback."""
    try:
        return json.dumps(work(task))
    except (ValueError, OSError) as error:
        return json.dumps({"error": str(error)})


def _collected(answers: Iterator[str], total: int, label: str, show: bool) -> list[Answer]:
    found: list[Answer] = []
    with bar_of(total, label, show, unit=" tasks") as bar:
        for text in answers:
            answer = json.loads(text)
            if "error" in answer:
                raise ValueError(answer["error"])
            found.append(answer)
            bar.update(1)
    return found
