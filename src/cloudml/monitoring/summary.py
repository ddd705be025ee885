"""A report's verdict, reasons and table as HTML: the head of the page, and all that a notebook shows. No numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files

from cloudml.monitoring.report import FeatureReport, Finding, Report, Verdict
from cloudml.monitoring.written import NOTHING, number, shortened, text

NAMES = {
    "psi": "PSI",
    "ks": "KS",
    "js_distance": "JS distance",
    "js_divergence": "JS divergence",
    "wasserstein_normalized": "Wasserstein",
    "chi_squared": "χ²",
    "l_infinity": "L∞",
    "missing_rate": "missing",
    "type_error_rate": "wrong type",
    "out_of_range_rate": "out of range",
    "unseen_rate": "unseen",
}
MEANING = {
    "psi": "population stability index over the reference's deciles: below 0.1 stable, over 0.2 shifted",
    "ks": "Kolmogorov-Smirnov: largest gap between the two cumulative shares",
    "js_distance": "Jensen-Shannon distance, 0 to 1",
    "js_divergence": "Jensen-Shannon divergence in bits, 0 to 1",
    "wasserstein_normalized": "how far values moved on average, in standard deviations of the reference",
    "chi_squared": "Pearson's statistic over the categories",
    "l_infinity": "largest gap between two shares",
    "missing_rate": "share of rows without a value",
    "type_error_rate": "share of rows whose value is no number",
    "out_of_range_rate": "share of values outside the reference's range",
    "unseen_rate": "share of values in categories that the reference never had",
}
ALWAYS = ("psi", "ks", "wasserstein_normalized")
NOTEBOOK_REASONS, NOTEBOOK_ROWS = 5, 30
LONGEST_NAME = 60


@cache
def style() -> str:
    return files("cloudml.monitoring").joinpath("report.css").read_text(encoding="utf-8")


def notebook(report: Report) -> str:
    """Verdict, reasons and table; works alone, without plots."""
    reasons = [f"<li>{text(reason)}</li>" for reason in report.reasons[:NOTEBOOK_REASONS]]
    if more := len(report.reasons) - NOTEBOOK_REASONS:
        reasons += [f"<li>… and {more} more</li>"] if more > 0 else []
    parts = [f'<div class="cm notebook"><style>{style()}</style>', headline(report, "p")]
    parts += [f'<ul class="reasons">{"".join(reasons)}</ul>'] if reasons else []
    parts += [service(report), table(report, most=NOTEBOOK_ROWS), "</div>"]
    return "".join(parts)


def headline(report: Report, tag: str = "h2") -> str:
    """The verdict in a sentence and what was compared."""
    drifted, of = sum(feature.drifted for feature in report.features), len(report.features)
    match report.verdict:
        case Verdict.DRIFT if drifted:
            said = f"Drift: {drifted} of {_counted(of, 'feature')} changed"
        case Verdict.DRIFT:
            said = "The service is over its limits"
        case Verdict.TOO_FEW:
            said = "Too few rows for a verdict"
        case _:
            said = f"No drift in {_counted(of, 'feature')}"
    compared = _counted(report.samples, "row")
    if report.reference_samples:
        compared += f" compared with {_counted(report.reference_samples, 'row')} of reference"
    if report.window:
        compared += f", {_period(report.window)}"
    icon = {"drift": "▲", "ok": "✓"}.get(str(report.verdict), "…")
    kind = {"drift": "bad", "ok": "good"}.get(str(report.verdict), "few")
    return (
        f'<{tag} class="verdict {kind}"><span class="icon" aria-hidden="true">{icon}</span> {said}</{tag}>'
        f'<p class="compared">{compared}.</p>'
    )


def service(report: Report) -> str:
    """Requests, errors, latency and malformed rows as a line of tiles; empty if nothing is known of them."""
    tiles: list[tuple[str, str]] = []
    if report.requests is not None:
        tiles.append(("requests", f"{report.requests:,}"))
    if report.error_rate is not None:
        errors = f" ({report.errors:,})" if report.errors else ""
        tiles.append(("errors", f"{report.error_rate * 100:.2f} %{errors}"))
    tiles += [(f"latency {name}", f"{value:,.1f} ms") for name, value in (report.latency or {}).items()]
    if report.malformed:
        tiles.append(("malformed rows, left out", f"{report.malformed:,}"))
    cells = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in tiles)
    return f'<dl class="tiles" aria-label="service">{cells}</dl>' if tiles else ""


def statistics_shown(report: Report) -> Sequence[str]:
    """The usual ones and those with a threshold; a rate that is zero everywhere is left out."""
    present = {name for feature in report.features for name in feature.statistics}
    rising = {name for feature in report.features for name, value in feature.statistics.items() if value}
    rates = {name for name in present if name.endswith("_rate")}
    wanted = (present & {*ALWAYS, *report.thresholds}) - (rates - rising)
    return [name for name in NAMES if name in wanted]


def table(
    report: Report,
    sparks: Mapping[str, str] | None = None,
    anchors: Mapping[str, str] | None = None,
    most: int | None = None,
) -> str:
    """A line per feature, the worst first. ``sparks``: drawings by feature; ``anchors``: ids that the names lead to."""
    shown = statistics_shown(report)
    over = {(finding.feature, finding.statistic) for finding in report.findings}
    ranked = sorted(report.features, key=lambda feature: feature.severity)
    heads = ['<th scope="col">feature</th>', '<th scope="col">verdict</th>']
    heads += ['<th scope="col">shape</th>'] if sparks else []
    heads += [_head(name, report.thresholds.get(name)) for name in shown]
    heads.append('<th scope="col" class="num">mean</th>')
    lines = []
    for feature in ranked[:most]:
        name = text(shortened(feature.name, LONGEST_NAME)).replace("_", "_<wbr>")
        if anchors and feature.name in anchors:
            name = f'<a href="#{anchors[feature.name]}">{name}</a>'
        cells = [f'<th scope="row">{name}</th>', f"<td>{badge(feature, report)}</td>"]
        cells += [f"<td>{sparks.get(feature.name, '')}</td>"] if sparks else []
        cells += [_cell(feature, statistic, (feature.name, statistic) in over, report) for statistic in shown]
        cells.append(f'<td class="num">{_means(feature)}</td>')
        lines.append(f"<tr>{''.join(cells)}</tr>")
    if most is not None and len(ranked) > most:
        lines.append(f'<tr><td colspan="{len(heads)}">… and {len(ranked) - most} more features</td></tr>')
    return (
        '<div class="wide" role="region" aria-label="features, the worst first" tabindex="0">'
        f"<table><thead><tr>{''.join(heads)}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def badge(feature: FeatureReport, report: Report) -> str:
    kind, said = "good", "ok"
    if not feature.captured:
        kind, said = "few", "not captured"
    elif feature.drifted:
        kind, said = "bad", "changed"
    elif report.verdict is Verdict.TOO_FEW:
        kind, said = "few", "too few"
    return f'<span class="badge {kind}">{said}</span>'


def by_chance(feature: FeatureReport, statistic: str, report: Report) -> bool:
    """Whether a distance is over its limit without being a finding, so that people would ask why."""
    over = feature.statistics.get(statistic, 0.0) > report.thresholds.get(statistic, float("inf"))
    found = any((finding.feature, finding.statistic) == (feature.name, statistic) for finding in report.findings)
    return over and not found and report.verdict is not Verdict.TOO_FEW and not statistic.endswith("_rate")


def service_reason(finding: Finding) -> str:
    """``latency p95 is 14.1 ms, the limit is 10 ms``."""
    if finding.statistic == "error_rate":
        return f"{finding.value * 100:.3g} % of the requests failed, the limit is {finding.threshold * 100:g} %"
    name = finding.statistic.replace("_", " ")
    return f"{name} is {number(finding.value)} ms, the limit is {number(finding.threshold)} ms"


def measure(statistic: str, value: float) -> str:
    if statistic.endswith("_rate"):
        return f"{value * 100:.1f} %"
    return f"{value:.3f}" if value < 100 else f"{value:,.0f}" if value < 1e9 else f"{value:.3g}"


def limit(statistic: str, value: float) -> str:
    """Rates are compared by their increase over the baseline's."""
    return f"+{value * 100:g} %" if statistic.endswith("_rate") else f"{value:g}"


