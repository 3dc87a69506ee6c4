"""int8: what is tried where the first form is not good enough, and what never becomes int8."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sortal import workflows
from sortal.exports import choosing, int8
from sortal.exports.model import Export
from sortal.run import Run


def test_where_nothing_is_good_enough_every_form_is_tried_and_the_nearest_taken(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "GOOD", -1.0)
    workflows.export(trained.path, to="onnx", precision="int8", out=tmp_path / "out")
    found = Export.load(tmp_path / "out").about["quantization"]
    forms = [row["form"] for row in found["tried"]]
    assert forms[:2] == ["ranges by extremes", "ranges by percentiles"]
    assert [form.rpartition(", ")[2] for form in forms[2:]] == [f"{n} of the layers in float32" for n in (1, 2, 4)]
    nearest = min(found["tried"], key=lambda row: row["divergence"])
    assert found["form"] == nearest["form"]
    assert len(found["left_out"]) == (int(nearest["form"].rpartition(", ")[2][0]) if "layers" in nearest["form"] else 0)


@pytest.mark.slow
def test_openvino_tries_nncf_and_every_form_of_onnx_where_nothing_is_good_enough(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec("nncf") is None or find_spec("openvino") is None:
        pytest.skip("needs OpenVINO and NNCF: pip install sortal[export]")
    monkeypatch.setattr(choosing, "GOOD", -1.0)
    workflows.export(trained.path, to="openvino", precision="int8", out=tmp_path / "out")
    found = Export.load(tmp_path / "out").about["quantization"]
    assert [row["form"].partition(",")[0] for row in found["tried"]] == ["by NNCF"] + ["by ONNX Runtime"] * 5
    assert found["form"] == min(found["tried"], key=lambda row: row["divergence"])["form"]


def graph_with_calibration_behind_it() -> onnx.ModelProto:
    weights = [
        numpy_helper.from_array(np.ones((4, 3), np.float32), "head"),
        numpy_helper.from_array(np.ones((4, 4), np.float32), "body"),
        numpy_helper.from_array(np.ones((3, 3), np.float32), "sortal.bends"),
        numpy_helper.from_array(np.ones(3, np.float32), "sortal.bias"),
    ]
    nodes: list[Any] = [
        helper.make_node("Cast", ["images"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["cast"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "body"], ["features"]),
        helper.make_node("MatMul", ["features", "head"], ["logits"]),
        helper.make_node("Add", ["logits", "sortal.bias"], ["sortal.a"]),
        helper.make_node("MatMul", ["sortal.a", "sortal.bends"], ["sortal.b"]),
        helper.make_node("Softmax", ["sortal.b"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes, "graph", [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 2, 2, 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 3])], weights,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_what_stands_behind_the_logits_never_becomes_int8() -> None:
    model = int8.named(graph_with_calibration_behind_it())
    tail = int8._tail(model)
    assert {node.output[0] for node in model.graph.node if node.name in tail} == {"sortal.a", "sortal.b", "probabilities"}


def test_a_graph_without_layers_is_not_quantised() -> None:
    from sortal.errors import NotSupported

    graph = helper.make_graph(
        [helper.make_node("Identity", ["images"], ["probabilities"])], "graph",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2])],
    )  # fmt: skip
    with pytest.raises(NotSupported, match="no layer"):
        int8.named(helper.make_model(graph))
