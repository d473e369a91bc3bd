"""Train the small translator that ships: ``python sample_data/train_translator.py``. It took four minutes on an NVIDIA
H100 shared with other trainings; on two cores it is some hours.

It learns from the sample 'xray' and its EM; 'xray-test' is other tissue and new to it. Both are synthetic, their X-ray
is simulated: it shows what the workflow does, and is of no use on real X-ray.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import napari_connecto as nc
from napari_connecto.workflows.recipes.translate import trained_lines
from napari_connecto.workflows.xray.training.train import train_translator_job

NAME = "synthetic"
PARAMS = nc.TranslatorParams(name=NAME, steps=2000, crop=48)


def main(folder: Path) -> None:
    """Write the translator's folder."""
    job = train_translator_job(nc.open_sample("xray"), nc.open_sample("xray", "em"), PARAMS)
    translator = nc.run(job, lambda p: print(f"\r{p.stage} {p.done}/{p.total}   ", end="", flush=True))
    shutil.rmtree(folder / NAME, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    translator.save(folder / NAME)
    print("", *trained_lines(translator.about), sep="\n")


if __name__ == "__main__":
    main(Path(__file__).parent / "shipped" / "translators")
