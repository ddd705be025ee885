"""A report as plain text for the terminal: the verdict, its reasons, and a line per feature, the worst first."""

from __future__ import annotations

from cloudml.monitoring.report import FeatureReport, Report, Verdict

COLUMNS = ("psi", "ks", "chi_squared", "js_distance", "wasserstein_normalized", "missing_rate")
HEADINGS = ("feature", "kind", "samples", "psi", "ks", "chi2", "js", "wasserstein", "missing", "mean", "verdict")
LEFT = (0, 1, 9, 10)
REASONS_SHOWN = 10


def table(report: Report, most: int | None = None) -> str:
    """Aligned plain text without colours; ends without a newline. ``most`` features, the worst first."""
    lines = [_headline(report)]
    lines += [f"  {reason}" for reason in report.reasons[:REASONS_SHOWN]]
    if len(report.reasons) > REASONS_SHOWN:
        lines.append(f"  … and {len(report.reasons) - REASONS_SHOWN} more")
    lines += _service(report)
    ranked = sorted(report.features, key=lambda feature: feature.severity)
    shown = ranked[:most]
    cells = [HEADINGS, *(_cells(feature, report) for feature in shown)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines.append("")
    for row in cells:
        padded = [
            cell.ljust(width) if position in LEFT else cell.rjust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    lines += [_rest(ranked[len(shown) :], report)] if len(ranked) > len(shown) else []
    return "\n".join(lines)


def _rest(hidden: list[FeatureReport], report: Report) -> str:
    """How many lines are not shown, and whether any of them matters."""
    drifted = sum(feature.drifted for feature in hidden)
    captured = all(feature.captured for feature in hidden)
    said = " ok" if report.verdict is not Verdict.TOO_FEW and captured and not drifted else ""
    return f"… {len(hidden)} more{f', {drifted} of them drifted' if drifted else said} (-v shows all)"


def _headline(report: Report) -> str:
    drifted = sum(feature.drifted for feature in report.features)
    rows = f"{report.samples} rows"
    match report.verdict:
        case Verdict.DRIFT if drifted:
            return f"DRIFT in {drifted} of {len(report.features)} features ({rows})"
        case Verdict.DRIFT:
            return f"DRIFT of the service ({rows})"
        case Verdict.TOO_FEW:
            return f"TOO FEW SAMPLES ({rows})"
    return f"OK: no drift in {len(report.features)} features ({rows})"


def _service(report: Report) -> list[str]:
    parts = [f"{name} {value:.1f} ms" for name, value in (report.latency or {}).items()]
    if report.error_rate is not None:
        parts.append(f"errors {report.error_rate:.2%}")
    lines = [f"  latency and errors: {', '.join(parts)}"] if parts else []
    if report.malformed:
        lines.append(f"  malformed: {report.malformed} captured rows do not fit the baseline and were left out")
    return lines


def _cells(feature: FeatureReport, report: Report) -> tuple[str, ...]:
    means = ""
    if feature.mean is not None and feature.reference_mean is not None:
        means = f"{feature.reference_mean:.4g} → {feature.mean:.4g}"
    values = [f"{feature.statistics[name]:.3g}" if name in feature.statistics else "-" for name in COLUMNS]
    verdict = "DRIFT" if feature.drifted else "-" if report.verdict is Verdict.TOO_FEW else "ok"
    if not feature.captured:
        verdict = "not captured"
    return (feature.name, feature.kind, str(feature.samples), *values, means or "-", verdict)
