import os
import subprocess
import sys

import pytest

import sortal

HEAVY = ("numpy", "torch", "PIL", "pyarrow", "pydantic", "sklearn", "onnxruntime")


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True).stdout


def test_importing_sortal_loads_nothing_heavy():
    touched = "import sys, sortal; dir(sortal); sortal.DataError; sortal.__version__"
    assert python(f"{touched}; print([m for m in {HEAVY} if m in sys.modules])").strip() == "[]"


def test_predicting_names_load_neither_a_framework_nor_a_table_library():
    code = "import sys, sortal; sortal.load, sortal.predict; print([m for m in ('torch', 'pyarrow') if m in sys.modules])"
    assert python(code).strip() == "[]"


def test_onnx_runtime_is_told_to_send_nothing_before_it_is_imported(tmp_path):
    code = "import os, sortal.engines.onnx, onnxruntime; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("ORT_", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**keep, "HOME": str(tmp_path)}, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "1"
    assert not any("Microsoft" in str(path) for path in tmp_path.rglob("*"))


def test_the_public_names_are_sorted_and_every_one_is_there():
    assert sortal.__all__ == sorted(sortal.__all__)
    assert set(sortal.__all__) <= set(dir(sortal))
    assert all(getattr(sortal, name) is not None for name in sortal.__all__)


def test_a_star_import_gives_exactly_the_public_names():
    found: dict = {}
    exec("from sortal import *", found)
    assert set(found) - {"__builtins__"} == set(sortal.__all__)


def test_every_error_class_is_public():
    from sortal import errors

    named = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, sortal.SortalError)}
    assert named <= set(sortal.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'trane'"):
        sortal.trane  # noqa: B018


def test_public_verbs_stay_functions_whatever_was_imported() -> None:
    code = (
        "import pkgutil, importlib, sortal\n"
        "for found in pkgutil.iter_modules(sortal.__path__):\n"
        "    importlib.import_module('sortal.' + found.name)\n"
        "verbs = [name for name in sortal.__all__ if name.islower() and not name.startswith('_')]\n"
        "assert len(verbs) > 6\n"
        "print([name for name in verbs if not callable(getattr(sortal, name))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
