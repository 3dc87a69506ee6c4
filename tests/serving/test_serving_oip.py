"""What the conformance suite cannot know of our models: tensors of pixels, ranked classes, silence, and Triton's client."""

import base64

import httpx
import numpy as np
import pytest

from tests.serving.served import CLASSES, SIDE, Served, picture


def infer(client: httpx.Client, inputs: list, model: str = "colours", **more: object) -> httpx.Response:
    return client.post(f"/v2/models/{model}/infer", json={"inputs": inputs, **more})


def images(*colours: str) -> list:
    data = [base64.b64encode(picture(colour)).decode() for colour in colours]
    return [{"name": "images", "datatype": "BYTES", "shape": [len(data)], "data": data}]


def test_encoded_images_get_probabilities_and_labels(client: httpx.Client) -> None:
    told = infer(client, images("blue", "red")).json()
    probabilities, labels = told["outputs"]
    assert (probabilities["shape"], labels["data"]) == ([2, 3], ["blue", "red"])
    assert np.argmax(np.reshape(probabilities["data"], (2, 3)), axis=1).tolist() == [2, 0]


def test_pixels_as_the_network_takes_them_get_the_same(client: httpx.Client) -> None:
    pixels_SSC = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels_SSC[..., 2] = 255
    about = {"name": "pixels", "datatype": "UINT8", "shape": [1, SIDE, SIDE, 3], "data": pixels_SSC.tolist()}
    pixels, encoded = (
        infer(client, inputs).json()["outputs"] for inputs in ([{**about, "data": [about["data"]]}], images("blue"))
    )
    assert pixels == encoded


@pytest.mark.parametrize(
    "change",
    [{"shape": [1, SIDE, SIDE, 1]}, {"shape": [SIDE, SIDE, 3]}, {"datatype": "FP32"}, {"data": [256] * (SIDE * SIDE * 3)},
     {"data": [-1] * (SIDE * SIDE * 3)}, {"data": [0.5] * (SIDE * SIDE * 3)}, {"data": [True] * (SIDE * SIDE * 3)}],
    ids=str,
)  # fmt: skip
def test_pixels_of_another_kind_are_refused(client: httpx.Client, change: dict) -> None:
    about = {"name": "pixels", "datatype": "UINT8", "shape": [1, SIDE, SIDE, 3], "data": [0] * (SIDE * SIDE * 3)}
    assert infer(client, [about]).status_code == 200
    assert infer(client, [{**about, **change}]).status_code == 400


def test_an_image_that_cannot_be_read_is_named_by_its_number(client: httpx.Client) -> None:
    inputs = images("red", "blue")
    inputs[0]["data"][1] = base64.b64encode(b"no image").decode()
    answer = infer(client, inputs)
    assert (answer.status_code, answer.json()["error"]) == (400, "image 1: not an image")


def test_a_model_that_abstains_gives_an_empty_label(client: httpx.Client) -> None:
    assert infer(client, images("#806040"), "careful").json()["outputs"][1]["data"] == [""]


def test_a_timeout_that_cannot_be_kept_is_a_load_shed(client: httpx.Client) -> None:
    answer = infer(client, images("red"), parameters={"timeout": 1})
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
    assert infer(client, images("red"), parameters={"timeout": 30_000_000}).status_code == 200


def test_tritons_http_client_works_unchanged(server: Served) -> None:
    http = pytest.importorskip("tritonclient.http", reason="pip install tritonclient[http]")
    client = http.InferenceServerClient(server.address.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("colours")
    assert client.is_model_ready("colours", "2")
    assert not client.is_model_ready("dogs")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    about = client.get_model_metadata("colours")
    assert about["versions"] == ["1", "2"]
    encoded = np.array([picture("blue"), picture("green")], dtype=object)
    for binary in (True, False):
        if not binary:  # in JSON our elements are base64, since an image is no text
            encoded = np.array([base64.b64encode(each) for each in encoded], dtype=object)
        given = http.InferInput("images", [2], "BYTES")
        given.set_data_from_numpy(encoded, binary_data=binary)
        wanted = [http.InferRequestedOutput(each["name"], binary_data=binary) for each in about["outputs"]]
        told = client.infer("colours", [given], outputs=wanted, request_id="7", model_version="1", timeout=20_000_000)
        assert told.get_response()["id"] == "7"
        assert told.as_numpy("probabilities").argmax(axis=1).tolist() == [2, 1]
        assert [each.decode() if binary else each for each in told.as_numpy("labels")] == ["blue", "green"]
    pixels = http.InferInput("pixels", [1, SIDE, SIDE, 3], "UINT8")
    pixels.set_data_from_numpy(np.full((1, SIDE, SIDE, 3), [0, 0, 255], np.uint8))
    assert client.async_infer("colours", [pixels]).get_result().as_numpy("labels").tolist() == [b"blue"]
    ranked = client.infer("colours", [pixels], outputs=[http.InferRequestedOutput("probabilities", class_count=2)])
    value, index, label = ranked.as_numpy("probabilities")[0, 0].decode().split(":")
    assert (float(value) > 0.9, index, label) == (True, "2", CLASSES[2])
    with pytest.raises(Exception, match="there is no model dogs"):
        client.infer("dogs", [pixels])
    client.close()
