"""What changed in a feature, in plain words."""

from __future__ import annotations

from itertools import accumulate

from cloudml.monitoring.counts import CategoricalCounts, Counts, NumericCounts
from cloudml.monitoring.features import CategoricalFeature, Feature, NumericFeature
from cloudml.monitoring.shapes import quantile
from cloudml.monitoring.written import number, percent, shortened

WORTH_A_WORD = 0.005  # a rate that rose by less is not mentioned
WORTH_A_SENTENCE = 0.05  # a gap between the cumulative shares


def change(feature: Feature, reference: Counts, window: Counts) -> str:
    """One or more sentences: how the values moved, then what is wrong with them."""
    if not window.samples:
        return "There are no rows in the window."
    if window.missing == window.samples:
        return "Missing in every row of the window."
    match feature, reference, window:
        case NumericFeature(), NumericCounts(), NumericCounts():
            said = [*_moved(feature, reference, window), *_wrong_numbers(feature, reference, window)]
        case CategoricalFeature(), CategoricalCounts(), CategoricalCounts():
            said = [*_shifted(feature, reference, window), *_unseen(feature, window)]
        case _:
            said = []
    before, now = reference.missing / reference.samples, window.missing / window.samples
    if abs(now - before) > WORTH_A_WORD:
        said.append(f"Missing in {percent(now)} of the rows (reference {percent(before)}).")
    return " ".join(sentence[0].upper() + sentence[1:] for sentence in said)


def _moved(feature: NumericFeature, reference: NumericCounts, window: NumericCounts) -> list[str]:
    if not reference.present or not window.present:
        return ["There are no numbers to compare."]
    before, now = feature.center, quantile(feature, window, 0.5)
    means = f"mean {number(reference.mean(feature))} → {number(window.mean(feature))}"
    said = [f"Median {number(before)} → {number(now)}, {means}."]
    return [*said, *_gap(feature, reference, window)]


def _gap(feature: NumericFeature, reference: NumericCounts, window: NumericCounts) -> list[str]:
    """The decile at which the two cumulative shares lie farthest apart, said from the side that grew."""
    if not feature.edges:
        return []
    before = [total / reference.present for total in accumulate(reference.bins)]
    now = [total / window.present for total in accumulate(window.bins)]
    at = max(range(len(feature.edges)), key=lambda place: abs(now[place] - before[place]))
    if abs(now[at] - before[at]) < WORTH_A_SENTENCE:
        return []
    edge = number(feature.edges[at])
    if now[at] > before[at]:
        return [f"{percent(now[at])} of the values are at most {edge}, in the reference {percent(before[at])}."]
    return [f"{percent(1 - now[at])} of the values are above {edge}, in the reference {percent(1 - before[at])}."]


def _wrong_numbers(feature: NumericFeature, reference: NumericCounts, window: NumericCounts) -> list[str]:
    said = []
    for noun, count, low_high in (("below", window.below, feature.minimum), ("above", window.above, feature.maximum)):
        if count:
            end = "smallest" if noun == "below" else "largest"
            said.append(f"{_values(count)} {noun} the reference's {end} ({number(low_high)}).")
    if window.infinite:
        said.append(f"{_values(window.infinite)} infinite.")
    if window.type_errors / window.samples > reference.type_errors / reference.samples:
        said.append(f"{percent(window.type_errors / window.samples)} of the values are no numbers.")
    return said


def _values(count: int) -> str:
    return "1 value is" if count == 1 else f"{count:,} values are"


def _shifted(feature: CategoricalFeature, reference: CategoricalCounts, window: CategoricalCounts) -> list[str]:
    if not reference.present or not window.present:
        return ["There are no values to compare."]
    shares = [
        (name, before / reference.present, now / window.present)
        for name, before, now in zip(feature.categories, reference.counts, window.counts, strict=True)
    ]
    ranked = sorted(shares, key=lambda each: abs(each[2] - each[1]), reverse=True)[:2]
    moved = [f"“{shortened(name)}” {percent(before)} → {percent(now)}" for name, before, now in ranked]
    return [", ".join(moved) + "."] if moved else []


def _unseen(feature: CategoricalFeature, window: CategoricalCounts) -> list[str]:
    if not window.unlisted or not feature.complete:
        return []
    names = ", ".join(f"“{shortened(name)}”" for name, _ in window.examples[:3])
    return [
        f"{percent(window.unlisted / window.present)} are categories that the reference never had, such as {names}."
    ]
