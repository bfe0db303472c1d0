"""report.html: what it says, that it needs nothing but itself, and that its charts and diagrams draw."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Page, sync_playwright

from launch.errors import UsageError
from launch.judge.verdict import Judgement
from launch.report.charts import host_charts
from launch.report.curve import Curve
from launch.report.diagram import Diagram, diagram
from launch.report.figures import comparison
from launch.report.folder import RunFolder, read_run
from launch.report.page import report_page
from launch.report.witness import LATE_FAILURE, REFUSED_WHILE_FREE, Role, Witness, witnesses
from tests.launch.cluster_runs import claimlab, write_scenario
from tests.launch.report_runs import simulated
from tests.launch.two_hosts import TWO
from tests.toolchain import need

MOST_BYTES = 10_000_000
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""What headless Chromium needs in a container, and not to look for its maker's hosts."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three schemes, judged and reported at their end."""
    return simulated(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def read(run: Path) -> RunFolder:
    """The same, as the page sees it."""
    return read_run(run, lambda _: None)


def without_plotly(page: str) -> str:
    """The page less its longest script, which is the library."""
    return page.replace(max(re.findall(r"<script>(.*?)</script>", page, re.DOTALL), key=len), "")


def drawn(read: RunFolder, scheme: str) -> list[tuple[Witness, Diagram]]:
    """Witnesses of a scheme with their diagrams."""
    found: list[tuple[Witness, Diagram]] = []
    for host in read.hosts:
        if host.scheme == scheme and host.judgement is not None and host.story is not None:
            for one in witnesses(host.judgement, host.story):
                picture = diagram(one, (1, 2))
                assert picture is not None, one.title
                found.append((one, picture))
    return found


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1000)), min_size=1, max_size=400))
def test_a_thinned_curve_keeps_its_ends_and_extremes(steps: list[tuple[int, int]]) -> None:
    """However many points come, few stay: among them the first, the lowest, the highest and the last."""
    curve, time, values = Curve(32), 0, []
    for pause, value in steps:
        time += pause
        curve.add(float(time), value)
        values.append(value)
    kept = [value for _, value in curve.points]
    assert len(kept) <= 32 + 1
    assert {values[0], min(values), max(values), values[-1]} <= set(kept)
    assert [at for at, _ in curve.points] == sorted(at for at, _ in curve.points)


def test_a_run_leaves_a_page_that_says_the_verdict_first(run: Path) -> None:
    """Verdict, schemes, launches and witnesses stand in the page as text, in that order, and it is small."""
    page = (run / "report.html").read_text(encoding="utf-8")
    assert len(page.encode()) < MOST_BYTES
    text = without_plotly(page)
    places = [text.index(part) for part in (">valid<", "<h2>Schemes", "<h2>Memory", "<h2>Witnesses")]
    assert places == sorted(places)
    judged = json.loads((run / "judge.json").read_text(encoding="utf-8"))
    assert judged["schemes"]["naive"]["late_failures"] > 0
    for line in judged["witnesses"]:
        words = line.split(": ", 2)[2]
        assert words.split(";")[0] in text, words


