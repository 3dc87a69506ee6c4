"""Deployed networks as files: PyTorch's own formats, LiteRT, plain code with weights beside it; and how they run."""

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.jit._trace import TracerWarning  # where it is defined; torch.jit does not export it by name

from sortal.engines.onnx import chunk_size
from sortal.errors import MissingExtra, NotSupported

ABOUT = "sortal.json"
"""The name under which both of PyTorch's formats keep what the model says of itself."""
WEIGHTS, CODE = "model.safetensors", "network.py"
Run = Callable[[NDArray[np.uint8]], list[NDArray[np.float32]]]


def write_torchscript(deployed: nn.Module, shape: tuple[int, ...], target: Path, about: str) -> None:
    with _deprecations_known(), torch.inference_mode():
        traced = torch.jit.trace(deployed, (_example(shape),))  # type: ignore[no-untyped-call]
        torch.jit.save(traced, str(target), _extra_files={ABOUT: about})


def open_torchscript(target: Path) -> Run:
    with _deprecations_known():
        return _batches(torch.jit.load(str(target), map_location="cpu").eval())  # type: ignore[no-untyped-call]


def write_program(deployed: nn.Module, shape: tuple[int, ...], target: Path, about: str) -> None:
    torch.export.save(_program(deployed, shape), str(target), extra_files={ABOUT: about})


def open_program(target: Path) -> Run:
    return _batches(torch.export.load(str(target)).module())


def write_code(deployed: nn.Module, shape: tuple[int, ...], target: Path, about: str) -> None:
    """The network as a function in `network.py` that takes its weights by name, and the weights in `model.safetensors`."""
    from safetensors.torch import save

    program = _program(deployed, shape)
    weights = {**program.state_dict, **program.constants}
    names, inputs = {}, []
    for spec in program.graph_signature.input_specs:
        name = getattr(spec.arg, "name", "")
        if spec.target is None:
            inputs.append(name)
        else:
            names[name] = spec.target
    assert len(inputs) == 1, f"a network takes images and nothing else, got {inputs}"
    used = {target: weights[target].detach().contiguous().clone() for target in names.values()}
    (target / WEIGHTS).write_bytes(save(used, metadata={"sortal": about}))
    (target / CODE).write_text(_as_source(program.graph_module.code, names, inputs[0]), encoding="utf-8")


def write_litert(deployed: nn.Module, shape: tuple[int, ...], target: Path) -> None:
    converter = _litert("litert_torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of jax, absl and the converter, about themselves
        converter.convert(deployed.eval(), (_example(shape)[:1],)).export(str(target))


def open_litert(target: Path) -> Run:
    """One image at once, as a telephone would."""
    interpreter = _litert("ai_edge_litert.interpreter").Interpreter(model_path=str(target), num_threads=torch.get_num_threads())
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0]["index"], in_order(interpreter.get_output_details())

    def run(images_NSSC: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        found = []
        for image_SSC in images_NSSC:
            interpreter.set_tensor(taken, image_SSC[None])
            interpreter.invoke()
            found.append([interpreter.get_tensor(index).copy() for index in given])
        return [np.concatenate(each) for each in zip(*found, strict=True)]

    return run


def in_order(outputs: list[dict[str, Any]]) -> list[int]:
    """Of a LiteRT file: its outputs have no order, but probabilities have two axes, and a distance has one."""
    return [int(output["index"]) for output in sorted(outputs, key=lambda output: -len(output["shape"]))]


def _litert(module: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"{error.name} (needed for LiteRT; its converter wants an older PyTorch, so give it an environment of its own)",
            "litert",
        ) from error


def _program(deployed: nn.Module, shape: tuple[int, ...]) -> Any:
    """The network as torch.export has it, for any number of images."""
    try:
        with torch.no_grad():
            return torch.export.export(
                deployed.eval(), (_example(shape),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), strict=False
            )
    except Exception as error:  # what cannot be exported raises errors of many kinds, most of them torch's own
        raise NotSupported(
            f"torch.export cannot follow this network: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            hint="take another --to; onnx always works",
        ) from error


def _as_source(code: str, names: dict[str, str], images: str) -> str:
    """The code that torch made of a network, as a module that a person may read."""
    body = code[code.index("):") + 2 :]
    lines = [
        re.sub(r";\s+.*$", "", line)  # the names that it lets go of at the end of a line
        for line in body.strip("\n").splitlines()
        if line.strip() and "_assert_tensor_metadata" not in line
    ]
    unpacked = [f"    {name} = weights[{target!r}]" for name, target in names.items() if re.search(rf"\b{name}\b", body)]
    returned = "\n".join(lines)
    head = '"""The network, written out by torch.export: bytes of images to probabilities. Needs torch alone."""'
    return "\n".join(
        [
            head,
            "",
            "import torch",
            "from torch import device, inf, nan  # noqa: F401",
            "",
            "",
            f"def answers(weights, {images}):",
            '    """Weights by name, as model.safetensors has them; images, uint8. Probabilities, novelty if there is any."""',
            *unpacked,
            returned,
            "",
        ]
    )


def _example(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.zeros((2, *shape), dtype=torch.uint8)


def _batches(module: Callable[[torch.Tensor], torch.Tensor | tuple[torch.Tensor, ...]]) -> Run:
    """In chunks, as the bundle's graph is run."""

    def run(images_NSSC: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        size = 4 * chunk_size(images_NSSC.shape[1:])
        starts = range(0, len(images_NSSC), size)
        with torch.inference_mode(), _deprecations_known():
            found = [_outputs(module(torch.from_numpy(np.array(images_NSSC[at : at + size])))) for at in starts]
        return [np.concatenate(each) for each in zip(*found, strict=True)]

    return run


def _outputs(found: torch.Tensor | tuple[torch.Tensor, ...]) -> list[NDArray[np.float32]]:
    """Probabilities, and novelty where a model gives it."""
    return [each.numpy() for each in (found if isinstance(found, tuple) else (found,))]


@contextmanager
def _deprecations_known() -> Iterator[None]:
    """TorchScript is deprecated and says so at every call; who asks for it has reasons."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=TracerWarning)
        yield
