"""``batch``: rows of a file or a folder in, predictions out, a chunk at a time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("httptools")

from cloudml.errors import CloudmlError, ConfigError, RunFailed
from cloudml.runtime.batch import batch

MODEL = """
import time
class Model:
    def __init__(self, folder): pass
    def predict(self, rows):
        if any(row[0] == 13 for row in rows): raise ValueError("no thirteen")
        if any(row[0] == 99 for row in rows): open(__file__ + ".busy", "w").close(); time.sleep(60)
        return [sum(row) for row in rows]
"""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.py").write_text(MODEL)
    monkeypatch.setenv("CLOUDML_MODEL_DIR", str(folder))
    return folder


def run(source: Path, target: Path, *more: str) -> int:
    return batch(["--input", str(source), "--output", str(target), *more])


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize("header", ["", "a,b\n"])
def test_csv_gives_a_line_a_row(header: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(header + "".join(f"{n},0.5\n" for n in range(100, 110)))
    run(tmp_path / "rows.csv", tmp_path / "out.csv", "--rows", "3")
    assert (tmp_path / "out.csv").read_text().split() == [str(n + 0.5) for n in range(100, 110)]


@pytest.mark.usefixtures("model")
def test_json_lines_give_json_lines(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("[1, 2]\n\n[3, 4]\n[5.5, 0]\n")
    run(tmp_path / "rows.jsonl", tmp_path / "deep/out.jsonl", "--rows", "2")
    assert [json.loads(line) for line in (tmp_path / "deep/out.jsonl").read_text().splitlines()] == [3, 7, 5.5]


@pytest.mark.usefixtures("model")
def test_parquet_gives_parquet(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"a": [1, 2, 3], "b": [0.5, 0.5, 0.5]}), tmp_path / "rows.parquet")
    run(tmp_path / "rows.parquet", tmp_path / "out.parquet", "--rows", "2")
    assert pq.read_table(tmp_path / "out.parquet").to_pydict() == {"prediction": [1.5, 2.5, 3.5]}


@pytest.mark.usefixtures("model")
def test_a_folder_gives_a_folder(tmp_path: Path) -> None:
    (tmp_path / "rows/deep").mkdir(parents=True)
    (tmp_path / "rows/a.csv").write_text("1,1\n")
    (tmp_path / "rows/deep/b.jsonl").write_text("[2, 2]\n")
    (tmp_path / "rows/notes.txt").write_text("no rows")
    run(tmp_path / "rows", tmp_path / "out")
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {"a.csv.out", "deep/b.jsonl.out"}
    assert (tmp_path / "out/deep/b.jsonl.out").read_text() == "4\n"


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    ("text", "said"),
    [("[1, 1]\n[2, 2]\n[13, 1]\n", "rows from 3 on: .*no thirteen"), ("[1, 1]\nno json\n", "line 2 is not JSON")],
)
def test_what_is_refused_leaves_what_was_there(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(text)
    (tmp_path / "out.jsonl").write_text("of yesterday")
    with pytest.raises(RunFailed, match=said):
        run(tmp_path / "rows.jsonl", tmp_path / "out.jsonl", "--rows", "2")
    assert (tmp_path / "out.jsonl").read_text() == "of yesterday"
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "the following arguments are required"),
        (["--input", "x.xls", "--output", "y"], "does not say what it is"),
        (["--input", "empty", "--output", "y"], "has no file to read"),
        (["--input", "rows.csv", "--output", "y", "--method", "decide"], "has no method 'decide'"),
    ],
)
def test_a_wrong_use_is_said(
    options: Sequence[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("x.xls", "rows.csv"):
        (tmp_path / name).write_text("1,1\n")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=said):
        batch(list(options))


def test_without_a_model_it_is_a_wrong_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUDML_MODEL_DIR", raising=False)
    (tmp_path / "rows.csv").write_text("1,1\n")
    with pytest.raises(CloudmlError, match="CLOUDML_MODEL_DIR is not set"):
        run(tmp_path / "rows.csv", tmp_path / "out.csv")


@pytest.mark.usefixtures("model")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        with open(tmp_path / "rows.csv", "w") as file:
            file.writelines("1,2,3,4,5,6,7,8\n" for _ in range(rows))
        program = (
            "import resource, sys; from cloudml.runtime.batch import batch; batch(sys.argv[1:]); "
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        argv = ["--input", str(tmp_path / "rows.csv"), "--output", str(tmp_path / "out.csv")]
        done = subprocess.run([sys.executable, "-c", program, *argv], capture_output=True, text=True, check=True)
        return int(done.stdout) // 1024

    assert peak(200_000) - peak(10_000) < 25  # MiB; held as lists, the rows alone would be more than twice that


def test_sigterm_leaves_nothing_unfinished(model: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("[1, 1]\n[99, 1]\n")
    argv: list[Any] = ["--input", tmp_path / "rows.jsonl", "--output", tmp_path / "out.jsonl", "--rows", "1"]
    process = subprocess.Popen([sys.executable, "-m", "cloudml.runtime", "batch", *map(str, argv)])
    try:
        deadline = time.monotonic() + 40
        while not (model / "model.py.busy").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 143
    finally:
        process.kill()
    assert not list(tmp_path.glob("*out.jsonl*"))
