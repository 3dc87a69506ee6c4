"""The Open Inference Protocol, sentence by sentence, against whatever server is asked (see README.md here)."""

import json
import struct
from typing import Any

import httpx
import numpy as np
import pytest

from tests.oip.conftest import DATATYPES, Asked

HEADER = "Inference-Header-Content-Length"
KNOWN = {*DATATYPES, "BYTES"}


def refused(answer: httpx.Response) -> None:
    """A 4xx with an object whose `error` is text; the protocol's `$inference_error_response`."""
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:300])
    told = answer.json()
    assert isinstance(told.get("error"), str)
    assert told["error"]
    assert "Traceback" not in answer.text


def tensors(answer: httpx.Response) -> dict[str, Any]:
    """The outputs of an answer by name, each with its elements as an array or a list of strings."""
    assert answer.status_code == 200, answer.text[:300]
    length = answer.headers.get(HEADER)
    told = json.loads(answer.content[: int(length)] if length else answer.content)
    at, found = int(length or 0), {}
    for each in told["outputs"]:
        size = each.get("parameters", {}).get("binary_data_size")
        if size is None:
            assert "data" in each
            found[each["name"]] = (each, flat(each["data"]))
        else:
            assert "data" not in each
            found[each["name"]] = (each, elements(each["datatype"], answer.content[at : at + size]))
            at += size
    assert at in (0, len(answer.content)), "bytes are left over"
    return {"": told, **found}


def elements(datatype: str, raw: bytes) -> list[Any]:
    if datatype != "BYTES":
        return list(np.frombuffer(raw, DATATYPES[datatype]).tolist())
    found, at = [], 0
    while at < len(raw):
        (length,) = struct.unpack_from("<I", raw, at)
        found.append(raw[at + 4 : at + 4 + length].decode())
        at += 4 + length
    assert at == len(raw)
    return found


def flat(data: Any) -> list[Any]:
    return [element for each in data for element in flat(each)] if isinstance(data, list) else [data]


def test_the_server_is_live_and_ready(client: httpx.Client) -> None:
    for path in ("/v2/health/live", "/v2/health/ready"):
        assert client.get(path).status_code == 200


def test_the_server_tells_its_name_version_and_extensions(client: httpx.Client) -> None:
    told = client.get("/v2").json()
    assert isinstance(told["name"], str)
    assert isinstance(told["version"], str)
    assert all(isinstance(each, str) for each in told["extensions"])


def test_the_model_is_ready_with_and_without_its_version(asked: Asked) -> None:
    assert asked.client.get(f"{asked.base}/ready").status_code == 200
    if asked.version:
        assert asked.client.get(f"{asked.base}/versions/{asked.version}/ready").status_code == 200


def test_the_metadata_names_the_model_and_describes_every_tensor(asked: Asked) -> None:
    told = asked.metadata
    assert told["name"] == asked.model
    assert isinstance(told["platform"], str)
    assert all(isinstance(version, str) for version in told.get("versions", []))
    assert told["inputs"]
    assert told["outputs"]
    for each in (*told["inputs"], *told["outputs"]):
        assert each["name"]
        assert each["datatype"] in KNOWN
        assert all(isinstance(size, int) and size >= -1 for size in each["shape"])
    for kind in ("inputs", "outputs"):
        names = [each["name"] for each in told[kind]]
        assert len(set(names)) == len(names)


def test_every_version_has_metadata(asked: Asked) -> None:
    for version in asked.metadata.get("versions", []):
        told = asked.client.get(f"{asked.base}/versions/{version}").json()
        assert told["name"] == asked.model
        assert told["inputs"] == asked.metadata["inputs"]


def test_an_answer_names_the_model_and_holds_every_output_with_all_its_elements(asked: Asked) -> None:
    found = tensors(asked.infer(asked.request()))
    told = found.pop("")
    assert told["model_name"] == asked.model
    assert set(found) == {each["name"] for each in asked.metadata["outputs"]}
    for about in asked.metadata["outputs"]:
        output, values = found[about["name"]]
        assert output["datatype"] == about["datatype"]
        assert len(output["shape"]) == len(about["shape"])
        assert all(said in (-1, size) for said, size in zip(about["shape"], output["shape"], strict=True))
        assert len(values) == int(np.prod(output["shape"]))


