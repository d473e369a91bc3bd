"""Is an inverted image told from one that is not? Every image as it is and inverted, with every shipped model.

``python benchmarks/contrast.py``. Images: five EM volumes (the voxels of cdeep3m_mito are nominal; isbi2012 also as
16-bit and float), seven SEM images of axons, four phantoms.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.fitting import voxel_ratio
from napari_connecto.core.jobs import run
from napari_connecto.core.views.invert import inverted
from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.phantoms import phantom
from napari_connecto.workflows.adapt.contrast import contrast_job
from napari_connecto.workflows.adapt.domains import load_library

DATA = Path(os.environ.get("NAPARI_CONNECTO_DATA", Path(__file__).resolve().parents[1] / "../shared/data")).resolve()
EM = {
    "flyem_medulla": (10, 10, 10),
    "isbi2012": (50, 4, 4),
    "epfl_ca1": (5, 5, 5),
    "snemi_crop": (30, 6, 6),
    "cdeep3m_mito": (40, 5, 5),
}
NEAR = 4.0


def images() -> Iterator[Volume]:
    """All images, as they are."""
    for name, voxel_nm in EM.items():
        array = np.asarray(open_volume(DATA / name / "image.tif").levels[0].array[:])
        yield Volume.from_array(array, voxel_nm, name=name)
        if name == "isbi2012":
            yield Volume.from_array((array.astype(np.uint16) * 13) + 900, voxel_nm, name="isbi2012 uint16")
            yield Volume.from_array(array.astype(np.float32) / 255, voxel_nm, name="isbi2012 float32")
    for path in sorted((DATA / "rat_sem_axons").glob("*_SEM.tif")):
        (about,) = path.parent.glob(f"{path.name.split('_')[0]}*.json")
        size = np.ravel(json.loads(about.read_text())["PixelSize"])[0] * 1000
        yield open_volume(path, voxel_nm=(size, size, size))
    for seed in range(4):
        made = phantom("neuropil", (12, 256, 256), seed=seed).image
        yield Volume(made.levels, name=f"phantom {seed}")


def main() -> None:
    wrong: dict[bool, list[bool]] = {True: [], False: []}
    print("| image | model | model voxel / image voxel | lines | follows | as it is | inverted |\n" + "|---" * 7 + "|")
    for image in images():
        for name, domain in load_library().items():
            try:
                seen = [run(contrast_job(v, domain.model(device="cpu"))) for v in (image, inverted(image))]
            except InputError:
                continue
            ratio = voxel_ratio(image, domain.card)
            said = ["looks inverted" if s.inverted else "as expected" for s in seen]
            print(f"| {image.name} | {name} | {ratio:.2g} | {seen[0].lines:+.3f} | {seen[0].follows:+.3f} | ", end="")
            print(" | ".join(said) + " |", flush=True)
            near = 1 / NEAR <= ratio <= NEAR
            wrong[near] += [seen[0].inverted, not seen[1].inverted]
    for near, found in wrong.items():
        where = f"{'within' if near else 'beyond'} {NEAR:g} times the voxel size"
        print(f"\n{where}: {len(found)} judgements, {sum(found[::2])} false alarms, {sum(found[1::2])} misses")


if __name__ == "__main__":
    main()
