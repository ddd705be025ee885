"""Plots as inline SVG: everything that comes from data is escaped; colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cloudml.monitoring.arrays import Floats, np
from cloudml.monitoring.shapes import Bars, Pairs, round_step
from cloudml.monitoring.written import number, percent, shortened, text

WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 46, 16, 46, 32
LABELS, VALUES, ROW, HEAD = 196, 124, 28, 28  # the plot of categories: names to the left, shares to the right
SPARK_WIDTH, SPARK_HEIGHT = 112, 26
SPARK_PAIRS = 12
TICKS = 7
Ends = tuple[float | None, float | None]


@dataclass(frozen=True)
class _Frame:
    """Data to pixels."""

    bars: Bars
    peak: float
    left: float
    right: float
    top: float
    bottom: float

    def x(self, value: float) -> float:
        low, high = float(self.bars.edges[0]), float(self.bars.edges[-1])
        value = min(max(value, low), high)
        if self.bars.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def y(self, share: float) -> float:
        return self.bottom - share / self.peak * (self.bottom - self.top)

    def outline(self, shares: Floats) -> str:
        """The histogram's steps, from the baseline and back to it."""
        places = [f"{self.x(float(edge)):.1f}" for edge in self.bars.edges]
        path = [f"M{places[0]} {self.bottom:g}"]
        path += [f"V{self.y(float(share)):.1f}H{end}" for share, end in zip(shares, places[1:], strict=True)]
        return "".join([*path, f"V{self.bottom:g}"])


def histogram(bars: Bars, medians: Ends, means: Ends, label: str) -> str:
    """Reference filled, window as an outline, over the same bins; medians as lines, means as triangles.

    ``medians``, ``means``: the reference's and the window's; ``label``: the text alternative.
    """
    peak = max(float(np.max(bars.reference)), float(np.max(bars.window)), 1e-9)
    step = round_step(peak / 4)
    rows = math.ceil(peak / step - 1e-9)
    frame = _Frame(bars, rows * step, LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM)
    drawn = [_open(WIDTH, HEIGHT, label), *_share_axis(frame, step, rows), *_value_axis(frame)]
    drawn.append(f'<path class="ref" d="{frame.outline(bars.reference)}Z"/>')
    drawn.append(f'<path class="win" d="{frame.outline(bars.window)}"/>')
    drawn.append(_line("axis", frame.left, frame.bottom, frame.right, frame.bottom))
    drawn += _marks(frame, "ref", "reference", 13, medians[0], means[0])
    drawn += _marks(frame, "win", "window", 29, medians[1], means[1])
    return "".join(drawn) + "</svg>"


def paired(pairs: Pairs, label: str) -> str:
    """Two bars per label, the reference's above the window's, and both shares as text."""
    height = HEAD + ROW * len(pairs.labels) + 6
    longest = max((*pairs.reference, *pairs.window, 1e-9))
    room = WIDTH - LABELS - VALUES
    drawn = [_open(WIDTH, height, label), '<rect class="ref" x="196" y="5" width="14" height="9"/>']
    drawn += ['<text x="215" y="14">reference</text>', '<rect class="win-bar" x="290" y="5" width="14" height="9"/>']
    drawn.append('<text x="309" y="14">window</text>')
    for at, (name, before, now) in enumerate(zip(pairs.labels, pairs.reference, pairs.window, strict=True)):
        y = HEAD + ROW * at
        drawn.append(f'<text x="{LABELS - 8}" y="{y + 15}" text-anchor="end">{text(_label(name))}')
        drawn.append(f"<title>{text(name[:500])}</title></text>")
        drawn.append(f'<rect class="ref" x="{LABELS}" y="{y}" width="{before / longest * room:.1f}" height="10"/>')
        drawn.append(
            f'<rect class="win-bar" x="{LABELS}" y="{y + 10}" width="{now / longest * room:.1f}" height="10"/>'
        )
        end = LABELS + max(before, now) / longest * room + 6
        drawn.append(f'<text x="{end:.1f}" y="{y + 14}">{percent(before)} → {percent(now)}</text>')
    return "".join(drawn) + "</svg>"


def _label(name: str) -> str:
    """What fits beside the bars; the letters of some scripts are twice as wide."""
    return shortened(name, 24 if max(name, default="") < "\u1100" else 14)


