"""The button that makes a page of a result."""

from __future__ import annotations

import pytest

pytest.importorskip("napari")

from napari_connecto.core.jobs import Progress
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.shared.report_button import ranking_job
from tests.reports.test_report import keys, ranking, words


@pytest.fixture
def bar(qtbot):
    made = JobBar("search", "Run", "Search")
    qtbot.addWidget(made)
    made.show()
    yield made
    made.worker.close()
    made.report.worker.close()


def test_a_page_is_made_and_its_place_is_a_link(bar, qtbot, tmp_path):
    folder = ranking(tmp_path / "a <b>&")
    assert not bar.report.isVisible()
    bar.offer_report(folder)
    assert bar.report.isVisible()
    with qtbot.waitSignal(bar.report.written, timeout=60_000):
        bar.report.click()
    assert "Start from" in words(folder / "report.html")
    assert bar.page.isVisible()
    assert "a &lt;b&gt;&amp;/report.html</a>" in bar.page.text()
    assert 'href="file:///' in bar.page.text()


def test_what_cannot_be_a_page_is_said(bar, qtbot, tmp_path):
    bar.offer_report(tmp_path)
    with qtbot.waitSignal(bar.report.failed, timeout=60_000):
        bar.report.click()
    assert "holds no finished result" in bar.error.label.text()


def test_the_offer_ends_with_the_next_run(bar, qtbot, tmp_path):
    def job():
        yield Progress(0, 1, "waiting")

    bar.offer_report(tmp_path)
    with qtbot.waitSignal(bar.worker.returned, timeout=10_000):
        bar.start(job)
    assert not bar.report.isVisible()


def test_a_ranking_is_written_before_its_page_is_made(tmp_path):
    class Made:
        def to_json(self):
            row = {"name": "near", "mmd2": 0.1, "interval": [0.05, 0.2], "p": 0.5, "fits": True, "note": ""}
            return {"ranks": [{**row, "voxel_ratio": 1.0, "licence": "MIT"}], "limit": 0.3, "patches": 77, "skipped": 5}

    job = ranking_job(Made(), None, tmp_path / "ranking")  # type: ignore[arg-type]
    *_, last = job
    assert last.stage == "writing the report"
    assert "77 tissue patches compared (5 empty ones skipped)" in keys(tmp_path / "ranking" / "report.html")
