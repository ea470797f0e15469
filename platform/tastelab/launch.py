"""From the command line of an experiment file to its finished table: `run(experiment, tables, plots)`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tastelab.cluster.settings import prepare_environment
from tastelab.config import ClusterConfig
from tastelab.experiment import IMPORTED_AS, Experiment, Size, Variants

if TYPE_CHECKING:
    from tastelab.results.plots import Plot
    from tastelab.results.tables import Reported
    from tastelab.stage import Options


def run(experiment: Experiment, tables: Sequence[Reported] = (), plots: Sequence[Plot] = ()) -> None:
    """Run an experiment file: read the command line, do what is not done yet, write tables and figures.

    Nothing happens where the file is imported for what it declares, even without a guard around the call.
    """
    if str(sys._getframe(1).f_globals.get("__name__")).startswith(IMPORTED_AS):
        return
    command(experiment, tables, plots)()


def command(experiment: Experiment, tables: Sequence[Reported], plots: Sequence[Plot]) -> click.Command:
    """Build the command line of an experiment."""

    def main(**chosen: Any) -> None:
        # Before anything imports Ray, which reads some of it then.
        prepare_environment(local=chosen["address"] is None)
        try:
            options = read_options(experiment, **chosen)
            from tastelab.conduct import Interrupted, conduct

            try:
                conduct(experiment, tables, plots, options)
                _refresh_page(options)
            except Interrupted as stop:
                click.echo(str(stop), err=True)
                sys.exit(130)
        except (ValueError, OSError) as error:
            raise click.UsageError(str(error)) from error

    for option in reversed(_options(experiment)):
        main = option(main)
    return click.command(
        name=experiment.name,
        help=_unwrapped(experiment.question),
        context_settings={"show_default": True, "max_content_width": 100},
    )(main)


def _unwrapped(text: str) -> str:
    """Keep the line breaks of a docstring in click's help."""
    return "\n\n".join(f"\b\n{paragraph}" for paragraph in text.strip().split("\n\n"))


def read_options(
    experiment: Experiment,
    *,
    smoke: bool,
    paper: bool,
    data: str | None,
    encoder: str | None,
    trials: int | None,
    seeds: int | None,
    train_impressions: int | None,
    dry_run: bool,
    storage: str | None,
    workers: int | None,
    cpus_per_worker: float | None,
    **places: Any,
) -> Options:
    """Check the options that exclude each other and sort them into places and science."""
    if smoke and paper:
        raise ValueError("--smoke and --paper are two sizes: choose one.")
    from tastelab.stage import Options

    size = "smoke" if smoke else "paper" if paper else "default"
    for name, value in (("--trials", trials), ("--seeds", seeds), ("--train-impressions", train_impressions)):
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}: use at least 1.")
    usual = experiment.size(size)
    cluster = ClusterConfig(
        workers=workers or usual.workers or ClusterConfig().workers,
        cpus_per_worker=usual.cpus_per_worker if cpus_per_worker is None else cpus_per_worker,
        **places,
    )
    return Options(size, data, encoder, trials, seeds, train_impressions, dry_run, storage, cluster)


def _refresh_page(options: Options) -> None:
    """Write `index.html` anew, of this experiment and those beside its file."""
    main = getattr(sys.modules["__main__"], "__file__", None)
    if options.dry_run or main is None:
        return
    from tastelab.results.rebuild import refresh_page

    try:
        print(f"Page: {refresh_page(options.cluster.reports, Path(main).parent)}")
    except (
        ValueError,
        OSError,
    ) as error:  # something beside this file is broken: its own tables are written all the same
        print(f"The page of all tables was not written: {error}")


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _options(experiment: Experiment) -> list[Decorator]:
    place, sizes = ClusterConfig(), experiment.sizes
    grid, no_words = not experiment.search, not _reads_words(experiment)
    seeds, data, encoder, trials = (_by_size(sizes, of) for of in (_num_seeds, _dataset, _encoder, _num_trials))
    return [
        click.option("--dry-run", is_flag=True, help="Print the plan: cells, batches, resources, cost. Run nothing."),
        click.option("--smoke", is_flag=True, help="A minute or two on tiny data, to see that everything works."),
        click.option("--paper", is_flag=True, help="The source's own configuration, for GPUs: --gpus-per-worker 1."),
        click.option("--data", help=f"Name, prepared folder or raw folder of a data set.  [default: {data}]"),
        click.option("--encoder", help=f"Folder, packaged name or hub id.  [default: {encoder}]"),
        click.option("--trials", type=int, help=f"Trials of the search, in all.  [default: {trials}]", hidden=grid),
        click.option("--seeds", type=int, help=f"Seeds of each row's final runs.  [default: {seeds}]"),
        click.option("--train-impressions", type=int, help="Cap on training impressions.  [default: by the size]"),
        click.option(
            "--workers", type=click.IntRange(1), help=f"DDP workers of each run.  [default: {_workers(sizes)}]"
        ),
        click.option("--cpus-per-worker", type=float, help="CPUs that a worker reserves.  [default: by the cluster]"),
        click.option("--gpus-per-worker", type=float, default=place.gpus_per_worker, help="GPUs of each worker."),
        click.option(
            "--accumulation", type=click.IntRange(1), default=place.accumulation, help="Micro-steps of a global batch."
        ),
        click.option("--address", help="Running Ray cluster, e.g. auto.  [default: start Ray on this machine]"),
        click.option(
            "--glove",
            type=click.Path(path_type=Path),
            help="Word vectors for NRMS, one word a line.  [default: random]",
            hidden=no_words,
        ),
        click.option("--storage", help="Database URL of the study.  [default: a journal file in --home]", hidden=grid),
        click.option(
            "--home",
            type=click.Path(path_type=Path),
            default=place.home,
            envvar="TASTELAB_HOME",
            help="Caches and runs.",
        ),
        click.option("--reports", type=click.Path(path_type=Path), default=place.reports, help="Records and tables."),
    ]


def _by_size(sizes: Mapping[str, Size], of: Callable[[Size], object]) -> str:
    """Say what an option is by default, and at each size where it is something else."""
    usual = of(sizes["default"])
    others = [f"{value} at --{name}" for name, size in sizes.items() if (value := of(size)) != usual]
    return ", ".join([str(usual), *others])


def _num_seeds(size: Size) -> int:
    return len(size.seeds)


def _num_trials(size: Size) -> int:
    return size.trials


def _dataset(size: Size) -> str:
    return size.dataset


def _encoder(size: Size) -> str:
    return size.encoder


def _reads_words(experiment: Experiment) -> bool:
    """Tell whether a row reads words of its own, which pretrained vectors can start."""
    rows = experiment.rows.values.values() if isinstance(experiment.rows, Variants) else ()
    return any(getattr(value, "tokens", None) == "words" for row in rows for value in row.values())


def _workers(sizes: Mapping[str, Size]) -> str:
    """Say how many workers a run has at each size that differs."""
    usual = ClusterConfig().workers
    others = [f"{size.workers} at --{name}" for name, size in sizes.items() if size.workers not in (None, usual)]
    return ", ".join([str(usual), *others])
