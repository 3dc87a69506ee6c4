"""What was measured of this machine, remembered so that it is measured once: small JSON files in the cache, by question."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from sortal.data.store import Cache
from sortal.files import write_text


def remembered(cache: Cache, question: Mapping[str, Any], measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answer to `question` (plain JSON values), from the cache if it was asked before, else by measuring now.

    A file that cannot be read is measured again; the answer is `measure`'s own where the question is new.
    """
    text = json.dumps(question, sort_keys=True)
    path = cache.root / "measured" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
    try:
        known = json.loads(path.read_text())
        if known["question"] == json.loads(text):
            return dict(known["answer"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not asked yet, or a damaged file: either way it is measured, and the file is replaced
    answer = measure()
    write_text(path, json.dumps({"question": question, "answer": answer}, indent=2))
    return answer
