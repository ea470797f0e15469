"""The command line: `tastelab data|evaluate|rank|index|retrieve|…`, each command a thin call of the package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import click

from tastelab import __version__

DEFAULT_HOME = Path.home() / ".cache" / "tastelab"


class Sentences(click.Group):
    """Print a user's mistake (`ValueError`, `OSError`) as one sentence and exit with 2 instead of a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command, turning the errors that a user can mend into a message."""
        try:
            return super().invoke(ctx)
        except (ValueError, OSError) as error:
            raise click.UsageError(str(error)) from error


@click.group(cls=Sentences)
@click.version_option(__version__)
def main() -> None:
    """Train, evaluate and serve universal recommenders."""


@main.group()
def data() -> None:
    """Fetch and prepare data sets."""


@data.command()
@click.argument("source")
@click.option(
    "--home", type=click.Path(path_type=Path), default=DEFAULT_HOME, envvar="TASTELAB_HOME", help="Where caches are."
)
@click.option("--max-bad-share", default=0.01, show_default=True, help="Share of a file's lines that may be malformed.")
@click.option("--max-unknown-share", default=0.01, show_default=True, help="Share of named items that may be unknown.")
@click.option("--mirror", help="URL under which MIND's zips are.  [default: $TASTELAB_MIND_MIRROR]")
@click.option("--force", is_flag=True, help="Prepare again what is cached.")
def prepare(
    source: str, home: Path, max_bad_share: float, max_unknown_share: float, mirror: str | None, force: bool
) -> None:
    """Prepare SOURCE and print what is in it.

    SOURCE is a known name, a folder or zip of MIND, MovieLens or EB-NeRD, or several of these with commas between,
    which are joined.
    """
    from tastelab.data.catalog import Options, describe, resolve

    options = Options(max_bad_share, max_unknown_share, mirror, force)
    click.echo(describe(resolve(source, home, options=options)))


