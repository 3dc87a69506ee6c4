"""Code inside exports: run only if it is ours to the byte, or if it can do nothing but arithmetic on tensors."""

import ast
import sys
from pathlib import Path
from types import ModuleType

from sortal.errors import BundleError

REFUSED = "it may be another version's or a stranger's: make it again with `sortal export`, or read it and run it yourself"
ARITHMETIC = "torch.ops.aten."
FORBIDDEN = {"from_file", "_print"}
"""Operators of ATen that reach beyond tensors."""
PLAIN = (
    ast.Module, ast.Expr, ast.arguments, ast.arg, ast.Return, ast.Assign, ast.Name, ast.Constant, ast.List, ast.Tuple, ast.Load,
    ast.Store, ast.keyword, ast.UnaryOp, ast.USub, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Subscript,
)  # fmt: skip
HEAD = "import torch\nfrom torch import device, inf, nan"


def require_ours(path: Path, expected: str) -> None:
    """Raise `BundleError` for a module that is not the one that this version writes."""
    if path.read_bytes() != expected.encode():
        raise BundleError(f"{path.name} of the export is not the one that this version of sortal writes", hint=REFUSED)


def require_arithmetic(path: Path) -> None:
    """Raise `BundleError` for a network's code that is anything but one function of operators on tensors.

    Calls are those of `torch.ops.aten` and of `device`; there are no loops, no attributes of values, no names with two
    underscores, no imports but torch's.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BundleError(f"{path.name} of the export is no code of ours: {error}", hint=REFUSED) from error
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    heads = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    if [function.name for function in functions] != ["answers"] or "\n".join(heads) != HEAD:
        raise BundleError(f"{path.name} of the export holds more than one function of torch", hint=REFUSED)
    if functions[0].decorator_list or functions[0].returns or functions[0].args.defaults:
        raise BundleError(f"{path.name} of the export has code around its function", hint=REFUSED)
    others = [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.Import | ast.ImportFrom)]
    for part in (*others, functions[0].args, *functions[0].body):
        _require_plain(part, path.name)


def _require_plain(node: ast.AST, place: str) -> None:
    if isinstance(node, ast.Call):
        name = _dotted(node.func)
        operator = name.removeprefix(ARITHMETIC).partition(".")[0]
        if name != "device" and (not name.startswith(ARITHMETIC) or operator in FORBIDDEN):
            raise BundleError(f"{place} of the export calls {ast.unparse(node.func)[:80]}", hint=REFUSED)
        children: list[ast.AST] = [*node.args, *node.keywords]
    elif isinstance(node, ast.Attribute):
        if not isinstance(node.value, ast.Name) or node.value.id != "torch":
            raise BundleError(f"{place} of the export looks into {ast.unparse(node)[:80]}", hint=REFUSED)
        children = []
    elif isinstance(node, PLAIN):
        if isinstance(node, ast.Name) and node.id.startswith("__"):
            raise BundleError(f"{place} of the export uses {node.id[:80]}", hint=REFUSED)
        children = list(ast.iter_child_nodes(node))
    else:
        raise BundleError(f"{place} of the export has a step of another kind: {type(node).__name__}", hint=REFUSED)
    for child in children:
        _require_plain(child, place)


def _dotted(node: ast.expr) -> str:
    """A name with its dots, and '' for whatever else can be called."""
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return node.id if isinstance(node, ast.Name) else ""


def imported(path: Path, *, beside: bool = False) -> ModuleType:
    """A module of an export that was looked at before; with `beside`, what it imports may stand beside it.

    Nothing stays of it in Python's tables, so that two exports in one process do not get each other's modules.
    """
    module = ModuleType(f"sortal_export_{path.stem}")
    module.__file__ = str(path)
    written, places, before = sys.dont_write_bytecode, list(sys.path), set(sys.modules)
    sys.dont_write_bytecode = True
    if beside:
        sys.path.insert(0, str(path.parent))
    try:
        # Not by Python's importer: it would take a compiled file beside the source for the source, whoever put it there.
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    finally:
        sys.dont_write_bytecode, sys.path[:] = written, places
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(path.parent)):
                del sys.modules[name]
    return module
