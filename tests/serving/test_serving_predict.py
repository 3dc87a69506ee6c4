"""`POST /predict`: three ways to send images, the contract's words as the answer, and a sentence where there is none."""

import base64
import json
from io import BytesIO

import httpx
import numpy as np
import pytest
from PIL import Image

from sortal.workflows import predict
from tests.serving.served import CLASSES, Served, picture, status


def labels(answer: httpx.Response) -> list[str | None]:
    assert answer.status_code == 200, answer.text
    return [prediction["label"] for prediction in answer.json()["predictions"]]


@pytest.mark.parametrize("colour", CLASSES)
def test_the_bytes_of_an_image_get_its_label(client: httpx.Client, colour: str) -> None:
    answer = client.post("/predict", content=picture(colour), headers={"content-type": "image/png"})
    assert labels(answer) == [colour]
    assert (answer.json()["model"], answer.json()["version"]) == ("colours", "2")
    assert answer.json()["errors"] == []


def test_the_answer_is_that_of_predict_on_the_file(client: httpx.Client, colours, tmp_path) -> None:
    (tmp_path / "image").write_bytes(picture("#905030"))
    (expected,) = predict(colours, [tmp_path / "image"]).predictions
    answer = client.post("/predict", content=picture("#905030"), headers={"content-type": "image/png"})
    assert answer.json()["predictions"] == [{**expected, "source": "image"}]


def test_json_with_base64_may_hold_one_image_or_several(client: httpx.Client) -> None:
    one, other = (base64.b64encode(picture(colour)).decode() for colour in ("blue", "red"))
    assert labels(client.post("/predict", json={"image": one})) == ["blue"]
    assert labels(client.post("/predict", json={"images": [one, f"data:image/png;base64,{other}"]})) == ["blue", "red"]


def test_a_form_may_hold_several_and_each_keeps_its_name(client: httpx.Client) -> None:
    files = [("a", ("one.png", picture("green"))), ("b", ("zwei ü.jpg", picture("blue", "JPEG")))]
    answer = client.post("/predict", files=files)
    assert labels(answer) == ["green", "blue"]
    assert [prediction["source"] for prediction in answer.json()["predictions"]] == ["one.png", "zwei ü.jpg"]


def test_an_image_that_cannot_be_read_among_others_has_an_error_and_the_rest_are_answered(client: httpx.Client) -> None:
    answer = client.post("/predict", files=[("a", ("good.png", picture())), ("b", ("bad.png", b"no image"))])
    assert labels(answer) == ["red"]
    assert answer.json()["errors"] == [{"source": "bad.png", "reason": "not an image"}]


def test_top_says_how_many_labels_are_ranked(client: httpx.Client) -> None:
    for top in (1, 2, 3, 100):
        answer = client.post(f"/predict?top={top}", content=picture(), headers={"content-type": "image/png"})
        assert len(answer.json()["predictions"][0]["top"]) == min(top, 3)


def test_a_model_that_is_not_sure_enough_abstains_and_still_ranks(client: httpx.Client) -> None:
    answer = client.post("/predict?model=careful", content=picture("#806040"), headers={"content-type": "image/png"})
    (prediction,) = answer.json()["predictions"]
    assert prediction["label"] is None
    assert prediction["top"][0]["label"] == "red"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("top=0", 400), ("top=-1", 400), ("top=many", 400), ("top=1001", 400), ("top=", 400), ("top=%C2%B2", 400),
        ("unheard=of", 400), ("model=dogs", 404), ("version=9", 404), ("model=careful&version=2", 404), ("map=1", 400),
        ("version=", 404), ("model=", 404),
        ("top=" + "0" * 5000 + "5", 400),
    ],
)  # fmt: skip
def test_an_option_that_cannot_be_followed_is_refused(client: httpx.Client, query: str, status: int) -> None:
    answer = client.post(f"/predict?{query}", content=picture(), headers={"content-type": "image/png"})
    assert answer.status_code == status
    assert set(answer.json()) <= {"error", "hint"}


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "image/png", 422), (b"x", "text/plain", 415), (b"x", "", 415), (b"x", "application/x-www-form-urlencoded", 415),
        (b"{", "application/json", 400), (b"[]", "application/json", 400), (b"{}", "application/json", 400),
        (b'{"image": 7}', "application/json", 400), (b'{"image": "?"}', "application/json", 400),
        (b'{"images": {}}', "application/json", 400), (b'{"images": []}', "application/json", 400),
        (b'{"image": "", "images": []}', "application/json", 400), (b'{"image": "", "top": 3}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400), (b"\xff\xfe", "application/json", 400),
        (json.dumps({"images": ["eA=="] * 17}).encode(), "application/json", 400),
        (b"x", "multipart/form-data", 400), (b"x", "multipart/form-data; boundary=", 400),
        (b"x", "multipart/form-data; boundary=b", 400), (b"--b--", "multipart/form-data; boundary=b", 400),
        (b"--b\r\n\r\nx", "multipart/form-data; boundary=b", 400), (b"x", f"multipart/form-data; boundary={'b' * 400}", 400),
    ],
)  # fmt: skip
def test_a_body_that_holds_no_image_is_refused_with_a_reason(client: httpx.Client, body: bytes, kind: str, status: int) -> None:
    answer = client.post("/predict", content=body, headers={"content-type": kind})
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]
    assert set(answer.json()) <= {"error", "hint"}


