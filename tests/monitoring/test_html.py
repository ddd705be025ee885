"""The page: it needs nothing from elsewhere, escapes what it shows, and draws what was counted."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

import numpy as np
import pytest

from cloudml.errors import ConfigError
from cloudml.monitoring import Baseline, Comparison, Report, check
from cloudml.monitoring.counts import CategoricalCounts, NumericCounts
from cloudml.monitoring.features import CategoricalFeature, NumericFeature
from cloudml.monitoring.html import html
from cloudml.monitoring.shapes import Bars, Pairs, bars, pairs, quantile
from cloudml.monitoring.summary import MEANING, NAMES
from cloudml.monitoring.svg import ticks
from cloudml.monitoring.written import number, percent, shortened, text

EVIL = "</svg></title><script>alert(\"1\")</script>\x00\ud800\u202e & 'x'"
VOID = {"meta", "wbr", "br"}


class Page(HTMLParser):
    """Tags that open and close as they should, and the visible text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def compared(reference: dict[str, object], window: dict[str, object], **options: object) -> Comparison:
    baseline = Baseline.from_rows(reference)  # type: ignore[arg-type]
    profile = baseline.window(window)  # type: ignore[arg-type]
    return Comparison(check(baseline, profile, {"psi": 0.2}, **options), baseline, profile)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def evil() -> Comparison:
    random = np.random.default_rng(0)
    reference = {EVIL: random.normal(size=900), "k": [EVIL, "b", "b"] * 300, "x": random.normal(size=900)}
    return compared(reference, {**reference, "k": [EVIL + "new", EVIL, "b"] * 300, EVIL: random.normal(2, 1, 900)})


def test_data_cannot_become_markup(evil: Comparison) -> None:
    page = evil.html(title=EVIL)
    page.encode()
    read = Page(page)
    assert {tag for tag, _ in read.tags} & {"script", "link", "img", "iframe", "object", "image", "use"} == set()
    assert "\x00" not in page
    assert "\u202e" not in page
    assert [attribute for _, found in read.tags for attribute in found if attribute.startswith("on")] == []
    assert Page(evil.report._repr_html_()).all("script") == []
    assert text(EVIL).count("\ufffd") == 3


def test_the_page_needs_nothing_from_elsewhere(evil: Comparison) -> None:
    page = evil.html()
    assert re.findall(r"https?:|//|@import|url\(|src=", page) == []
    assert all((found["href"] or "").startswith("#") for found in Page(page).all("a"))
    assert "prefers-color-scheme:dark" in page
    assert "@media print" in page


def test_every_link_leads_to_a_plot_that_has_a_text_alternative(evil: Comparison) -> None:
    read = Page(evil.html())
    ids = {found["id"] for found in read.all("figure")}
    assert len(ids) == 3
    assert {(found["href"] or "")[1:] for found in read.all("a")} == ids
    plots = [found for found in read.all("svg") if found.get("role") == "img"]
    assert len(plots) == 3
    assert all((found["aria-label"] or "").endswith(".") for found in plots)
    assert all(found["aria-hidden"] == "true" for found in read.all("svg") if found.get("class") == "spark")


def test_the_verdict_comes_first_and_its_reasons_are_plain_words(evil: Comparison) -> None:
    said = Page(evil.html(title="fraud")).text
    assert said.index("Drift: 2 of 3 features changed") < said.index("Features") < said.index("Plots")
    assert "900 rows compared with 900 rows of reference." in said
    assert re.search(r"Median -?0\.\d+ → [12]\.\d+, mean -?0\.\d+ → [12]\.\d+\. \d+ % of the values are above", said)
    assert "33 % are categories that the reference never had, such as" in said


def test_a_hundred_features_are_under_a_megabyte_and_quick() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(3000, 100))
    baseline = Baseline.from_rows(values)
    profile = baseline.window(values[:1000] * 1.5 + 1)
    report = check(baseline, profile)
    start = time.process_time()
    page = html(report, baseline, profile)
    assert time.process_time() - start < 5
    assert len(page.encode()) < 1_000_000
    read = Page(page)
    assert len(read.all("figure")) == 100
    assert "88 more features" in read.text


def test_without_a_profile_there_are_no_plots_and_another_one_is_refused(evil: Comparison) -> None:
    read = Page(html(evil.report))
    assert read.all("figure") + read.all("svg") + read.all("a") == []
    assert "psi" in read.text
    other = Baseline.from_rows({"x": [1.0, 2.0]})
    with pytest.raises(ConfigError, match="another baseline"):
        html(evil.report, other, evil.profile)


def test_a_notebook_shows_verdict_and_table_and_ends_long_ones() -> None:
    values = np.random.default_rng(0).normal(size=(400, 40))
    baseline = Baseline.from_rows(values)
    report: Report = check(baseline, baseline.window(values + 3), {"out_of_range_rate": None})
    read = Page(report._repr_html_())
    assert read.text.startswith("▲ Drift: 40 of 40 features changed")
    assert "… and 35 more" in read.text
    assert "… and 10 more features" in read.text
    assert read.all("svg") == []
    few = check(baseline, baseline.window(values[:9]))
    assert "9 rows in the window, 200 are needed" in Page(few._repr_html_()).text


def test_over_the_limit_by_chance_is_marked_as_such() -> None:
    random = np.random.default_rng(0)
    found = compared({"x": random.normal(size=60)}, {"x": random.normal(size=30)}, min_samples=10)
    assert not found.report.drifted
    assert found.report.features[0].statistics["psi"] > 0.2
    assert "≈ 0." in found.report._repr_html_()


