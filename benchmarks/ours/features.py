"""Features of a folder's photographs as a training computes them: scan, decode, store, run the frozen network."""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from benchmarks.scoring import cross_validated
from sortal.data.facts import Facts
from sortal.data.keeping import PixelKeeper
from sortal.data.pixels import StoredPixels
from sortal.data.scan import scan
from sortal.data.store import Cache
from sortal.engines.torch.engine import ENGINE
from sortal.recipe import presets
from sortal.workflows.deciding import geometry_of

AT_ONCE = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="a new folder")
    options = parser.parse_args()
    cache = Cache(options.cache, limit=20 << 30)
    recipe = ENGINE.pinned(presets.photos().model_copy(update={"frozen": "stored"}))
    geometry = geometry_of(ENGINE, recipe)
    recipe, reasons = ENGINE.measured(recipe, geometry, 2, images=1_000)
    frozen = ENGINE.frozen(recipe, geometry)
    frozen.outputs(np.zeros((AT_ONCE, geometry.resize, geometry.resize, geometry.channels), np.uint8))  # warm-up

    began = time.perf_counter()
    with Facts(cache.facts) as facts:
        keep = lambda seen: PixelKeeper.with_room(geometry, cache, seen.images)  # noqa: E731 - one line that is used once
        manifest = scan(options.data, facts=facts, keep=keep).manifest
    with StoredPixels(manifest, geometry, cache) as pixels:
        pixels.fill()
        decoded = time.perf_counter()
        rows = np.arange(len(pixels))
        parts = [frozen.outputs(pixels.read(rows[low : low + AT_ONCE])) for low in range(0, len(rows), AT_ONCE)]
        ended = time.perf_counter()
    features_ND = np.concatenate(parts)
    seconds = {"scan_and_decode": round(decoded - began, 3), "network": round(ended - decoded, 3)}
    print(
        json.dumps(
            {
                "images_per_second": len(features_ND) / (ended - began), "images": len(features_ND), "runtime": recipe.runtime,
                "why": reasons["runtime"], "seconds": seconds, "accuracy": cross_validated(features_ND, manifest.labels_N),
                "profile": {name: round(each / (ended - began), 3) for name, each in seconds.items()},
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