def test_a_body_that_is_packed_is_refused_unopened(client: httpx.Client) -> None:
    answer = client.post("/predict", content=b"x", headers={"content-type": "image/png", "content-encoding": "gzip"})
    assert answer.status_code == 415


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_another_method_is_told_which_to_use(client: httpx.Client, method: str) -> None:
    answer = client.request(method, "/predict")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_an_address_that_is_none_is_not_found(server: Served) -> None:
    for path in ("/predict/", "/../../etc/passwd", "/page.css/..", "/%2e%2e/%2e%2e/etc/passwd", "/bundle.json", "/v3"):
        told = server.exchange(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        assert status(told) == 404, path
        assert b'{"error":"there is nothing at this address"}' in told


def test_a_map_says_where_the_image_was_looked_at(client: httpx.Client) -> None:
    image = Image.new("RGB", (80, 80), "#302010")
    image.paste("red", (0, 0, 40, 40))
    buffer = BytesIO()
    image.save(buffer, "PNG")
    told = client.post("/explain", content=buffer.getvalue(), headers={"content-type": "image/png"}).json()
    rows = np.array(told["map"]["rows"])
    assert (told["map"]["label"], told["map"]["share"], rows.shape) == ("red", 1.0, (8, 8))
    assert rows[:4, :4].sum() > 5 * rows[4:, 4:].sum()


def test_a_map_is_of_the_label_that_the_rule_gives_and_of_the_one_it_would_give(client: httpx.Client) -> None:
    image = Image.new("RGB", (80, 80), "#302010")
    image.paste("red", (0, 0, 40, 40))
    image.paste("blue", (60, 60, 80, 80))
    buffer = BytesIO()
    image.save(buffer, "PNG")

    def explained(model: str) -> tuple[str | None, str, str, np.ndarray]:
        answer = client.post(f"/explain?model={model}", content=buffer.getvalue(), headers={"content-type": "image/png"})
        prediction, drawn = answer.json()["prediction"], answer.json()["map"]
        return prediction["label"], prediction["top"][0]["label"], drawn["label"], np.array(drawn["rows"])

    *told, rows = explained("costly")
    assert told == ["blue", "red", "blue"]
    assert rows[4:, 4:].sum() > 5 * rows[:4, :4].sum()
    *told, rows = explained("careful")
    assert told == [None, "red", "red"]
    assert rows[:4, :4].sum() > 5 * rows[4:, 4:].sum()


def test_maps_are_drawn_of_one_image(client: httpx.Client) -> None:
    files = [("a", ("one.png", picture())), ("b", ("two.png", picture()))]
    assert client.post("/explain", files=files).status_code == 400
    assert client.post("/explain", files=files[:1]).json()["prediction"]["label"] == "red"
    counted = [line for line in client.get("/metrics").text.splitlines() if line.startswith("sortal_predictions_total")]
    client.post("/explain", files=files[:1])
    assert counted == [line for line in client.get("/metrics").text.splitlines() if line.startswith("sortal_predictions_total")]
    told = client.post("/explain", content=b"no image", headers={"content-type": "image/png"})
    assert told.status_code == 422
