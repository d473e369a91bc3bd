"""Comparing the segments of X-ray and EM-like image is one job with one bar."""

from __future__ import annotations

import pytest

pytest.importorskip("napari")

from napari_connecto.core.jobs import Progress
from napari_connecto.widgets.xray import segment_jobs
from napari_connecto.workflows.xray.check import compare


def test_the_bar_fills_once_over_both_images(monkeypatch):
    """What is done never falls back, and half of it is done when the second image begins."""

    def segmenting(task):
        for done in range(5):
            yield Progress(done, 4, "predicting")
        return task

    monkeypatch.setattr(segment_jobs, "segmenting_job", segmenting)
    monkeypatch.setattr(compare, "compared", lambda first, second, truth: (first, second, truth))
    reports, job = [], segment_jobs.both_job(("xray", "em-like"))
    while True:
        try:
            reports.append(next(job))
        except StopIteration as end:
            made = end.value
            break
    overall = [report.overall for report in reports]
    assert overall == sorted(overall)
    assert overall[-1] == 1
    second = next(report for report in reports if report.stage.startswith("EM-like"))
    assert second.overall == pytest.approx(0.5, abs=0.05)
    assert made == ("xray", "em-like", ("xray", "em-like", None))
