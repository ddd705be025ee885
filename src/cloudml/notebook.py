"""What a notebook shows: handles as small cards, progress in one display, and what goes on after an interruption.

IPython is never imported: who runs under it finds it loaded. Colours are those that can be read on white and on black,
the rest is the notebook's own; everything that comes from outside is escaped.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from typing import Any

from cloudml.events import Event, Happened, Listener
from cloudml.states import Key, Phase

CONTENT = "artifact"  # uploads: many, small, and named by digests
GOOD, BAD, BUSY, QUIET = "#2da44e", "#e5534b", "#bf8700", "#848d97"
REDRAWN = 0.2  # seconds between two looks of a display
_LINE = "border:0;padding:.15em 1.2em .15em 0;text-align:left;background:none;vertical-align:top"
_MUTED = "opacity:.7"
_CODE = "font-family:ui-monospace,monospace;font-size:.92em;background:rgba(128,128,128,.16);padding:.1em .35em"
_BOX = "border-left:3px solid {color};padding:.1em 0 .1em .8em;margin:.2em 0;line-height:1.45;overflow-x:auto"


# -- cards -----------------------------------------------------------------------------------------------------------


def card(
    title: str, said: str = "", color: str = QUIET, rows: Iterable[tuple[str, Any]] = (), then: Sequence[str] = ()
) -> str:
    """One thing: its name and state, what is known of it, and what can be typed next."""
    state = f' <span style="color:{color}" aria-hidden="true">●</span> {escape(said)}' if said else ""
    lines = "".join(
        f'<tr style="background:none"><th scope="row" style="{_LINE};font-weight:normal;{_MUTED}">{escape(name)}</th>'
        f'<td style="{_LINE}">{cell(value)}</td></tr>'
        for name, value in rows
        if value not in (None, "", (), {}, [])
    )
    table = f'<table style="border:0;margin:.2em 0;border-collapse:collapse">{lines}</table>' if lines else ""
    codes = " ".join(f'<code style="{_CODE}">{escape(code)}</code>' for code in then)
    after = f'<div style="margin-top:.25em"><span style="{_MUTED}">next</span> {codes}</div>' if codes else ""
    box = _BOX.format(color=color)
    return f'<div class="cloudml" style="{box}"><div><b>{escape(title)}</b>{state}</div>{table}{after}</div>'


def grid(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Several things: a small table; a Phase is drawn with its dot."""
    heads = "".join(
        f'<th scope="col" style="{_LINE};font-weight:normal;{_MUTED}">{escape(each)}</th>' for each in headings
    )
    lines = "".join(f'<tr style="background:none">{"".join(map(_cell, row))}</tr>' for row in rows)
    return (
        '<div class="cloudml" style="overflow-x:auto"><table style="border:0;border-collapse:collapse">'
        f'<thead><tr style="background:none">{heads}</tr></thead><tbody>{lines}</tbody></table></div>'
    )


def cell(value: Any) -> str:
    """A value as HTML: numbers short, web addresses as links, maps as ``name value``."""
    match value:
        case Phase():
            return f'<span style="color:{tint(value)}" aria-hidden="true">●</span> {escape(value.value)}'
        case bool():
            return escape(str(value))
        case float():
            return f"{value:.4g}"
        case str() if value.startswith(("http://", "https://")):
            return f'<a href="{escape(value)}">{escape(value)}</a>'
        case Mapping():
            return escape(", ".join(f"{name} {_short(inner)}" for name, inner in value.items()))
        case list() | tuple():
            return escape(", ".join(map(str, value)))
    return escape(str(value))


def tint(phase: Phase | None) -> str:
    if phase is None:
        return QUIET
    if phase.failed or phase is Phase.DEGRADED:
        return BAD
    if phase in (Phase.SUCCEEDED, Phase.READY):
        return GOOD
    return QUIET if phase.settled else BUSY


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _rows(rows: Iterable[Sequence[Any]]) -> str:
    """Progress: quiet lines above what the cell shows in the end."""
    lines = "".join(f'<tr style="background:none">{"".join(map(_cell, row))}</tr>' for row in rows)
    table = f'<table style="border:0;margin:0;border-collapse:collapse;font-size:.92em">{lines}</table>'
    return f'<div class="cloudml" style="{_BOX.format(color="rgba(128,128,128,.35)")}">{table}</div>'