def _head(statistic: str, threshold: float | None) -> str:
    small = (
        f"<small>limit {limit(statistic, threshold)}</small>" if threshold is not None else "<small>no limit</small>"
    )
    return f'<th scope="col" class="num" title="{text(MEANING[statistic])}">{NAMES[statistic]}{small}</th>'


def _cell(feature: FeatureReport, statistic: str, over: bool, report: Report) -> str:
    value = feature.statistics.get(statistic)
    if value is None:
        return f'<td class="num none">{NOTHING}</td>'
    said = measure(statistic, value)
    if over:
        said = f'<span aria-hidden="true">▲ </span>{said}<span class="unseen"> over the limit</span>'
        return f'<td class="num over">{said}</td>'
    if by_chance(feature, statistic, report):
        return f'<td class="num" title="over the limit, but not beyond chance">≈ {said}</td>'
    return f'<td class="num">{said}</td>'


def _means(feature: FeatureReport) -> str:
    if feature.mean is None or feature.reference_mean is None:
        return NOTHING
    return f"{number(feature.reference_mean)} → {number(feature.mean)}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _period(window: tuple[float, float]) -> str:
    start, end = (datetime.fromtimestamp(moment, UTC) for moment in window)
    last = f"{end:%H:%M}" if start.date() == end.date() else f"{end:%Y-%m-%d %H:%M}"
    return f"from {start:%Y-%m-%d %H:%M} to {last} UTC"
