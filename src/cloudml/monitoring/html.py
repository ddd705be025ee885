"""A report as one HTML page that needs nothing else: no script, no font, no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cloudml.errors import ConfigError
from cloudml.monitoring.counts import CategoricalCounts, NumericCounts
from cloudml.monitoring.features import CategoricalFeature, NumericFeature
from cloudml.monitoring.profile import Baseline, Profile
from cloudml.monitoring.report import FeatureReport, Report, Verdict
from cloudml.monitoring.shapes import Bars, Pairs, bars, pairs, quantile
from cloudml.monitoring.summary import (
    LONGEST_NAME,
    NAMES,
    badge,
    headline,
    limit,
    measure,
    service,
    service_reason,
    style,
    table,
)
from cloudml.monitoring.svg import histogram, paired, spark
from cloudml.monitoring.words import change
from cloudml.monitoring.written import NOTHING, percent, shortened, text

REASONS_SHOWN = 6
PLOTS_SHOWN = 12  # the others wait behind a line that opens


@dataclass(frozen=True)
class _Card:
    """What is shown of one feature; empty strings where there is nothing to draw."""

    said: str = ""
    plot: str = ""
    spark: str = ""


def html(
    report: Report, baseline: Baseline | None = None, profile: Profile | None = None, title: str = "Drift report"
) -> str:
    """The whole page, to be written as UTF-8: verdict, reasons, service, table, and a plot per feature.

    ``baseline`` and ``profile``, the two that ``report`` compared, are what plots and shapes are drawn from; without
    them the page has none.
    :raises ConfigError: a profile that was counted on another baseline.
    """
    if baseline and profile and profile.baseline != baseline.profile.baseline:
        raise ConfigError("this profile was counted on another baseline")
    cards = _cards(report, baseline, profile) if baseline and profile else {}
    anchors = {feature.name: f"f{at}" for at, feature in enumerate(report.features)}
    sparks = {name: card.spark for name, card in cards.items()}
    body = [
        f"<header><h1>{text(title)}</h1>{headline(report, 'p')}</header>",
        _reasons(report, cards, anchors),
        service(report),
        f"<h2>Features</h2>{table(report, sparks, anchors if cards else None)}",
        _plots(report, cards, anchors),
        f"<footer><p>{_method(report)}</p></footer>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{text(title)}: {text(report.verdict)}</title><style>{style()}</style></head>"
        f'<body class="cm page"><main>{"".join(body)}</main></body></html>'
    )


def _cards(report: Report, baseline: Baseline, profile: Profile) -> dict[str, _Card]:
    captured = {feature.name for feature in report.features if feature.captured}
    return {
        feature.name: _card(feature.name, baseline, profile, at) if feature.name in captured else _Card()
        for at, feature in enumerate(baseline.features)
    }


def _card(name: str, baseline: Baseline, profile: Profile, at: int) -> _Card:
    feature, reference, window = baseline.features[at], baseline.profile.counts[name], profile.counts[name]
    said = change(feature, reference, window)
    drawn: Bars | Pairs | None = None
    plot = ""
    match feature, reference, window:
        case NumericFeature(), NumericCounts(), NumericCounts():
            drawn = bars(feature, reference, window)
            if drawn:
                medians = (feature.center if reference.present else None, quantile(feature, window, 0.5))
                means = (reference.mean(feature), window.mean(feature))
                plot = histogram(drawn, medians, means, f"Histograms of {name}. {said}")
                said += _beyond(drawn)
        case CategoricalFeature(), CategoricalCounts(), CategoricalCounts():
            drawn = pairs(feature, reference, window)
            plot = paired(drawn, f"Shares of the categories of {name}. {said}")
    return _Card(said, plot, spark(drawn) if drawn else "")


def _beyond(drawn: Bars) -> str:
    off = max(drawn.beyond)
    axis = " The axis is logarithmic." if drawn.log else ""
    if off < 1e-9:
        return axis
    before, now = map(percent, drawn.beyond)
    return f"{axis} Beyond the axis: {before} of the reference, {now} of the window."


def _reasons(report: Report, cards: Mapping[str, _Card], anchors: Mapping[str, str]) -> str:
    """Why, in plain words: a line per feature that drifted, the worst first, and one per limit of the service."""
    if report.verdict is Verdict.TOO_FEW or not cards:
        lines = [text(reason) for reason in report.reasons]
    else:
        lines = [text(service_reason(finding)) for finding in report.findings if finding.feature is None]
        worst = sorted((feature for feature in report.features if feature.drifted), key=lambda one: one.severity)
        lines += [
            f'<a href="#{anchors[feature.name]}">{text(feature.name)}</a>: {text(cards[feature.name].said)} '
            f'<span class="why">{text(_why(feature, report))}</span>'
            for feature in worst
        ]
    if not lines:
        return ""
    items = "".join(f"<li>{line}</li>" for line in lines[:REASONS_SHOWN])
    rest = "".join(f"<li>{line}</li>" for line in lines[REASONS_SHOWN:])
    if rest:
        count = len(lines) - REASONS_SHOWN
        rest = f"<details><summary>{count} more reason{'s' if count > 1 else ''}</summary><ul>{rest}</ul></details>"
    return f'<section class="reasons" aria-label="reasons"><ul>{items}</ul>{rest}</section>'


def _why(feature: FeatureReport, report: Report) -> str:
    over = [finding for finding in report.findings if finding.feature == feature.name]
    return ", ".join(
        f"{NAMES[finding.statistic]} {measure(finding.statistic, finding.value)}, "
        f"limit {limit(finding.statistic, finding.threshold)}"
        for finding in over
    )


def _plots(report: Report, cards: Mapping[str, _Card], anchors: Mapping[str, str]) -> str:
    if not cards:
        return ""
    ranked = sorted(report.features, key=lambda feature: feature.severity)
    drawn = [_figure(feature, report, cards[feature.name], anchors[feature.name]) for feature in ranked]
    shown = f'<h2>Plots</h2><div class="grid-2">{"".join(drawn[:PLOTS_SHOWN])}</div>'
    if rest := drawn[PLOTS_SHOWN:]:
        shown += (
            f'<details class="more"><summary>{len(rest)} more feature{"s" if len(rest) > 1 else ""}</summary>'
            f'<div class="grid-2">{"".join(rest)}</div></details>'
        )
    return shown


def _figure(feature: FeatureReport, report: Report, card: _Card, anchor: str) -> str:
    said = card.said or "Capture leaves this feature out, so there is nothing to compare."
    numbers = _numbers(feature, report)
    return (
        f'<figure id="{anchor}"><h3>{text(shortened(feature.name, LONGEST_NAME))} {badge(feature, report)}</h3>'
        f"<figcaption>{text(said)}</figcaption>{card.plot}{numbers}</figure>"
    )


def _numbers(feature: FeatureReport, report: Report) -> str:
    if not feature.statistics:
        return ""
    lines = "".join(
        f'<tr><th scope="row">{NAMES[name]}</th><td class="num">{measure(name, value)}</td>'
        f'<td class="num">{limit(name, report.thresholds[name]) if name in report.thresholds else NOTHING}</td>'
        f'<td class="num">{_chance(feature.p_values.get(name))}</td></tr>'
        for name, value in feature.statistics.items()
    )
    heads = "".join(f'<th scope="col"{" class=num" if at else ""}>{head}</th>' for at, head in enumerate(_HEADS))
    return (
        f"<details><summary>All statistics, {feature.samples:,} values</summary>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></details>"
    )


_HEADS = ("statistic", "value", "limit", "p-value")


def _chance(p_value: float | None) -> str:
    if p_value is None:
        return NOTHING
    return f"{p_value:.3f}" if p_value >= 0.001 else "&lt; 0.001"


def _method(report: Report) -> str:
    return (
        "A feature changed if a statistic is over its limit (▲) and the difference is more than chance; ≈ marks those "
        "that are over it by no more than chance. p-values are held "
        f"against {report.false_alarm_rate * 100:g} % by Holm's procedure over all features and limits of this report. "
        f"At least {report.min_samples:,} rows are needed. Rates are compared by their increase over the reference's."
    )