def _cell(value: Any) -> str:
    return f'<td style="{_LINE}">{cell(value)}</td>'


# -- progress --------------------------------------------------------------------------------------------------------


@dataclass
class Live:
    """A listener that keeps one display of a notebook up to date; each cell that is run has its own.

    ``cell`` tells which cell runs, ``show`` opens a display with some HTML and returns what updates it; ``now`` is in
    seconds.
    """

    cell: Callable[[], Any]
    show: Callable[[str], Callable[[str], None]]
    now: Callable[[], float] = time.monotonic
    _shown_in: Any = None
    _update: Callable[[str], None] | None = None
    _lines: dict[Key | str, tuple[Phase | str, float, float | None]] = field(default_factory=dict)
    _stored: int = 0
    _drawn: float = float("-inf")

    def __call__(self, event: Event) -> None:
        if self.cell() != self._shown_in:
            self._shown_in, self._update, self._stored = self.cell(), None, 0
            self._lines.clear()
        if self._take(event):
            self._draw(event.what is Happened.WAITING)

    def _take(self, event: Event) -> bool:
        """Whether there is something new to show."""
        key, now = event.key, self.now()
        if key is not None and key.kind == CONTENT:
            if event.what is not Happened.SENT:
                return False
            self._stored += 1
            self._lines["files"] = (f"{self._stored} stored", now, now)
        elif key is not None and event.what in (Happened.WAITING, Happened.PROGRESS):
            phase: Phase | str = event.text
            if event.state is not None and not event.state.phase.settled:
                phase = event.state.phase
            self._lines[key] = (phase, self._lines.get(key, (phase, now, None))[1], None)
        elif key is not None and event.what is Happened.DONE:
            done: Phase | str = event.state.phase if event.state else "removed"
            self._lines[key] = (done, self._lines.get(key, (done, now, None))[1], now)
        elif event.what in (Happened.NOTE, Happened.RETRYING):
            self._lines["note"] = (event.text, now, now)
        else:
            return False
        return True

    def _draw(self, may_wait: bool) -> None:
        if (may_wait and self.now() - self._drawn < REDRAWN) or not self._lines.keys() - {"files"}:
            return
        self._drawn = self.now()
        html = _rows([self._row(key, *line) for key, line in self._lines.items()])
        if self._update is None:
            self._update = self.show(html)
        else:
            self._update(html)

    def _row(self, key: Key | str, said: Phase | str, since: float, end: float | None) -> tuple[Any, ...]:
        passed = (end if end is not None else self.now()) - since
        return str(key), said, f"{passed:.0f} s" if passed >= 1 else ""


def live() -> list[Listener]:
    """The listener of the notebook that we run in; none anywhere else."""
    shell = _shell()
    return [Live(lambda: shell.execution_count, _show)] if shell else []


@contextmanager
def detaching(what: str, then: str) -> Iterator[None]:
    """Ctrl-C ends the waiting, not what is waited for: the interruption carries what goes on and what can be done."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        stopped.add_note(f"{what} goes on; {then}")
        if _shell():
            _show(card(what, "goes on; only the waiting has ended", BUSY, then=[then.split(" ", 1)[0]]))
        raise


def _shell() -> Any:
    """The shell of a notebook's kernel; None in a terminal and without IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell if getattr(shell, "kernel", None) is not None else None


def _show(html: str) -> Callable[[str], None]:
    from importlib import import_module

    shown = import_module("IPython.display")  # loaded already: we run inside it
    handle = shown.display(shown.HTML(html), display_id=True)
    return lambda changed: handle.update(shown.HTML(changed)) if handle else None
