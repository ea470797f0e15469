"""Names, prepared folders and raw folders; what is cached, and what a user is told."""

from __future__ import annotations

import io
import os
import re
import socket
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tastelab.cli import main
from tastelab.data import catalog, download, mind
from tastelab.data.catalog import Options, describe, resolve
from tastelab.data.domains import domains
from tastelab.data.download import DownloadError

NEWS = "N1\tc\ts\tOne\t\tu\nN2\tc\ts\tTwo\t\tu\n"
BEHAVIORS = "1\tU1\t11/15/2019 9:55:12 AM\tN1 N2\tN1-1 N2-0\n2\tU2\t11/15/2019 9:55:12 PM\t\tN2-1 N1-0\n"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for split in ("train", "dev"):
        (tmp_path / "my news" / split).mkdir(parents=True)
        (tmp_path / "my news" / split / "news.tsv").write_text(NEWS)
        (tmp_path / "my news" / split / "behaviors.tsv").write_text(BEHAVIORS)
    return tmp_path / "my news"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def as_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("news.tsv", NEWS)
        archive.writestr("behaviors.tsv", BEHAVIORS)
    return buffer.getvalue()


def test_a_raw_folder_is_prepared_once_until_it_changes(raw: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = resolve(str(raw), home, progress=False)
    assert re.fullmatch(r"my-news-[0-9a-f]{8}", first.path.name) and first.path.parent == home / "datasets"
    assert first.name == "my news" and set(first.splits) == {"train", "dev"}
    with monkeypatch.context() as patch:
        patch.setattr(mind, "prepare", None)
        assert resolve(str(raw), home, progress=False) == first
        assert resolve(str(first.path), home, progress=False) == first  # a prepared folder is itself
    stat = (raw / "dev" / "behaviors.tsv").stat()
    os.utime(raw / "dev" / "behaviors.tsv", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    second = resolve(str(raw), home, progress=False)
    assert second.path != first.path and second.fingerprint == first.fingerprint


def test_force_prepares_again(raw: Path, home: Path) -> None:
    first = resolve(str(raw), home, progress=False)
    before = (first.path / "items.parquet").stat().st_mtime_ns
    again = resolve(str(raw), home, progress=False, options=Options(force=True))
    assert again.path == first.path and (again.path / "items.parquet").stat().st_mtime_ns > before
    with pytest.raises(ValueError, match="is prepared already: pass the raw files"):
        resolve(str(first.path), home, options=Options(force=True))


def test_a_folder_of_another_format_is_prepared_again(raw: Path, home: Path) -> None:
    first = resolve(str(raw), home, progress=False)
    meta = first.path / "meta.json"
    meta.write_text(meta.read_text().replace('"format": 1', '"format": 0'))
    assert resolve(str(raw), home, progress=False).fingerprint == first.fingerprint


def test_a_name_is_downloaded_prepared_and_cached(home: Path, mirror: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.files = {"m/MINDdemo_train.zip": as_zip(), "m/MINDdemo_dev.zip": as_zip()}
    monkeypatch.setenv("TASTELAB_MIND_MIRROR", f"{mirror.url}/m/")
    data = resolve("mind-demo", home, progress=False)
    assert (data.name, data.num_impressions("dev"), data.path) == ("mind-demo", 2, home / "datasets" / "mind-demo")
    assert [path for path, _ in mirror.requests] == ["/m/MINDdemo_train.zip", "/m/MINDdemo_dev.zip"]
    assert resolve("mind-demo", home, progress=False) == data and len(mirror.requests) == 2


def test_the_default_mirror_is_held_to_the_known_sizes(
    home: Path, mirror: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.files = {"MINDsmall_train.zip": as_zip()}
    monkeypatch.setattr(catalog, "DEFAULT_MIRROR", mirror.url)
    monkeypatch.delenv("TASTELAB_MIND_MIRROR", raising=False)
    with pytest.raises(ValueError, match=r"MINDsmall_train\.zip .* bytes, not 52,994,575"):
        resolve("mind-small", home, progress=False)


def test_without_a_network_one_sentence_says_what_to_do(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE_S", 0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
        sentence = (
            r"mind-large could not be downloaded \(.*refused.*\): get MINDlarge_train\.zip and MINDlarge_dev\.zip by "
            r"hand from https://msnews\.github\.io, put them in one folder and pass that folder"
        )
        with pytest.raises(DownloadError, match=sentence):
            resolve("mind-large", home, progress=False, options=Options(mirror=nobody))


def test_what_the_sentence_says_works(home: Path, tmp_path: Path) -> None:
    (tmp_path / "by-hand").mkdir()
    for name in ("MINDsmall_train.zip", "MINDsmall_dev.zip"):
        (tmp_path / "by-hand" / name).write_bytes(as_zip())
    assert set(resolve(str(tmp_path / "by-hand"), home, progress=False).splits) == {"train", "dev"}


def test_synthetic_names_are_written_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tastelab.data import synthetic

    data = resolve("synthetic-smoke", home, progress=False)
    assert data.path.name.startswith("synthetic-smoke-") and data.num_impressions("train") > 0
    monkeypatch.setattr(synthetic, "prepare", None)
    assert resolve("synthetic-smoke", home, progress=False) == data


def test_anything_else_lists_the_names_and_the_layout(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'mind-smal' is neither .*synthetic.*mind-small.*train/behaviors\.tsv"):
        resolve("mind-smal", home)
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        ValueError,
        match=r"empty holds no data set that is known: it must hold train/news\.tsv.*MovieLens.*EB-NeRD.*build-mix",
    ):
        resolve(str(tmp_path / "empty"), home)


def test_the_command_prints_what_is_in_it_and_what_was_left_out(raw: Path, home: Path) -> None:
    (raw / "dev" / "behaviors.tsv").write_text(BEHAVIORS + "3\tU1\n4\tU1\t11/15/2019 9:55:12 AM\tN1\tN9-1\n")
    arguments = ["data", "prepare", str(raw), "--home", str(home)]
    failed = CliRunner().invoke(main, arguments)
    assert failed.exit_code == 2 and "1 of 4 lines of dev/behaviors.tsv are malformed" in failed.output
    shown = CliRunner().invoke(main, [*arguments, "--max-bad-share", ".5", "--max-unknown-share", ".5"])
    assert shown.exit_code == 0, shown.output
    assert re.search(r"items +3, 1 of them only named by impressions", shown.output)
    assert re.search(r"train +2 impressions\n +dev +3 impressions", shown.output)
    assert re.search(r"left out +1 malformed lines, listed in .*quarantine\.tsv:\n +1 truncated: 2 of 5", shown.output)


def test_a_summary_tells_where_labels_are_missing(raw: Path, home: Path) -> None:
    (raw / "dev" / "behaviors.tsv").write_text("1\tU1\t11/15/2019 9:55:12 AM\tN1\tN1 N2\n")
    assert re.search(r"dev +1 impressions, without labels", describe(resolve(str(raw), home, progress=False)))


def test_here_gives_what_needs_no_download(home: Path, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something was fetched")

    monkeypatch.setattr(catalog, "fetch", refuse)
    for name in catalog.MIND:
        assert catalog.here(name, home) is None
    assert not (home / "datasets").exists()
    assert catalog.here(str(raw), home) == resolve(str(raw), home, progress=False)
    with pytest.raises(ValueError, match=r"'mind-smal' is neither .*synthetic.*mind-small"):
        catalog.here("mind-smal", home)


def test_here_finds_what_was_downloaded_before(home: Path, mirror: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.files = {"m/MINDdemo_train.zip": as_zip(), "m/MINDdemo_dev.zip": as_zip()}
    monkeypatch.setenv("TASTELAB_MIND_MIRROR", f"{mirror.url}/m/")
    data = resolve("mind-demo", home, progress=False)
    monkeypatch.setattr(catalog, "fetch", None)
    assert catalog.here("mind-demo", home) == data
    (data.path / "meta.json").write_text("{}")
    assert catalog.here("mind-demo", home) is None, "what is damaged would be fetched again"


def test_published_sizes_are_of_known_names_with_both_splits() -> None:
    assert set(catalog.PUBLISHED) <= {name for name, files in catalog.MIND.items() if len(files) == 2}
    assert catalog.PUBLISHED["mind-small"] == catalog.PublishedSize(156_965, 73_152)
    assert catalog.PUBLISHED["mind-large"] == catalog.PublishedSize(2_232_748, 376_471)


def movielens(folder: Path) -> Path:
    folder.mkdir()
    (folder / "movies.csv").write_text("movieId,title,genres\n1,One (1990),Drama\n2,Two (1991),Drama\n3,Three,Drama\n")
    ratings = [(1, 1, 5, 10), (1, 2, 4, 20), (2, 3, 4, 25), (2, 1, 4.5, 30), (1, 3, 1, 40)]
    lines = ["userId,movieId,rating,timestamp", *(",".join(map(str, each)) for each in ratings)]
    (folder / "ratings.csv").write_text("\n".join(lines))
    return folder


def ebnerd(folder: Path) -> Path:
    (folder / "train").mkdir(parents=True)
    pq.write_table(pa.table({"article_id": [7, 8], "title": ["Seven", "Eight"]}), folder / "articles.parquet")
    times = pa.array([0], pa.timestamp("us"))
    log = {"impression_id": [1], "user_id": [5], "impression_time": times, "article_ids_inview": [[7, 8]]}
    pq.write_table(pa.table(log | {"article_ids_clicked": [[8]]}), folder / "train" / "behaviors.parquet")
    pq.write_table(pa.table({"user_id": [5], "article_id_fixed": [[7]]}), folder / "train" / "history.parquet")
    return folder


def test_a_folder_is_what_its_files_are(raw: Path, home: Path, tmp_path: Path) -> None:
    folders = {"mind": raw, "movielens": movielens(tmp_path / "ml"), "ebnerd": ebnerd(tmp_path / "eb")}
    for source, folder in folders.items():
        data = resolve(str(folder), home, progress=False)
        assert data.meta["source"] == source and data.path.parent == home / "datasets"
        assert resolve(str(folder), home, progress=False) == data
    (folders["movielens"] / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,1,5,1\n1,2,5,2\n")
    assert resolve(str(folders["movielens"]), home, progress=False).num_impressions("dev") == 1


def test_commas_join(raw: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    films, here = movielens(tmp_path / "ml"), catalog.here
    joined = resolve(f"{raw}, {films}", home, progress=False)
    assert joined.name == "ml+my news" and joined.meta["source"] == "join" and joined.num_items == 5
    assert domains(joined) == ("my news", "ml")
    with monkeypatch.context() as patch:
        patch.setattr(catalog.join, "join", None)
        assert resolve(f"{films},{raw}", home, progress=False) == joined  # joined once, in whatever order
        assert here(f"{films},{raw}", home) == joined
    assert here(f"mind-demo,{films}", home) is None
    with pytest.raises(ValueError, match=r"'ml' is the same data set twice"):
        resolve(f"{films},{films}", home, progress=False)
    with pytest.raises(ValueError, match="takes two or more data sets, not 1"):
        resolve(f"{films},", home, progress=False)
    with pytest.raises(ValueError, match="'mind-smal' is neither"):
        resolve(f"{films},mind-smal", home, progress=False)


def test_a_folder_with_a_comma_in_its_name_is_a_folder(home: Path, tmp_path: Path) -> None:
    assert resolve(str(movielens(tmp_path / "ml, small")), home, progress=False).name == "ml, small"
