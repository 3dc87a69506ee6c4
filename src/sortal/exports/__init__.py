"""Exports: a trained model as a file for another runtime, proved to give the bundle's answers before it gets its name."""

from typing import cast

from sortal.exports.kind import Kind
from sortal.registry import Registry

KINDS = Registry("kind of export", hint="`sortal export --help` lists them")
KINDS.add("onnx", "sortal.exports.onnx:ONNX", "ONNX Runtime and whatever reads ONNX; also for images of any size")
KINDS.add("openvino", "sortal.exports.openvino:OPENVINO", "OpenVINO, for Intel's processors and their like")
KINDS.add("torchscript", "sortal.exports.framework:TORCHSCRIPT", "torch.jit, in Python and C++")
KINDS.add("torch-export", "sortal.exports.framework:TORCH_EXPORT", "torch.export, PyTorch's format of today")
KINDS.add("safetensors", "sortal.exports.tensors:SAFETENSORS", "weights, the network as plain PyTorch code, and a loader")
KINDS.add("litert", "sortal.exports.framework:LITERT", "LiteRT (TensorFlow Lite), for telephones")
KINDS.add("torchserve", "sortal.exports.torchserve:TORCHSERVE", "an archive (.mar) for TorchServe")
KINDS.add("web", "sortal.exports.web:WEB", "a page that classifies in the browser; no image leaves the machine")


def kind_of(name: str) -> Kind:
    """The kind of that name; raises `UnknownName`."""
    return cast(Kind, KINDS[name].load())
