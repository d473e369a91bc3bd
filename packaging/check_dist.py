"""What ``python -m build`` made: small enough, with everything that ships, the same in the sdist and in the wheel.

python packaging/check_dist.py dist [--version 1.2.3]
"""

from __future__ import annotations

import argparse
import email
import re
import sys
import tarfile
import zipfile
from pathlib import Path

LIMIT_MB = 60
SHIPPED = "napari_connecto/_shipped/"
NEEDED = (
    "cells.ome.zarr",
    "neuropil.ome.zarr",
    "xray.ome.zarr",
    "cascades/cells",
    "domains/fly-medulla",
    "translators",
)


def faults(folder: Path, version: str | None) -> list[str]:
    """What is wrong with the one wheel and the one sdist in a folder, a sentence each."""
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        packed = {i.filename: i.file_size for i in archive.infolist() if not i.is_dir()}
        about = email.message_from_bytes(archive.read(next(n for n in packed if n.endswith("dist-info/METADATA"))))
    with tarfile.open(sdist) as archive:
        source = {m.name.split("/", 1)[1]: m.size for m in archive.getmembers() if m.isfile()}
    found = [
        f"{path.name} is {path.stat().st_size / 1e6:.1f} MB; allowed: {LIMIT_MB}"
        for path in (wheel, sdist)
        if path.stat().st_size > LIMIT_MB * 1e6
    ]
    found += [f"the wheel lacks {n}" for n in NEEDED if not any(f.startswith(SHIPPED + n) for f in packed)]
    ours = {n: size for n, size in packed.items() if ".dist-info/" not in n}
    theirs = {
        n.replace("sample_data/shipped/", SHIPPED).removeprefix("src/"): size
        for n, size in source.items()
        if n.startswith(("src/napari_connecto/", "sample_data/shipped/"))
    }
    found += [f"only in one of wheel and sdist: {n}" for n in sorted(set(ours) ^ set(theirs))]
    found += [f"differs between wheel and sdist: {n}" for n in ours if n in theirs and ours[n] != theirs[n]]
    text = str(about.get_payload()) if not about.is_multipart() else ""
    relative = re.findall(r"\]\((?!https?:|#)([^)]*)\)", text)
    found += [f"the long description has a relative link: {link}" for link in relative]
    if not text.strip():
        found.append("the long description is empty")
    if version is not None and about["Version"] != version:
        found.append(f"the wheel says version {about['Version']}; the tag says {version}")
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, {len(packed)} files; {sdist.name}: ", end="")
    print(f"{sdist.stat().st_size / 1e6:.1f} MB; version {about['Version']}")
    return found


def main() -> None:
    """Print what is wrong; exit 1 if anything is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--version")
    arguments = parser.parse_args()
    found = faults(arguments.folder, arguments.version)
    print("\n".join(found), file=sys.stderr)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