def test_a_version_that_is_asked_for_answers_and_says_so(asked: Asked) -> None:
    if not asked.version:
        pytest.skip("the server names no versions")
    told = tensors(asked.infer(asked.request(), f"{asked.base}/versions/{asked.version}"))[""]
    assert told["model_version"] == asked.version


@pytest.mark.parametrize("name", ["42", "a name", "ü"])
def test_the_id_of_a_request_comes_back(asked: Asked, name: str) -> None:
    assert tensors(asked.infer(asked.request(id=name)))[""]["id"] == name


def test_a_request_without_an_id_gets_none(asked: Asked) -> None:
    assert tensors(asked.infer(asked.request()))[""].get("id") in (None, "")


def test_only_the_outputs_that_were_asked_for_come_and_in_that_order(asked: Asked) -> None:
    names = [each["name"] for each in asked.metadata["outputs"]]
    for wanted in (names[:1], names[::-1]):
        told = tensors(asked.infer(asked.request(outputs=[{"name": name} for name in wanted])))[""]
        assert [each["name"] for each in told["outputs"]] == wanted


def test_data_may_be_nested_as_the_shape_is(asked: Asked) -> None:
    request = asked.request()
    for each in request["inputs"]:
        if each["datatype"] == "BYTES":
            continue
        each["data"] = np.array(each["data"], object).reshape(each["shape"]).tolist()
    flat_found, nested = tensors(asked.infer(asked.request())), tensors(asked.infer(request))
    assert [nested[name][1] for name in nested if name] == [flat_found[name][1] for name in flat_found if name]


def test_a_batch_of_two_gives_twice_the_elements(asked: Asked) -> None:
    if not all(each["shape"][:1] == [-1] for each in asked.metadata["inputs"]):
        pytest.skip("the model takes no batches")
    one, two = tensors(asked.infer(asked.request())), tensors(asked.infer(asked.request(batch=2)))
    for name in one:
        if name:
            assert len(two[name][1]) == 2 * len(one[name][1])


def test_the_same_request_gets_the_same_answer(asked: Asked) -> None:
    first, second = (tensors(asked.infer(asked.request())) for _ in range(2))
    assert all(first[name][1] == second[name][1] for name in first if name)


@pytest.mark.parametrize("path", ["/v2/models/no.such.model", "/v2/models/no.such.model/ready"])
def test_a_model_that_is_not_there_is_refused(client: httpx.Client, path: str) -> None:
    refused(client.get(path))


def test_inference_by_a_model_or_version_that_is_not_there_is_refused(asked: Asked) -> None:
    refused(asked.infer(asked.request(), "/v2/models/no.such.model"))
    refused(asked.infer(asked.request(), f"{asked.base}/versions/77777"))


def changed(asked: Asked, **changes: Any) -> dict[str, Any]:
    """A right request with its first input changed; a key whose value is ... is left out."""
    request = asked.request()
    first = {**request["inputs"][0], **changes}
    request["inputs"][0] = {key: value for key, value in first.items() if value is not ...}
    return request


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "no such input"}, {"name": 7}, {"name": ...}, {"datatype": "FP7"}, {"datatype": None}, {"datatype": ...},
        {"shape": "large"}, {"shape": [-1]}, {"shape": [1.5]}, {"shape": ...}, {"shape": [2**40]}, {"shape": [10**30]},
        {"shape": [0]}, {"data": []}, {"data": "all of it"}, {"data": [{}]}, {"data": None}, {"data": ...},
        {"data": [[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}, {"parameters": []}, {"parameters": {"binary_data_size": 10}},
    ],
    ids=repr,
)  # fmt: skip
def test_an_input_that_is_none_is_refused(asked: Asked, changes: dict[str, Any]) -> None:
    refused(asked.infer(changed(asked, **changes)))


