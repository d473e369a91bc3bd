"""Sample the shipped domains' training data in their models' own features.

Run ``python sample_data/make_own_features.py``. Needs the real data, as `train_domains.py`, whose domains bring such a
sample already.
"""

from __future__ import annotations

from pathlib import Path

from train_domains import sources

from napari_connecto.workflows.adapt.domains import Domain, save_own_features
from napari_connecto.workflows.adapt.own_sample import own_sample

if __name__ == "__main__":
    shipped = Path(__file__).parent / "shipped" / "domains"
    for name, (image, _, _) in sources().items():
        domain = Domain.load(shipped / name)
        found = own_sample(image, domain.model(device="cpu", backend="torch"))
        if found is not None:
            save_own_features(domain.folder, found)
            print(name, {place: array.shape for place, array in found.items()}, flush=True)
