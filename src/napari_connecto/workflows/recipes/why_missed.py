"""What why-missed does."""

from __future__ import annotations

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job, loading
from napari_connecto.io.disk import write_json
from napari_connecto.io.volumes.write import save_volume_job
from napari_connecto.models.files import load_model
from napari_connecto.workflows.inspect.missed.asked import asked_job
from napari_connecto.workflows.inspect.missed.maps import maps_job
from napari_connecto.workflows.inspect.missed.why_missed import explained_job
from napari_connecto.workflows.recipes.entries.run import Summary
from napari_connecto.workflows.recipes.entries.why_missed import WhyMissed
from napari_connecto.workflows.recipes.parts import model_folder
from napari_connecto.workflows.recipes.xray import empty_folder
from napari_connecto.workflows.shared.spec import open_spec

REPORT, MAPS = "why_missed.json", "maps"


def why_missed(run: WhyMissed) -> Job[Summary]:
    """Find what carries a failure; ``out`` gets `REPORT`, and `MAPS` of one tile."""
    if run.good is None and run.good_model is None:
        raise InputError("got neither a better version of the image (good) nor a better model (good_model); give one")
    out = empty_folder(run.out)
    yield loading("torch")
    model = load_model(model_folder(run.model), backend="torch")
    better = load_model(model_folder(run.good_model), backend="torch") if run.good_model else None
    bad = open_spec(run.volume)
    good = open_spec(run.good) if run.good is not None else bad
    masks = (open_spec(run.missed), open_spec(run.background))
    asked = yield from asked_job(model, bad, good, *masks, run.params, good_model=better, region=run.region)
    found = yield from explained_job(asked, run.params)
    maps = yield from maps_job(asked, found)
    (out / MAPS).mkdir(parents=True, exist_ok=True)
    for name, volume in maps.items():
        yield from save_volume_job(volume, out / MAPS / f"{name.replace(' ', '-')}.ome.zarr")
    write_json(out / REPORT, found.to_json())
    figures = {"gap": found.gap, "spearman": found.total.spearman}
    return Summary(run.out, [*found.lines(), f"maps of the most painted tile in {out / MAPS}"], figures)