def spark(shown: Bars | Pairs) -> str:
    """The same shape in the size of a word; it repeats the plot, so that it is hidden from screen readers."""
    drawn = [f'<svg class="spark" viewBox="0 0 {SPARK_WIDTH} {SPARK_HEIGHT}" aria-hidden="true" focusable="false">']
    if isinstance(shown, Bars):
        peak = max(float(np.max(shown.reference)), float(np.max(shown.window)), 1e-9)
        frame = _Frame(shown, peak, 1, SPARK_WIDTH - 1, 2, SPARK_HEIGHT - 1)
        drawn.append(f'<path class="ref" d="{frame.outline(shown.reference)}Z"/>')
        drawn.append(f'<path class="win" d="{frame.outline(shown.window)}"/>')
        return "".join(drawn) + "</svg>"
    both = list(zip(shown.reference, shown.window, strict=True))[-SPARK_PAIRS:]
    longest = max((share for pair in both for share in pair), default=0.0) or 1.0
    width = SPARK_WIDTH / max(len(both), 4)
    for at, pair in enumerate(both):
        for side, (style, share) in enumerate(zip(("ref", "win-bar"), pair, strict=True)):
            tall, thick = share / longest * (SPARK_HEIGHT - 3), width * 0.4
            x, y = at * width + side * thick + 1, SPARK_HEIGHT - 1 - tall
            drawn.append(f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{thick:.1f}" height="{tall:.1f}"/>')
    return "".join(drawn) + "</svg>"


def _open(width: float, height: float, label: str) -> str:
    return f'<svg class="plot" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{text(label)}">'


def _line(style: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _share_axis(frame: _Frame, step: float, rows: int) -> Iterable[str]:
    decimals = max(0, -math.floor(math.log10(step * 100) + 1e-9))
    if abs(step * 100 * 10**decimals % 1) > 1e-6:  # 2.5 %
        decimals += 1
    for at in range(rows + 1):
        y = frame.y(at * step)
        yield _line("grid", frame.left, y, frame.right, y)
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{at * step * 100:.{decimals}f} %</text>'


def _value_axis(frame: _Frame) -> Iterable[str]:
    for value, name in ticks(frame.bars):
        x = frame.x(value)
        yield _line("axis", x, frame.bottom, x, frame.bottom + 5)
        anchor = "middle" if LEFT + 14 < x < WIDTH - RIGHT - 14 else "start" if x <= LEFT + 14 else "end"
        yield f'<text x="{x:.1f}" y="{HEIGHT - 12}" text-anchor="{anchor}">{name}</text>'


def ticks(bars: Bars) -> Sequence[tuple[float, str]]:
    """About seven places on the axis, at round numbers, and how they are written."""
    low, high = float(bars.edges[0]), float(bars.edges[-1])
    if bars.log:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        digits = (1, 2, 5) if last - first <= 3 else (1,)
        every = max(1, (last - first) // TICKS)
        places = [digit * 10.0**power for power in range(first, last + 1, every) for digit in digits]
        return [(place, number(place)) for place in places if low <= place * (1 + 1e-9) and place <= high * (1 + 1e-9)]
    widest = max(len(number(low)), len(number(high)))
    step = round_step((high - low) / (TICKS if widest < 8 else 4))
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if abs(step * 10.0**decimals % 1) > 1e-6:
        decimals += 1
    plain = max(abs(low), abs(high)) < 1e12 and decimals <= 6
    return [
        (at * step, f"{at * step:,.{decimals}f}" if plain else f"{at * step:.6g}")
        for at in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]


def _marks(frame: _Frame, style: str, noun: str, row: float, median: float | None, mean: float | None) -> Iterable[str]:
    """The median as a dashed line, the mean as a triangle on the axis, both named in a line at the top."""
    box = 'class="ref"' if style == "ref" else 'class="win"'
    yield f'<rect {box} x="{LEFT}" y="{row - 9}" width="13" height="9"/>'
    said = f"┊ median {number(median)}, ▲ mean {number(mean)}" if median is not None else "no numbers"
    yield f'<text class="{style}-text" x="{LEFT + 19}" y="{row}">{noun} {said}</text>'
    if median is not None:
        yield _line(f"{style}-line", frame.x(median), TOP - 6, frame.x(median), frame.bottom)
    if mean is not None:
        yield f'<path class="{style}-mark" d="M{frame.x(mean):.1f} {frame.bottom:g}l-5 8h10z"/>'