@data.command("build-mix")
@click.option("--source", "sources", multiple=True, metavar="FEED:PATH", help="A feed; may be given many times.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option("--own-posts", is_flag=True, help="Posting an item engages with it.")
@click.option("--window", default=16, show_default=True, help="Candidates of an impression.")
@click.option("--min-history", default=2, show_default=True, help="Engagements before one that becomes an impression.")
@click.option("--max-history", default=50, show_default=True, help="The most recent engagements that a history keeps.")
@click.option("--dev-share", default=0.2, show_default=True, help="Latest share of each community's impressions.")
@click.option("--seed", default=0, show_default=True, help="Draws places and orders of candidates.")
@click.option("--salt", envvar="TASTELAB_SALT", help="Key of the identifiers.  [default: random, kept nowhere]")
@click.option("--name", help="Label of the data set.  [default: the folder's name]")
@click.option("--max-bad-share", default=0.01, show_default=True, help="Share of a file's records that may be bad.")
@click.option("--force", is_flag=True, help="Replace what is at --out.")
@click.option("--address", help="Running Ray cluster, e.g. auto.  [default: start Ray on this machine]")
def build_mix(sources: tuple[str, ...], out: Path, address: str | None, **chosen: Any) -> None:
    """Build impressions from public feeds, and a data card; docs/mix.md describes both."""
    from tastelab.data.catalog import describe
    from tastelab.data.mix.build import MixOptions, build, plan

    planned = plan(sources, out, MixOptions(**chosen))
    if not planned.options.salted:
        click.echo("No --salt: a random one is used and kept nowhere, so no other build will have these identifiers.")
    from tastelab.cluster.runtime import cluster

    with cluster(address):
        built = build(planned)
    click.echo(f"{describe(built)}\nEvery impression: {out / 'all'}; what the build found: {out / 'card.md'}")


def scoring_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that `evaluate` and `submit` share."""
    folder = click.Path(path_type=Path)
    options = [
        click.option(
            "--data",
            required=True,
            help="Name, prepared folder or raw folder; several, with commas between, are joined.",
        ),
        click.option("--checkpoint", type=folder, help="Folder of a trained model.  [default: the frozen encoder]"),
        click.option("--encoder", help="Encoder: folder, packaged name or hub id.  [default: all-MiniLM-L6-v2]"),
        click.option("--max-history", type=int, help="Most recent clicks that count.  [default: 50, or as trained]"),
        click.option("--features", help="Text features, comma-separated.  [default: title, or as trained]"),
        click.option("--precision", type=click.Choice(["auto", "bf16", "fp32"]), default="auto", show_default=True),
        click.option("--home", type=folder, default=DEFAULT_HOME, envvar="TASTELAB_HOME", help="Where caches are."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def read_request(features: str | None, **chosen: Any) -> Any:
    """Turn command-line values into a request."""
    from tastelab.serving.offline import Request

    return Request(features=tuple(features.replace(" ", "").split(",")) if features else None, **chosen)


@main.command()
@scoring_options
@click.option("--split", default="dev", show_default=True, help="train, dev or test; it must have labels.")
@click.option("--ties", type=click.Choice(["expected", "official"]), default="expected", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def evaluate(as_json: bool, **chosen: Any) -> None:
    """Measure a checkpoint, or the frozen encoder (zero-shot), on a labelled split."""
    import json

    from tastelab.serving.offline import as_lines, as_plain, evaluate_slices

    found, cut = evaluate_slices(read_request(**chosen))
    click.echo(json.dumps(as_plain(found, cut)) if as_json else as_lines(found, cut))


@main.command()
@scoring_options
@click.option("--split", default="dev", show_default=True, help="train, dev or test; it must have labels.")
@click.option("--worst", "count", default=50, show_default=True, help="Impressions to show.")
@click.option("--by", default="auc", show_default=True, help="The metric: auc, mrr, ndcg@5 or ndcg@10.")
@click.option("--slice", "chosen", metavar="DIMENSION=SLICE", help="Look at one slice alone, such as items=cold.")
@click.option("--ties", type=click.Choice(["expected", "official"]), default="expected", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("failures.html"), show_default=True)
def failures(count: int, by: str, chosen: str | None, output: Path, **scoring: Any) -> None:
    """Show the impressions that a model ranks worst, as a page to read: real data, not to be published."""
    from tastelab.serving.failures import worst_impressions
    from tastelab.serving.failures_page import check_place, write_page

    check_place(output)
    found = worst_impressions(read_request(**scoring), count, by, chosen)
    click.echo(f"{write_page(found, output)}: {len(found.worst):,} impressions; it shows real data, do not publish it")


@main.command()
@scoring_options
@click.option("--split", default="test", show_default=True, help="The split to score; labels are not needed.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("prediction.zip"), show_default=True)
def submit(output: Path, **chosen: Any) -> None:
    """Write MIND's submission zip for a split."""
    from tastelab.serving.offline import submit_split

    count = submit_split(read_request(**chosen), output)
    click.echo(f"{output}: {count:,} impressions")


@main.command()
@click.option(
    "--home", type=click.Path(path_type=Path), default=DEFAULT_HOME, envvar="TASTELAB_HOME", help="Runs and studies."
)
@click.option("--study", help="Name of the study, or its database's URL.  [default: the newest]")
@click.option("--reports", type=click.Path(path_type=Path), default=Path("reports"), show_default=True, help="Tables.")
def dashboard(home: Path, study: str | None, reports: Path) -> None:
    """Open the study and the training curves on this machine's loopback, until Ctrl-C."""
    from tastelab.cluster.dashboard import show

    show(home, study, reports)


@main.command()
@click.option("--reports", type=click.Path(path_type=Path), default=Path("reports"), show_default=True, help="Records.")
@click.option(
    "--experiments",
    type=click.Path(path_type=Path),
    default=Path("experiments"),
    show_default=True,
    help="Their files.",
)
@click.option("--check", is_flag=True, help="Write nothing: only name what differs.")
def report(reports: Path, experiments: Path, check: bool) -> None:
    """Make every table, figure and page again from the records alone; exit with 1 if one was not what they make."""
    from tastelab.results.rebuild import rebuild, sentences

    found = rebuild(reports, experiments, check)
    click.echo("\n".join(sentences(found, reports, check)))
    if found.repaired or (check and found.missing):
        raise SystemExit(1)


@main.command()
@click.option("--checkpoint", type=click.Path(path_type=Path), required=True, help="Folder of a run's checkpoint.")
@click.option("--encoder", help="Encoder it was trained on, if its name is not enough: a folder or hub id.")
@click.option("--liked", multiple=True, metavar="TEXT", help="A liked text, oldest first; may be given many times.")
@click.option("--disliked", multiple=True, metavar="TEXT", help="A disliked text; may be given many times.")
@click.option(
    "--candidates", type=click.File(encoding="utf-8"), required=True, help="File with one text per line; - reads stdin."
)
@click.option("--gamma", type=float, help="Weight of the dislikes.  [default: the model's own, 0.5 if it saw none]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def rank(
    checkpoint: Path,
    encoder: str | None,
    liked: tuple[str, ...],
    disliked: tuple[str, ...],
    candidates: TextIO,
    gamma: float | None,
    as_json: bool,
) -> None:
    """Rank raw texts by what was liked and disliked, with a trained model."""
    from tastelab.serving.ranker import load
    from tastelab.serving.show import as_lines, read_texts

    texts = read_texts(candidates)
    ranked = load(checkpoint, encoder).rank(liked, texts, disliked, gamma)
    click.echo(as_lines(ranked, as_json))


def candidate_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that `index` and `retrieve` share."""
    folder = click.Path(path_type=Path)
    options = [
        click.option("--checkpoint", type=folder, required=True, help="Folder of a retrieval run's checkpoint."),
        click.option("--data", required=True, help="The data that it was trained on: a name or folder."),
        click.option("--encoder", help="Encoder it was trained on, if its name is not enough: a folder or hub id."),
        click.option("--home", type=folder, default=DEFAULT_HOME, envvar="TASTELAB_HOME", help="Where caches are."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@candidate_options
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option(
    "--kind",
    type=click.Choice(["auto", "exact", "ivf", "hnsw"]),
    default="auto",
    show_default=True,
    help="auto: exact for a small catalogue, else ivf.",
)
def index(out: Path, kind: str, **place: Any) -> None:
    """Index the vectors of all items, for `tastelab retrieve --index`."""
    from tastelab.retrieval.index import check_place
    from tastelab.serving.candidates import about_lines, index_items, open_candidates

    check_place(out)
    click.echo(about_lines(index_items(open_candidates(**place), out, kind), out))


@main.command()
@candidate_options
@click.option(
    "--user-history",
    "history",
    type=click.File(encoding="utf-8"),
    required=True,
    help="File with an item id or title per line, the oldest click first; - reads stdin.",
)
@click.option("--index", "folder", type=click.Path(path_type=Path), help="What `tastelab index` wrote.")
@click.option("-k", "count", default=10, show_default=True, help="Items to retrieve.")
@click.option("--per-vector", is_flag=True, help="Also what each vector of the user retrieves alone.")
@click.option("--exclude-seen", is_flag=True, help="Leave out what is in the history.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def retrieve(
    history: TextIO, folder: Path | None, count: int, per_vector: bool, exclude_seen: bool, as_json: bool, **place: Any
) -> None:
    """Retrieve items for a user from the whole catalogue, with a trained retrieval model."""
    from tastelab.retrieval.index import open_index
    from tastelab.serving.candidates import open_candidates
    from tastelab.serving.retriever import Retriever
    from tastelab.serving.show_retrieved import as_lines, read_history

    clicks = read_history(history)
    candidates = open_candidates(**place)
    opened = open_index(folder, candidates.source) if folder else None
    click.echo(as_lines(Retriever(candidates, opened).retrieve(clicks, count, per_vector, exclude_seen), as_json))


if __name__ == "__main__":
    main()