def drawn(reference: object, window: object) -> Bars:
    baseline = Baseline.from_rows({"x": reference})  # type: ignore[dict-item]
    feature, counts = baseline.features[0], baseline.window({"x": window}).counts["x"]  # type: ignore[dict-item]
    mine = baseline.profile.counts["x"]
    assert isinstance(feature, NumericFeature)
    assert isinstance(counts, NumericCounts)
    assert isinstance(mine, NumericCounts)
    found = bars(feature, mine, counts)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "make",
    [
        lambda random: random.normal(1e9, 5, 20_000),
        lambda random: random.lognormal(0, 2, 20_000),
        lambda random: random.exponential(1e-7, 20_000),
        lambda random: np.where(random.random(20_000) < 0.6, 0.0, random.normal(9, 1, 20_000)),
    ],
)
def test_bars_are_the_shares_that_numpy_counts_over_the_same_edges(make: object) -> None:
    random = np.random.default_rng(2)
    reference, window = make(random), make(random)  # type: ignore[operator]
    window = window + 0.3 * window.std()
    found = drawn(reference, window)
    assert 12 <= len(found.reference) <= 80
    for shares, values in ((found.reference, reference), (found.window, window)):
        expected = np.histogram(values, found.edges)[0] / len(values)
        assert np.abs(shares - expected).max() < 0.01
    assert found.beyond == pytest.approx(
        [((values < found.edges[0]) | (values > found.edges[-1])).mean() for values in (reference, window)], abs=2e-3
    )


def test_whole_numbers_have_bins_of_their_own() -> None:
    random = np.random.default_rng(0)
    reference, window = random.poisson(4, 5000), random.poisson(5, 5000)
    found = drawn(reference, window)
    assert (np.diff(found.edges) == 1).all()
    assert found.edges[0] == -0.5
    assert found.window == pytest.approx(np.histogram(window, found.edges)[0] / 5000, abs=1e-12)


@pytest.mark.parametrize(
    "values",
    [[7.0] * 9, [0.0] * 9, [-3.0] * 5 + [None], [5e-324, 0.0], [1e280, -1e280], [1e-300, 1.0, 1e280], [2**60, 2**61]],
)
def test_odd_ranges_are_drawn(values: list[float | None]) -> None:
    found = drawn(values, [values[0]] * 3)
    assert found.window.sum() + found.beyond[1] == pytest.approx(1)
    assert [name for _, name in ticks(found)]


def test_what_no_axis_can_hold_is_not_drawn_but_shown() -> None:
    for values in ([1e308, -1e308], [None, None], [0.0, 0.0]):
        page = compared({"x": values}, {"x": [1.7976931348623157e308] * 2}).html()
        assert [found for found in Page(page).all("svg") if found.get("role") == "img"] == []
        assert len(Page(page).all("figure")) == 1


def test_ticks_are_round_and_within_the_axis() -> None:
    def axis(low: float, high: float, log: bool = False) -> list[str]:
        return [name for _, name in ticks(Bars(np.array([low, high]), np.ones(1), np.ones(1), (0, 0), log))]

    assert axis(6.9, 28.2) == ["10", "15", "20", "25"]
    assert axis(0, 0.3) == ["0.00", "0.05", "0.10", "0.15", "0.20", "0.25", "0.30"]
    assert axis(0.9, 1200, log=True) == ["1", "10", "100", "1,000"]
    assert axis(-2500, 15_000) == ["-2,500", "0", "2,500", "5,000", "7,500", "10,000", "12,500", "15,000"]


def test_the_median_of_a_window_is_near_enough() -> None:
    random = np.random.default_rng(1)
    baseline = Baseline.from_rows({"x": random.normal(10, 2, 3000)})
    window = random.normal(12, 2, 3001)
    counts, feature = baseline.window({"x": window}).counts["x"], baseline.features[0]
    assert isinstance(counts, NumericCounts)
    assert isinstance(feature, NumericFeature)
    for share in (0.005, 0.5, 0.995):
        assert quantile(feature, counts, share) == pytest.approx(np.quantile(window, share), abs=0.1)


def test_of_many_categories_those_that_matter_are_drawn() -> None:
    reference = [f"c{at:02}" for at in range(40) for _ in range(80 - at)]
    baseline = Baseline.from_rows({"k": reference})
    feature, counts = baseline.features[0], baseline.window({"k": ["c39"] * 60 + ["new"] * 40}).counts["k"]
    mine = baseline.profile.counts["k"]
    assert isinstance(feature, CategoricalFeature)
    assert isinstance(mine, CategoricalCounts)
    assert isinstance(counts, CategoricalCounts)
    found: Pairs = pairs(feature, mine, counts)
    assert found.labels == (
        *(f"c{at:02}" for at in range(14)),
        "c39",
        "25 other categories",
        "never seen in the reference",
    )
    assert found.window[-3:] == (0.6, 0.0, 0.4)
    assert (sum(found.reference), sum(found.window)) == (pytest.approx(1), pytest.approx(1))


def test_numbers_are_written_for_people() -> None:
    assert [number(value) for value in (0, 13.456, 12_345.6, -0.5, 1e-7, 3e15, None)] == [
        *("0", "13.46", "12,346", "-0.5", "1e-07", "3e+15", "-")
    ]
    assert [percent(share) for share in (0, 1, 0.0004, 0.015, 0.5, 0.947, 0.9999)] == [
        *("0 %", "100 %", "under 0.1 %", "1.5 %", "50 %", "94.7 %", "over 99.9 %")
    ]
    assert shortened("a product with quite a long name, number 7") == "a product with qui… number 7"


def test_every_statistic_of_a_feature_has_a_name_and_a_meaning() -> None:
    from cloudml.monitoring.checks import DRIFT_STATISTICS, QUALITY_STATISTICS

    assert set(NAMES) == set(MEANING) == {*DRIFT_STATISTICS, *QUALITY_STATISTICS}