def test_the_page_refers_to_nothing_outside(run: Path) -> None:
    """No address, no file: the browser is forbidden to load anything, and nothing of ours names any."""
    text = without_plotly((run / "report.html").read_text(encoding="utf-8"))
    assert not re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}|\bsrc=|\bhref=|@import|url\((?!#)", text)
    assert "default-src 'none'" in text


def test_a_diagram_shows_the_stale_read_before_the_write_that_overtook_it(read: RunFolder) -> None:
    """Of every launch that was overtaken: read, then the write, then the refusal, from top to bottom."""
    overtaken = [one for one in drawn(read, "naive") if Judgement.OVERTAKEN.value in one[0].kinds]
    assert overtaken
    for witness, picture in overtaken:
        first = {role: min((row.y for row in picture.rows if row.role is role), default=0) for role in Role}
        assert 0 < first[Role.STALE_READ] < first[Role.OVERTAKING]
        if LATE_FAILURE in witness.kinds:
            assert first[Role.OVERTAKING] < max(row.y for row in picture.rows if row.role is Role.REFUSED)
        assert picture.belief is not None and picture.belief.overtaken is not None
        assert picture.belief.y1 < picture.belief.overtaken < picture.belief.y2
        commits = [row.commit for row in picture.rows]
        assert commits == sorted(commits)


def test_a_refused_guests_diagram_names_the_limit_that_stood_against_it(read: RunFolder) -> None:
    """A guest refused by a clamp while memory was free: the toolstack's max_mem, then its populate."""
    refused = [one for one in drawn(read, "clamp") if REFUSED_WHILE_FREE in one[0].kinds]
    assert refused
    for witness, picture in refused:
        (cause,) = {row.operation for row in picture.rows if row.role is Role.CAUSE}
        limit = next(move for move, _ in witness.moves if move.number == cause)
        assert limit.name == "MaxMem" and limit.subject == witness.guests[0]
        assert limit.last < min(move.first for move, role in witness.moves if role is Role.REFUSED)
        assert {lane.kind for lane in picture.lanes} == {"toolstack", "hypervisor", "guest"}


def test_curves_and_bands_are_those_of_the_run(read: RunFolder) -> None:
    """Claims are held under claim alone, clamps under clamp alone, and free memory was all used by naive."""
    stories = {host.scheme: host.story for host in read.hosts}
    kinds = {
        scheme: {band.kind.value for band in story.bands if band.end > band.start}
        for scheme, story in stories.items()
        if story is not None
    }
    assert kinds == {"naive": set(), "claim": {"claim"}, "clamp": {"clamp"}}
    naive, claim = stories["naive"], stories["claim"]
    assert naive is not None and claim is not None
    assert min(value for _, value in naive.free) == 0
    assert max(value for _, value in claim.claims) > 2560
    boot = naive.domains[-1].tot_pages  # a guest's: it is there before the first note of the clock
    assert boot[0][0] < 1 and max(value for at, value in boot if at < 1) >= 1024
    labels = [one.label for one in naive.domains]
    assert len(labels) == 7 and any(label.endswith("failed late)") for label in labels)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    path = need("chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, run: Path) -> Iterator[tuple[Page, list[str]]]:
    """The page as it was opened from disk, without a network, and what the browser complained of."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    opened: Page = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "request",
        lambda request: complaints.extend([request.url] if "report.html" not in request.url else []),
    )
    opened.goto((run / "report.html").as_uri())
    opened.wait_for_selector("#chart-launches .main-svg")
    yield opened, complaints
    context.close()


def test_charts_and_diagrams_draw_in_a_browser(page: tuple[Page, list[str]]) -> None:
    """Headless Chromium draws every chart and arrow, asks for no other file, and does not complain."""
    opened, complaints = page
    for chart in ("host", "domain", "launches", "guests"):
        assert opened.locator(f"#chart-{chart} path.js-line, #chart-{chart} .bars path").count(), chart
    # By place, not by number: an attempt on another host has the launch's number and a million.
    assert opened.evaluate("document.getElementById('chart-launches')._fullLayout.yaxis.type") == "category"
    arrows = opened.locator("figure.witness").first.locator("svg line.arrow")
    assert arrows.count() >= 4
    box = arrows.first.bounding_box()
    assert arrows.first.is_visible() and box is not None and box["width"] > 20
    operation = opened.locator("figure.witness").first.locator("g.op[data-text]").first
    operation.focus()
    assert "operation" in opened.locator(".hovered").first.inner_text()
    opened.select_option("#host", index=2)
    opened.wait_for_selector("#chart-domain .main-svg")
    assert complaints == []


def test_the_filter_leaves_the_witnesses_that_were_asked_for(page: tuple[Page, list[str]]) -> None:
    """Filtering by kind, then by guest too, hides the others; giving the filters up brings them back."""
    opened, complaints = page
    figures = opened.locator("figure.witness")
    kind = opened.locator("[data-filter=kind]")
    kind.select_option(REFUSED_WHILE_FREE)
    shown = opened.locator("figure.witness:visible")
    assert 0 < shown.count() < figures.count()
    assert all(REFUSED_WHILE_FREE in (one.get_attribute("data-kind") or "") for one in shown.all())
    opened.locator("[data-filter=guest]").select_option("2")
    assert shown.count() == 1
    assert opened.locator("#shown").inner_text().startswith("1 of ")
    opened.locator("[data-filter=guest]").select_option("")
    kind.select_option("")
    assert shown.count() == figures.count()
    assert complaints == []


def test_two_runs_are_compared(run: Path, tmp_path: Path) -> None:
    """`claimlab report A B` tells what differs in their settings and sets their schemes side by side."""
    other = simulated(
        tmp_path, "--scheme", "claim", "--set", "arrivals.count=2", "--no-judge", "--no-report", name="other"
    )
    assert not (other / "report.html").exists()
    done = claimlab("report", run, other, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [one["name"] for one in document["variants"]] == [
        "run: naive",
        "run: claim",
        "run: clamp",
        "other: claim",
    ]
    launches = [one["figures"]["launches"]["difference"] for one in document["variants"]]
    assert launches[:3] == [None] * 3 and launches[3]["estimate"]["mean"] == 2 - 4  # to claim, not to naive
    page = Path(document["page"])
    assert page == other / "report-against-run.html"
    text = without_plotly(page.read_text(encoding="utf-8"))
    assert "<td>arrivals.count</td>" in text and "other: claim" in text


def test_a_page_can_be_had_without_a_replay(run: Path, tmp_path: Path) -> None:
    """A run that was not judged has its page with verdict and tables, and it says how to get the rest."""
    other = simulated(tmp_path, "--scheme", "naive", "--no-judge", name="light")
    text = without_plotly((other / "report.html").read_text(encoding="utf-8"))
    assert "No journal was replayed" in text and ">valid<" in text and "failed late, thrown away" in text
    done = claimlab("report", other, "--out", tmp_path / "again.html")
    assert done.returncode == 0, done.stderr
    text = without_plotly((tmp_path / "again.html").read_text(encoding="utf-8"))
    assert "No journal was replayed" not in text and "overtaken" in text


@pytest.mark.parametrize("case", ["orders.jsonl", "journal.msgpack", "claimlab run left"])
def test_what_cannot_be_reported_is_said_in_one_line(run: Path, tmp_path: Path, case: str) -> None:
    """No run, damaged orders, a journal that is not what happened: one line that names the cure."""
    host = Path(shutil.copytree(run / "naive" / "1" / "host0", tmp_path / "host0"))
    if case == "orders.jsonl":
        (host / case).write_text("[]\n", encoding="utf-8")
    elif case == "journal.msgpack":
        content = (host / case).read_bytes()
        (host / case).write_bytes(content[:2000] + content[2100:])
    else:
        shutil.rmtree(host)
    with pytest.raises(UsageError) as told:
        read_run(host, lambda _: None)
    text = str(told.value)
    assert "\n" not in text and str(host) in text
    assert {"journal.msgpack": "claimlab check"}.get(case, case) in text


def test_three_runs_are_too_many(run: Path) -> None:
    """Exit code 2, and how many it takes."""
    done = claimlab("report", run, run, run)
    assert done.returncode == 2 and not done.stdout
    assert "give one, or two to compare" in done.stderr.strip().splitlines()[-1]


def test_pages_thrown_away_are_charged_to_what_threw_them_away(tmp_path: Path) -> None:
    """Builds that the end of the run broke off are unsettled: none of them is a late failure, nor harm."""
    cut = simulated(tmp_path, "--scheme", "naive", "--set", "duration=4", name="cut")
    text = without_plotly((cut / "report.html").read_text(encoding="utf-8"))
    assert ", 4 unsettled when the run ended (" in text and "failed late (" not in text
    figures = reported_figures(cut)
    assert figures["pages_discarded"] > 0 == figures["failed_late_pages"]
    assert figures["harm_pages"] == figures["pages_swapped"] + figures["falsely_refused_pages"]


def test_the_printed_table_has_the_harm_of_a_run(run: Path) -> None:
    """`claimlab report` adds harm up as `claimlab compare` does, from what the run's folder holds."""
    figures = reported_figures(run)
    assert figures["failed_late"] > 0 and figures["failed_late_pages"] > 0
    parts = ("falsely_refused_pages", "failed_late_pages", "pages_swapped")
    assert figures["harm_pages"] == sum(figures[name] for name in parts)


def reported_figures(run: Path) -> dict[str, float]:
    """Means of the first scheme, as `claimlab report --json` prints them."""
    done = claimlab("report", run, "--json", "--out", run / "again.html")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["variants"][0]["figures"]
    return {name: one["estimate"]["mean"] for name, one in found.items() if one["estimate"] is not None}


def test_figures_that_nobody_has_are_left_out(tmp_path: Path) -> None:
    """A run that was not judged has no row of the judge's: not known is not 0."""
    light = simulated(tmp_path, "--scheme", "naive", "--no-judge", "--no-report", name="light")
    table = comparison([read_run(light, lambda _: None, replay=False)])
    shown = [str(cell) for cell in table.table().columns[0].cells]
    assert "failed builds (pages)" in shown and "harm: the next three (pages)" not in shown
    assert "overtaken" not in shown


def test_of_many_guests_those_that_suffered_most_are_shown(read: RunFolder) -> None:
    """The first table of a host has forty guests, the worst first; the others are behind a click."""
    host = read.hosts[0]
    one = host.evidence.reports[0]
    many = tuple(msgspec.structs.replace(one, domid=100 + n, swapped_out=n + 1) for n in range(45))
    crowd = replace(host, judgement=None, story=None, evidence=replace(host.evidence, reports=many))
    text = without_plotly(report_page([replace(read, hosts=(crowd,))]))
    before, after = text.split("5 more that suffered less")
    assert before.index("<td>domain 144</td>") < before.index("<td>domain 143</td>")
    assert "<td>domain 105</td>" in before and "<td>domain 104</td>" in after


def test_clean_up_does_not_flatten_the_curve_of_free_memory(read: RunFolder) -> None:
    """The chart is as high as free memory was while guests ran, not as before the boot and after the end."""
    host = next(one for one in read.hosts if one.scheme == "naive")
    document = host_charts(host, 20.0)
    free = list(zip(document["free"]["t"], document["free"]["v"], strict=True))
    assert 0 < document["highest"] < max(value for _, value in free)
    assert document["highest"] >= max(value for time, value in free if 1 < time < 19)


def test_launches_over_several_hosts_are_counted_once(tmp_path: Path) -> None:
    """A launch tried on two hosts is one launch and two orders, and an attempt is named by its launch."""
    scenario = write_scenario(tmp_path, TWO)
    out = tmp_path / "two-hosts"
    done = claimlab("simulate", scenario, "--out", out)
    assert done.returncode == 0, done.stderr
    text = without_plotly((out / "report.html").read_text(encoding="utf-8"))
    assert "3 launches, 3 running in the end after 1.33 attempts each; 4 orders, 3 admitted" in text
    assert '<th scope="row">orders</th>' in text and '<th scope="row">attempts per launch</th>' in text
    assert "<td>3 (attempt 2)</td>" in text and "1000003" not in text.split("<script")[0]
