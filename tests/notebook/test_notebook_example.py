"""The example notebook: runs from its first cell to its last, and what is kept in it is what comes out."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
LARGEST = 150_000  # bytes of the file


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import notebook

    monkeypatch.delitem(sys.modules, "notebook")
    return notebook


def shape(notebook: Any) -> list[list[str]]:
    """What each cell shows, without numbers, hashes and times."""
    return [[_shape(output) for output in cell.get("outputs", ())] for cell in notebook["cells"]]


def _shape(output: Any) -> str:
    data = output.get("data", {})
    html = "".join(data.get("text/html", ()))
    if output["output_type"] == "display_data":  # progress: how long something took is not compared
        html = re.sub(r"\d+ s</td>", "</td>", html)
    text = re.sub(r"<[^>]*>", " ", html) or "".join(data.get("text/plain", output.get("text", ())))
    plain = re.sub(r"\b[0-9a-f]{8}\b|\d[\d.,:]*", "#", text)
    return f"{output['output_type']} {' '.join(sorted(data))} {' '.join(plain.split())}"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Jupyter's own packages
def test_the_notebook_runs_and_shows_what_it_has_kept(
    tmp_path: Path, runner: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "client"))  # the client's own, in this process
    kept = json.loads(runner.NOTEBOOK.read_text("utf-8"))
    made = runner.execute(tmp_path)
    assert all(cell["outputs"] for cell in kept["cells"] if cell["cell_type"] == "code")
    assert shape(json.loads(json.dumps(made))) == shape(kept)


def test_the_notebook_is_small_and_names_no_machine() -> None:
    text = (EXAMPLES / "quickstart" / "quickstart.ipynb").read_text("utf-8")
    assert len(text) < LARGEST
    assert not re.search(r"/(tmp|home|root|Users|work)/", text)