@pytest.mark.parametrize(
    "body", [None, [], 7, "x", {}, {"inputs": None}, {"inputs": {}}, {"inputs": []}, {"inputs": [7]}], ids=repr
)
def test_a_body_without_inputs_is_refused(asked: Asked, body: Any) -> None:
    refused(asked.infer(body))


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe\x00", b"[" * 50_000, b'{"inputs": [}'])
def test_a_body_that_is_no_json_is_refused(asked: Asked, body: bytes) -> None:
    refused(asked.client.post(f"{asked.base}/infer", content=body, headers={"content-type": "application/json"}))


def test_an_output_that_is_not_there_is_refused(asked: Asked) -> None:
    refused(asked.infer(asked.request(outputs=[{"name": "no such output"}])))
    refused(asked.infer(asked.request(outputs="all")))


@pytest.fixture
def binary(asked: Asked) -> Asked:
    if "binary_tensor_data" not in asked.client.get("/v2").json()["extensions"]:
        pytest.skip("the server does not say that it has the binary tensor extension")
    return asked


def send(asked: Asked, head: Any, tail: bytes, length: str | None = None) -> httpx.Response:
    text = json.dumps(head).encode()
    headers = {HEADER: str(len(text)) if length is None else length, "content-type": "application/octet-stream"}
    return asked.client.post(f"{asked.base}/infer", content=text + tail, headers=headers)


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        if name and one[name][0]["datatype"].startswith("FP"):
            np.testing.assert_allclose(one[name][1], other[name][1], rtol=1e-5, atol=1e-6)
        elif name:
            assert one[name][1] == other[name][1]


def test_binary_inputs_get_the_answer_of_the_same_tensors_in_json(binary: Asked) -> None:
    inputs, tail = binary.binary()
    same(tensors(send(binary, {"inputs": inputs}, tail)), tensors(binary.infer(binary.request())))


def test_outputs_are_binary_where_the_request_says_so(binary: Asked) -> None:
    expected = tensors(binary.infer(binary.request()))
    found = tensors(binary.infer(binary.request(parameters={"binary_data_output": True})))
    assert all("binary_data_size" in found[name][0]["parameters"] for name in found if name)
    same(found, expected)


def test_each_output_may_choose_and_the_choice_overrules_the_request(binary: Asked) -> None:
    names = [each["name"] for each in binary.metadata["outputs"]]
    outputs = [{"name": name, "parameters": {"binary_data": number == 0}} for number, name in enumerate(names)]
    found = tensors(binary.infer(binary.request(outputs=outputs, parameters={"binary_data_output": True})))
    for number, name in enumerate(names):
        assert ("data" not in found[name][0]) is (number == 0)
    same(found, tensors(binary.infer(binary.request(outputs=[{"name": name} for name in names]))))


def test_a_header_length_that_is_wrong_is_refused(binary: Asked) -> None:
    inputs, tail = binary.binary()
    for length in ("0", "1", "-1", "x", "99999999", "9" * 30):
        refused(send(binary, {"inputs": inputs}, tail, length))


def test_binary_sizes_that_do_not_add_up_are_refused(binary: Asked) -> None:
    inputs, tail = binary.binary()
    refused(send(binary, {"inputs": inputs}, tail[:-1]))
    refused(send(binary, {"inputs": inputs}, tail + b"\0"))
    for size in (-1, 10**9, "all", None, 1.5):
        first = {**inputs[0], "parameters": {"binary_data_size": size}}
        refused(send(binary, {"inputs": [first, *inputs[1:]]}, tail))


def test_a_bytes_tensor_whose_lengths_lie_is_refused(binary: Asked) -> None:
    if binary.metadata["inputs"][0]["datatype"] != "BYTES":
        pytest.skip("the model takes no BYTES")
    for raw in (b"\1", b"\xff\xff\xff\xff", b"\5\0\0\0abc", b"\1\0\0\0a\1\0\0\0b"):
        about = {"name": binary.metadata["inputs"][0]["name"], "datatype": "BYTES", "shape": [1]}
        refused(send(binary, {"inputs": [{**about, "parameters": {"binary_data_size": len(raw)}}]}, raw))
