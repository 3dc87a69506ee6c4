"""cleanlab alone, with its defaults, on the very probabilities that `sortal check` judges labels by: what it would ask
about."""

import argparse
import json
from pathlib import Path

from cleanlab.filter import find_label_issues

from sortal.data.store import Cache
from sortal.events import ignore
from sortal.workflows.checking import scan
from sortal.workflows.evidence import Steps, glanced, with_features
from sortal.workflows.seeing import Pictures, sight


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    manifest, cache = scan(parser.parse_args().data), Cache.default()
    used = manifest.used
    with Pictures(used, sight(len(used), cache), cache) as pictures:
        pictures.fill(ignore)
        seen = with_features(manifest, glanced(used), pictures, {}, Steps(ignore))
    assert seen.judged_NK is not None
    asked_N = find_label_issues(used.labels_N, seen.judged_NK, n_jobs=1)
    print(json.dumps({"flagged": [source for source, asked in zip(used.sources, asked_N, strict=True) if asked]}))


if __name__ == "__main__":
    main()
