"""cleanvision and imagededup on a folder of images, as their quick starts write it: which planted pairs they name, and how
many images.

Run with an interpreter that has them; none of them is a dependency of ours.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any


def cleanvision(folder: Path) -> tuple[list[set[str]], set[str]]:
    """Sets of duplicates, exact and near, and the images with any other issue."""
    from cleanvision import Imagelab

    lab = Imagelab(data_path=str(folder))
    lab.find_issues()
    sets = [set(map(str, each)) for kind in ("exact_duplicates", "near_duplicates") for each in lab.info[kind]["sets"]]
    flagged = {str(path) for name in lab.issues.columns if name.startswith("is_") and "duplicates" not in name
               for path in lab.issues.index[lab.issues[name]]}  # fmt: skip
    return sets, flagged


def imagededup(folder: Path) -> tuple[list[set[str]], set[str]]:
    """Sets of duplicates by perceptual hash, with the default distance of 10 bits."""
    from imagededup.methods import PHash

    method = PHash()
    encodings = method.encode_images(image_dir=folder, recursive=True)
    found = method.find_duplicates(encoding_map=encodings)
    # What could not be read has no encoding; the method says so in its log alone.
    missing = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - set(encodings)
    return [{name, *others} for name, others in found.items() if others], missing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--peer", choices=["cleanvision", "imagededup"], required=True)
    parser.add_argument("--planted", type=Path, required=True, help="JSON: copies (copy to source and kind), broken")
    options = parser.parse_args()
    planted: dict[str, Any] = json.loads(options.planted.read_text())
    sets, flagged = {"cleanvision": cleanvision, "imagededup": imagededup}[options.peer](options.data)
    plain = [{os.path.relpath(name, options.data) if os.path.isabs(name) else name for name in each} for each in sets]
    flagged = {os.path.relpath(name, options.data) if os.path.isabs(name) else name for name in flagged}
    together: dict[str, set[str]] = {}
    for each in plain:
        for name in each:
            together.setdefault(name, set()).update(each)
    hits: dict[str, int] = {}
    for copy, (source, kind) in planted["copies"].items():
        hits[kind] = hits.get(kind, 0) + (source in together.get(copy, ()))
    broken = len(set(planted["broken"]) & flagged)
    print(json.dumps({"hits": hits, "broken": broken, "images_in_sets": len(together), "flagged": len(flagged)}))


if __name__ == "__main__":
    main()
