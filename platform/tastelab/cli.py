"""The command line: `tastelab data|evaluate|rank|submit|dashboard`; every command is a thin call of the package."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

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
    """Prepare SOURCE, a known name or a folder in MIND's layout, and print what is in it."""
    from tastelab.data.catalog import Options, describe, resolve

    options = Options(max_bad_share, max_unknown_share, mirror, force)
    click.echo(describe(resolve(source, home, options=options)))


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
@click.option("--checkpoint", type=click.Path(path_type=Path), required=True, help="Folder of a run's checkpoint.")
@click.option("--encoder", help="Encoder it was trained on, if its name is not enough: a folder or hub id.")
@click.option("--liked", multiple=True, metavar="TEXT", help="A liked text, oldest first; may be given many times.")
@click.option("--disliked", multiple=True, metavar="TEXT", help="A disliked text; may be given many times.")
@click.option(
    "--candidates", type=click.File(encoding="utf-8"), required=True, help="File with one text per line; - reads stdin."
)
@click.option("--gamma", type=float, help="Weight of the dislikes.  [default: 0.5]")
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
    from tastelab.serving.ranker import GAMMA, load
    from tastelab.serving.show import as_lines, read_texts

    texts = read_texts(candidates)
    ranked = load(checkpoint, encoder).rank(liked, texts, disliked, GAMMA if gamma is None else gamma)
    click.echo(as_lines(ranked, as_json))


if __name__ == "__main__":
    main()
