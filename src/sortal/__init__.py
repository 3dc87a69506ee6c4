"""sortal: from labelled images to a trained, honestly measured, explained and deployed classifier.

    import sortal

    trained = sortal.train("photos/")
    sortal.load(trained.run).predict("x.jpg")

Names are imported on first touch (PEP 562), so `import sortal` itself loads neither NumPy nor a framework.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# ONNX Runtime's own builds send events to Microsoft and keep a number of the device unless this stands in the environment
# before it is first imported (its Privacy.md). Whoever wants that sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from sortal.bundle import Bundle
    from sortal.errors import (
        BundleError,
        DataError,
        Diverged,
        MachineFailed,
        MissingExtra,
        NotSupported,
        OutOfMemory,
        ParityError,
        RecipeError,
        RunExists,
        SortalError,
        UnknownName,
        UnreadableImage,
        WeightsError,
    )
    from sortal.estimator import ImageClassifier
    from sortal.manifest import Manifest
    from sortal.predictions import Predictions
    from sortal.preprocess import Preprocess
    from sortal.recipe import Recipe
    from sortal.run import Run
    from sortal.workflows.batch_predicting import predict_many
    from sortal.workflows.checking import check, scan
    from sortal.workflows.explaining import explain
    from sortal.workflows.exporting import export
    from sortal.workflows.judging import evaluate
    from sortal.workflows.predicting import load, predict
    from sortal.workflows.reporting import report
    from sortal.workflows.serving import serve
    from sortal.workflows.studying import study
    from sortal.workflows.training import demo, train

    __version__: str

__all__ = [
    "Bundle",
    "BundleError",
    "DataError",
    "Diverged",
    "ImageClassifier",
    "MachineFailed",
    "Manifest",
    "MissingExtra",
    "NotSupported",
    "OutOfMemory",
    "ParityError",
    "Predictions",
    "Preprocess",
    "Recipe",
    "RecipeError",
    "Run",
    "RunExists",
    "SortalError",
    "UnknownName",
    "UnreadableImage",
    "WeightsError",
    "__version__",
    "check",
    "demo",
    "evaluate",
    "explain",
    "export",
    "load",
    "predict",
    "predict_many",
    "report",
    "scan",
    "serve",
    "study",
    "train",
]

_NOUNS = {
    "Bundle": "sortal.bundle",
    "ImageClassifier": "sortal.estimator",
    "Manifest": "sortal.manifest",
    "Predictions": "sortal.predictions",
    "Preprocess": "sortal.preprocess",
    "Recipe": "sortal.recipe",
    "Run": "sortal.run",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        found: Any = version("sortal")
    elif name in __all__:
        home = _NOUNS.get(name) or ("sortal.workflows" if name.islower() else "sortal.errors")
        found = getattr(import_module(home), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found  # the next touch is an ordinary look-up
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
