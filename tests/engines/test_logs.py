"""Logs that are larger than what is kept."""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from engine_tasks import finish, output, shell, status, until
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudml.engines import LOG_CHUNK, TaskState
from cloudml.engines.logs import Log, _pieces, read
from cloudml.engines.process import ProcessEngine
from cloudml.errors import Invalid

COUNT = "i=0; while [ $i -lt {} ]; do i=$((i+1)); echo line $i; done"


def kept(tmp_path: Path) -> int:
    found = 0
    for path in (tmp_path / "tasks" / "t").glob("log*"):
        with contextlib.suppress(FileNotFoundError):  # a piece that went meanwhile
            found += path.stat().st_size
    return found


def test_the_beginning_and_the_end_are_kept_in_whole_lines(engine: ProcessEngine, tmp_path: Path) -> None:
    engine.start(replace(shell(tmp_path, COUNT.format(3000)), log_limit=8000))
    assert finish(engine, "t").state is TaskState.SUCCEEDED
    assert kept(tmp_path) <= 8000
    lines = output(engine).decode().splitlines()
    (at,) = [number for number, line in enumerate(lines) if line.startswith("cloudml: ")]
    said = int(lines[at].split()[1])
    assert lines[:at] == [f"line {number}" for number in range(1, at + 1)]
    after = len(lines) - at - 1
    assert lines[at + 1 :] == [f"line {number}" for number in range(3001 - after, 3001)]
    missing = sum(len(f"line {number}\n") for number in range(at + 1, 3001 - after))
    assert lines[at] == f"cloudml: {missing} bytes of output were cut here"
    assert at > 300
    assert after > 200
    assert said > 10_000


def test_a_follower_that_keeps_up_misses_nothing(engine: ProcessEngine, tmp_path: Path) -> None:
    step = "until [ -e go$i ]; do sleep 0.005; done"
    script = f"for i in 1 2 3 4 5 6; do {step}; head -c 1500 /dev/zero | tr '\\000' $i; done"
    engine.start(replace(shell(tmp_path, script), log_limit=4000))
    said, cursor = b"", 0
    for number in range(1, 7):
        (tmp_path / f"go{number}").touch()
        while len(said) < 1500 * number:
            chunk, cursor = engine.logs("t", cursor)
            said += chunk
    assert said == b"".join(str(number).encode() * 1500 for number in range(1, 7))
    finish(engine, "t")
    assert b"bytes of output were cut here" in output(engine)


def test_a_hundred_megabytes_leave_little_and_cost_no_memory(engine: ProcessEngine, tmp_path: Path) -> None:
    text = "a line of a hundred bytes, as progress bars and warnings in a loop print it by the million, " + "x" * 8
    script = f"yes '{text}' | head -c 100000000; echo; echo; until [ -e go ]; do sleep 0.01; done"
    engine.start(replace(shell(tmp_path, script), log_limit=4_000_000))
    until(lambda: kept(tmp_path) > 3_000_000)
    pid = (tmp_path / "tasks" / "t" / "alive").read_text().split()[0]
    until(lambda: engine.logs("t", 100_000_000) != (b"", 100_000_000))
    if os.path.exists("/proc"):
        peak = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmHWM" in line)
        assert int(peak.split()[1]) < 30_000, "kB"
    (tmp_path / "go").touch()
    assert finish(engine, "t").state is TaskState.SUCCEEDED
    assert kept(tmp_path) <= 4_000_000
    first, cursor = engine.logs("t")
    assert len(first) == cursor == LOG_CHUNK
    cut = next(line for line in output(engine).splitlines() if line.startswith(b"cloudml: "))
    assert 96_000_000 <= int(cut.split()[1]) < 97_000_000


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 90), min_size=60, max_size=120), st.lists(st.integers(1, 400), min_size=1))
def test_a_piece_never_ends_within_a_line_wherever_the_text_was_cut(widths: list[int], cuts: list[int]) -> None:
    lines = [f"{number} {'x' * width}\n".encode() for number, width in enumerate(widths)]
    said, blocks = b"".join(lines), itertools.cycle(cuts)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        log, at = Log(2400), 0
        try:
            while at < len(said):
                size = next(blocks)
                log.put(said[at : at + size])
                at += size
        finally:
            log.close()
        files = [Path(name) for _, name in _pieces(folder)]
        for file in files:
            assert set(file.read_bytes().splitlines(keepends=True)) <= set(lines), file
        assert sum(file.stat().st_size for file in files) <= 2400
        kept, cursor = b"", 0
        while (found := read(folder, cursor, 100)) != (b"", cursor):
            assert found[1] >= cursor
            kept, cursor = kept + found[0], found[1]
        assert cursor == len(said), "positions count what was said"
        own = [line for line in kept.splitlines(keepends=True) if not line.startswith(b"cloudml: ")]
        assert own == [line for line in lines if line in set(own)], "in order, each once"


def test_a_limit_that_holds_nothing_is_refused(engine: ProcessEngine, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="at least 1000 bytes"):
        engine.start(replace(shell(tmp_path, "true"), log_limit=10))
    assert engine.status("t") is None
    engine.start(shell(tmp_path, "true"))
    finish(engine, "t")
    assert status(engine, "t").task.log_limit == 64_000_000
