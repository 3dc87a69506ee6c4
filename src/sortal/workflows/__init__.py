"""The verbs. Each arrow of the product is one function here; the rooms below meet nowhere else.

Names are imported on first touch, so that `predict` never loads what only `train` needs.
"""

from importlib import import_module
from typing import Any

_WHERE = {
    "scan": "sortal.workflows.checking",
    "check": "sortal.workflows.checking",
    "train": "sortal.workflows.training",
    "demo": "sortal.workflows.training",
    "study": "sortal.workflows.studying",
    "evaluate": "sortal.workflows.judging",
    "compare": "sortal.workflows.comparing",
    "explain": "sortal.workflows.explaining",
    "report": "sortal.workflows.reporting",
    "export": "sortal.workflows.exporting",
    "edit": "sortal.workflows.relabelling",
    "predict": "sortal.workflows.predicting",
    "predict_stream": "sortal.workflows.predicting",
    "predict_many": "sortal.workflows.batch_predicting",
    "load": "sortal.workflows.predicting",
    "serve": "sortal.workflows.serving",
}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
