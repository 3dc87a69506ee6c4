"""The OpenAPI document of the server: every address, what it takes, and every status that it may answer with."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from sortal.serving.limits import Limits

Json = dict[str, Any]


def document(limits: Limits, versions: Mapping[str, Sequence[str]]) -> Json:
    """OpenAPI 3.1, for the models that are served."""
    name, known = _name(versions)
    paths: Json = {
        "/predict": {"post": _predict(limits, versions)},
        "/explain": {"post": _explain(versions)},
        "/metrics": {"get": _get("Prometheus metrics", {"text/plain": {"schema": {"type": "string"}}})},
        "/openapi.json": {"get": _get("This document", _json({"type": "object"}))},
        "/v2": {"get": _get("The server and what it serves", _json(_object({"name": STRING, "version": STRING})))},
        "/v2/health/live": {"get": _health("Whether the process answers", "live")},
        "/v2/health/ready": {"get": _health("Whether it may be asked", "ready")},
    }
    for path, parameters in (("", [name]), ("/versions/{version}", [name, known])):
        base = f"/v2/models/{{name}}{path}"
        paths[base] = {"parameters": parameters, "get": _get("What goes in and what comes out", _json(METADATA), missing=True)}
        ready = _json(_object({"name": STRING, "ready": {"type": "boolean"}}))
        paths[f"{base}/ready"] = {"parameters": parameters, "get": _get("Whether the model answers", ready, missing=True)}
        paths[f"{base}/infer"] = {"parameters": parameters, "post": _infer(limits)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "sortal", "version": version("sortal"), "description": "Labels for images."},
        "paths": paths,
        "components": {
            "schemas": {"Error": _object({"error": STRING}, hint=STRING), "Prediction": PREDICTION},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


STRING: Json = {"type": "string"}
NUMBER: Json = {"type": "number", "minimum": 0, "maximum": 1}
COUNT: Json = {"type": "integer", "minimum": 0}
TEXT_OR_NULL: Json = {"type": ["string", "null"]}


def _object(required: Json, **optional: Json) -> Json:
    return {"type": "object", "required": list(required), "properties": {**required, **optional}}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


RANKED = _list(_object({"label": STRING, "probability": NUMBER}))
PREDICTION: Json = _object(
    {"source": STRING, "top": RANKED}, label=TEXT_OR_NULL, probability=NUMBER, labels=_list(STRING)
)  # fmt: skip
TENSOR_ABOUT = _object({"name": STRING, "datatype": STRING, "shape": _list({"type": "integer", "minimum": -1})})
METADATA = _object(
    {
        "name": STRING,
        "versions": _list(STRING),
        "platform": STRING,
        "inputs": _list(TENSOR_ABOUT),
        "outputs": _list(TENSOR_ABOUT),
    }
)


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _error(description: str, **headers: Json) -> Json:
    told: Json = {"description": description, "content": _json({"$ref": "#/components/schemas/Error"})}
    return {**told, "headers": headers} if headers else told


def _errors(*statuses: int) -> Json:
    retry: Json = {"Retry-After": {"description": "Seconds after which to come again", "schema": {"type": "integer"}}}
    texts = {
        400: "The request is not understood", 401: "A token is needed", 403: "Not from there", 404: "No such model",
        408: "The body comes too slowly", 413: "Too large", 415: "A type that holds no images", 422: "No image can be read",
        431: "The head is too long",
    }  # fmt: skip
    told = {str(status): _error(text) for status, text in texts.items() if status in statuses}
    return {**told, **({"503": _error("Too much to do", **retry)} if 503 in statuses else {})}


def _get(description: str, content: Json, *, missing: bool = False) -> Json:
    responses = {"200": {"description": description, "content": content}, **_errors(400, 401, 403, 431)}
    return {"summary": description, "responses": {**responses, **(_errors(404) if missing else {})}}


def _health(description: str, key: str) -> Json:
    told = _json(_object({key: {"type": "boolean"}}))
    responses = {"200": {"description": description, "content": told}, "503": {"description": "Not now", "content": told}}
    return {"summary": description, "responses": {**responses, **_errors(400, 403, 431)}}


def _name(versions: Mapping[str, Sequence[str]]) -> tuple[Json, Json]:
    known = sorted({each for some in versions.values() for each in some})
    return tuple(
        {"name": key, "in": "path", "required": True, "schema": {"type": "string", "enum": values}}
        for key, values in (("name", list(versions)), ("version", known))
    )  # type: ignore[return-value]


def _query(name: str, about: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "description": about, "schema": schema}


def _parameters(versions: Mapping[str, Sequence[str]]) -> list[Json]:
    known = sorted({each for some in versions.values() for each in some})
    return [
        _query("model", "A name; the first that is served", {"type": "string", "enum": list(versions)}),
        _query("version", "A version of it; the newest", {"type": "string", "enum": known}),
        _query("top", "Ranked labels for each image", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 5}),
    ]


IMAGE: Json = {"type": "string", "format": "image"}
"""The bytes of a file; the format is ours, and says that not any bytes will do."""
BASE64: Json = {"type": "string", "contentEncoding": "base64", "format": "image-base64"}
ASKED = (400, 401, 403, 404, 408, 413, 415, 422, 431, 503)


def _images(form: Json, text: Json) -> Json:
    content: Json = {kind: {"schema": IMAGE} for kind in ("image/*", "application/octet-stream")}
    return {
        "required": True,
        "content": {**content, "multipart/form-data": {"schema": form}, "application/json": {"schema": text}},
    }


def _answers(description: str, required: Json) -> Json:
    told = _json(_object({"model": STRING, "version": STRING, **required}))
    return {"200": {"description": description, "content": told}, **_errors(*ASKED)}


def _closed(required: Json) -> Json:
    return {**_object(required), "additionalProperties": False}


def _predict(limits: Limits, versions: Mapping[str, Sequence[str]]) -> Json:
    several = {**_list(BASE64), "minItems": 1, "maxItems": limits.images}
    errors = _list(_object({"source": STRING, "reason": STRING}))
    return {
        "summary": "Label images",
        "parameters": _parameters(versions),
        "requestBody": _images(
            {"type": "object", "additionalProperties": IMAGE, "minProperties": 1, "maxProperties": limits.images},
            {"oneOf": [_closed({"image": BASE64}), _closed({"images": several})]},
        ),
        "responses": _answers("Labels", {"predictions": _list({"$ref": "#/components/schemas/Prediction"}), "errors": errors}),
    }


def _explain(versions: Mapping[str, Sequence[str]]) -> Json:
    map_ = _object({"label": STRING, "rows": _list(_list({"type": "number"})), "share": NUMBER})
    return {
        "summary": "Label one image, and tell what of it the model looked at",
        "parameters": _parameters(versions),
        "requestBody": _images(_closed({"image": IMAGE}), _closed({"image": BASE64})),
        "responses": _answers("A map", {"prediction": {"$ref": "#/components/schemas/Prediction"}, "map": map_}),
    }


def _infer(limits: Limits) -> Json:
    parameters: Json = {"type": "object"}
    shape = {"type": "array", "prefixItems": [{"type": "integer", "minimum": 1, "maximum": limits.tensors}]}
    tensor = _object(
        {
            "name": {"const": "images"},
            "datatype": {"const": "BYTES"},
            "shape": {**shape, "minItems": 1, "maxItems": 1},
            "data": {**_list(BASE64), "minItems": 1, "maxItems": limits.tensors},
        }
    )
    wanted = _object({"name": {"enum": ["probabilities", "labels"]}})
    request = _object({"inputs": {**_list(tensor), "minItems": 1, "maxItems": 1}}, id=TEXT_OR_NULL, outputs=_list(wanted))
    output = _object({"name": STRING, "datatype": STRING, "shape": _list(COUNT)}, data={"type": "array"}, parameters=parameters)
    answer = _object({"model_name": STRING, "model_version": STRING, "outputs": _list(output)}, id=STRING)
    binary = {"type": "string", "format": "binary"}
    content = {**_json(answer), "application/octet-stream": {"schema": binary}}
    return {
        "summary": "Open Inference Protocol, version 2, with its binary tensor extension",
        "description": "Also with `pixels`, UINT8, in the place of `images`, with `parameters`, and with binary tensors.",
        "requestBody": {"required": True, "content": _json(request)},
        "responses": {"200": {"description": "Tensors", "content": content}, **_errors(*ASKED)},
    }
