"""Bring a bundle's manifest up to date with the files beside it: sizes and sha256.

    python -m convert.pack models/tiny
    python -m convert.pack models/tiny --figure caption_wer=0.03

Everything else in the manifest is written by hand, and checked against the schema here.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edge_omni.bundle import MANIFEST, Manifest
from edge_omni.fetch import sha256


def pack(folder: Path, figures: dict[str, float]) -> Manifest:
    """List every file of ``folder`` in its manifest, and add ``figures`` to it.

    Raises:
        FileNotFoundError: a graph that the manifest names is not there.
        pydantic.ValidationError: the manifest does not fit the schema.
    """
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    for graph in manifest["graphs"].values():
        if not (folder / graph).is_file():
            raise FileNotFoundError(folder / graph)
    manifest["files"] = {
        path.name: {"sha256": sha256(path), "bytes": path.stat().st_size}
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != MANIFEST
    }
    manifest["figures"] = {**manifest.get("figures", {}), **figures}
    checked = Manifest.model_validate(manifest)
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return checked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--figure", action="append", default=[], help="NAME=NUMBER, measured")
    arguments = parser.parse_args()
    pairs = [figure.split("=", 1) for figure in arguments.figure]
    manifest = pack(arguments.folder, {name: float(value) for name, value in pairs})
    total = sum(file.bytes for file in manifest.files.values())
    print(f"{manifest.name}: {len(manifest.files)} files, {total / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
