"""The app: a list of routes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sortal.serving import oip
from sortal.serving.answering import Desk, Refer, Stay, Tell, options
from sortal.serving.batching import Lanes
from sortal.serving.bodies import Room, images, received
from sortal.serving.decoding import Decoders
from sortal.serving.guard import App, guarded
from sortal.serving.limits import Limits, cores
from sortal.serving.models import Model, Models, Place
from sortal.serving.openapi import document
from sortal.serving.refused import Refused
from sortal.serving.telemetry import Telemetry

HERE = Path(__file__).parent
PAGE = {"/": ("page.html", "text/html"), "/page.css": ("page.css", "text/css"), "/page.js": ("page.js", "text/javascript")}

AT_ONCE = 8
"""Images of a map that wait for the network together."""

Mapper = Callable[[Any, Any, int], Any]
"""A network (N, S, S, C) to (N, K), pixels (S, S, C), a class: what of the image it looked at, (H, W) of 0..1."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is served, to whom, and how; made by the workflow, since what joins the rooms is passed in."""

    places: Sequence[Place]
    tell: Tell
    refer: Refer
    mapper: Mapper
    limits: Limits = field(default_factory=Limits)
    runtime: str = "auto"
    token: str = ""
    local: bool = True
    names: frozenset[str] = frozenset()


class Server:
    """Everything behind the routes."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted, self.limits = wanted, wanted.limits
        self.telemetry, self.lanes = Telemetry(), Lanes(cores())
        self.decoders, self.room = Decoders(self.limits), Room(self.limits.bodies)
        self.models = Models(wanted.places, self.lanes, runtime=wanted.runtime)
        self.desk = Desk(self.models, self.lanes, self.decoders, self.telemetry, self.limits, wanted.tell, wanted.refer)
        self.mapping = asyncio.Semaphore(1)
        self.ready = False
        self.draining = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open and warm everything, and close it at the end."""
        watching: asyncio.Task[None] | None = None
        try:
            await self.models.start()
            await self.decoders.start()
            watching = asyncio.ensure_future(self.models.watch())
            self.ready = True
            yield
        finally:
            self.ready = False
            if watching:
                watching.cancel()
            await self.decoders.close()
            self.lanes.close()

    def drain(self) -> None:
        """Tell whoever asks that no more is wanted; what comes nevertheless is answered."""
        self.draining = True

    # The page.

    async def page(self, request: Request) -> Response:
        name, kind = PAGE[request.url.path]
        return Response((HERE / name).read_bytes(), media_type=kind)

    async def openapi(self, request: Request) -> Response:
        return JSONResponse(document(self.limits, self.models.versions))

    async def metrics(self, request: Request) -> Response:
        return Response(self.desk.refreshed(), headers={"content-type": self.telemetry.content_type})

    # Our own question and answer.

    async def predict(self, request: Request) -> Response:
        """Images in any of three forms; the contract's predictions and errors."""
        model, top = self._wanted(request)
        with self.desk.admitted() as stay, self.room.held() as take:
            found = await self._images(request, take)
            stay.holds(len(found))
            told = await self.desk.answers(model, [data for _, data in found], self.desk.deadline())
        predictions, errors = [], []
        for (name, _), each in zip(found, told, strict=True):
            if each.row_R is not None:
                predictions.append(self.desk.told(model, name, each.row_R, top))
            elif each.refused is not None:
                errors.append({"source": name, "reason": each.refused.message})
        if not predictions and told[0].refused is not None:
            raise told[0].refused
        return JSONResponse({"model": model.name, "version": model.version, "predictions": predictions, "errors": errors})

    async def explain(self, request: Request) -> Response:
        """One image; its prediction, and what of it the model looked at.

        It is not counted, neither among the answers, since whoever asks knows the prediction already, nor as an image that
        takes so long: it takes as long as a hundred.
        """
        model, top = self._wanted(request)
        with self.desk.admitted(), self.room.held() as take:
            found = await self._images(request, take)
            deadline = self.desk.deadline()
            if len(found) != 1:
                raise Refused(400, f"expected one image, got {len(found)}", hint="explain one at a time")
            ((name, data),) = found
            (told,) = await self.desk.answers(model, [data], deadline)
            if told.refused is not None or told.row_R is None:
                raise told.refused or Refused(422, "the image cannot be read")
            map_ = await self._map(model, data, told.row_R, deadline)
        prediction = self.wanted.tell(name, *model.split(told.row_R), model.bundle, top)
        return JSONResponse({"model": model.name, "version": model.version, "prediction": prediction, "map": map_})

    def _wanted(self, request: Request) -> tuple[Model, int]:
        query = request.query_params
        options(query, ("model", "version", "top"))
        return self._model(query.get("model"), query.get("version")), _number(query.get("top", "5"), "top", 1000)

    async def _images(self, request: Request, take: Callable[[int], None]) -> list[tuple[str, bytes]]:
        with self.telemetry.timed("read"):
            body = await received(request.receive, request.headers, self.limits, take)
        return images(body, request.headers.get("content-type", ""), self.limits)

    async def _map(self, model: Model, data: bytes, row_R: Any, deadline: float) -> dict[str, Any]:
        """What of one image the model looked at for the label that its rule gives, or would give where it abstains, as rows of
        numbers; the network runs in the queue like everything else.
        """
        mapper, rule = self.wanted.mapper, model.bundle.decision
        (best,) = rule.preferred(model.split(row_R)[0][None]).tolist()
        pixels_SSC = await self.decoders.decode(data, model.bundle.preprocess, deadline)
        loop = asyncio.get_running_loop()

        def network(images_NSSC: Any) -> Any:
            async def all_of_them() -> Any:
                rows: list[Any] = []
                for start in range(0, len(images_NSSC), AT_ONCE):  # whoever else asks comes between
                    few = images_NSSC[start : start + AT_ONCE]
                    rows += await asyncio.gather(*(model.row(each, deadline) for each in few))
                return np.stack(rows)[:, : len(model.bundle.classes)]

            return asyncio.run_coroutine_threadsafe(all_of_them(), loop).result()

        # It takes a hundred answers of the network: one map at a time.
        async with self.mapping:
            found_HW = await asyncio.to_thread(mapper, network, pixels_SSC, best)
        return {
            "label": model.bundle.classes[best],
            "rows": [[round(float(value), 4) for value in row] for row in found_HW],
            "share": model.bundle.preprocess.size / model.bundle.preprocess.resize,
        }

    # The Open Inference Protocol.

    async def live(self, request: Request) -> Response:
        return JSONResponse({"live": True})

    async def is_ready(self, request: Request) -> Response:
        return JSONResponse({"ready": self.ready and not self.draining}, 200 if self.ready and not self.draining else 503)

    async def server_metadata(self, request: Request) -> Response:
        return JSONResponse({**oip.server(version("sortal")), "models": {k: list(v) for k, v in self.models.versions.items()}})

    async def model_metadata(self, request: Request) -> Response:
        model = self._asked(request)
        return JSONResponse(
            oip.metadata(model.name, self.models.versions[model.name], len(model.bundle.classes), model.runtime)
        )

    async def model_ready(self, request: Request) -> Response:
        model = self._asked(request)
        why = self.models.refused.get((model.name, model.version))
        return JSONResponse({"name": model.name, "ready": True, **({"not_replaced": why} if why else {})})

    async def infer(self, request: Request) -> Response:
        model = self._asked(request)
        with self.desk.admitted() as stay, self.room.held() as take:
            with self.telemetry.timed("read"):
                body = await received(request.receive, request.headers, self.limits, take)
            question = oip.asked(body, request.headers.get(oip.HEADER_LENGTH))
            rows_NR = await self._tensor(model, question, stay)
        predictions = [self.desk.told(model, "", row_R, 1) for row_R in rows_NR]
        probs_NK = rows_NR[:, : len(model.bundle.classes)]
        labels = ["|".join(each["labels"]) if "labels" in each else each["label"] or "" for each in predictions]
        tensors = oip.outputs(question, probs_NK, labels, model.bundle.classes)
        text, length = oip.answered(question, model.name, model.version, tensors)
        if length is None:
            return Response(text, media_type="application/json")
        return Response(text, media_type="application/octet-stream", headers={oip.HEADER_LENGTH: str(length)})

    async def _tensor(self, model: Model, question: oip.Question, stay: Stay) -> Any:
        """What the network says of the one input: encoded images, or pixels as the network takes them."""
        tensor, preprocess = question.inputs[0], model.bundle.preprocess
        shape = (preprocess.size, preprocess.size, preprocess.channels)
        if len(question.inputs) != 1 or tensor.name not in (oip.IMAGES, oip.PIXELS):
            raise Refused(
                400,
                f"expected one input, {oip.IMAGES} or {oip.PIXELS}",
                hint=f"{oip.PIXELS} has the shape {list(shape)} an image",
            )
        count = tensor.shape[0] if tensor.shape else 0
        if not 1 <= count <= self.limits.tensors:
            raise Refused(400, f"expected 1 to {self.limits.tensors} images, got {count}")
        stay.holds(count)
        deadline = self.desk.deadline(question.timeout)
        if tensor.name == oip.PIXELS:
            if tensor.datatype != "UINT8" or tensor.shape[1:] != shape or isinstance(tensor.values, list):
                raise Refused(400, f"expected {oip.PIXELS} as UINT8 of shape [-1, {', '.join(map(str, shape))}]")
            rows = await asyncio.gather(*(self.desk.run(model, each, deadline) for each in tensor.values))
            return np.stack(rows)
        if tensor.datatype != "BYTES" or len(tensor.shape) > 2 or not isinstance(tensor.values, list):
            raise Refused(400, f"expected {oip.IMAGES} as BYTES of shape [-1]")
        if len(tensor.values) != count:
            raise Refused(400, f"expected {oip.IMAGES} as BYTES of shape [-1]")
        told = await self.desk.answers(model, tensor.values, deadline)
        for number, each in enumerate(told):
            if each.refused is not None:
                raise Refused(400, f"image {number}: {each.refused.message}", hint=each.refused.hint)
        return np.stack([each.row_R for each in told if each.row_R is not None])

    def _model(self, name: str | None, version_: str | None) -> Model:
        return self.models.get(self.models.first.name if name is None else name, version_)

    def _asked(self, request: Request) -> Model:
        return self.models.get(request.path_params["name"], request.path_params.get("version"))

    def routes(self) -> list[Route]:
        """All of it."""
        model, versioned = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
        return [
            *(Route(path, self.page, methods=["GET"]) for path in PAGE),
            Route("/predict", self.predict, methods=["POST"]),
            Route("/explain", self.explain, methods=["POST"]),
            Route("/openapi.json", self.openapi, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
            Route("/v2", self.server_metadata, methods=["GET"]),
            Route("/v2/health/live", self.live, methods=["GET"]),
            Route("/v2/health/ready", self.is_ready, methods=["GET"]),
            *(Route(path, self.model_metadata, methods=["GET"]) for path in (model, versioned)),
            *(Route(f"{path}/ready", self.model_ready, methods=["GET"]) for path in (model, versioned)),
            *(Route(f"{path}/infer", self.infer, methods=["POST"]) for path in (model, versioned)),
        ]


def app(wanted: Wanted) -> tuple[App, Server]:
    """The app behind its guard, and what stands behind it."""
    server = Server(wanted)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        if error.status == 503:
            server.telemetry.shed.labels(error.reason).inc()
        return Response(error.body, error.status, error.headers, "application/json")

    inner = Starlette(
        routes=server.routes(),
        exception_handlers={Refused: refused, HTTPException: _http, Exception: _failed},
    )
    # A path with a slash too many is no other path.
    inner.router.redirect_slashes = False

    guard = guarded(inner, token=wanted.token, local=wanted.local, names=wanted.names, telemetry=server.telemetry)
    return guard, server


async def _failed(request: Request, error: Exception) -> Response:
    # Whoever asked is told nothing of it; the guard writes it into the log.
    return JSONResponse({"error": "the server failed; its log says why"}, 500)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = {404: "there is nothing at this address", 405: "this address does not take that method"}
    return JSONResponse({"error": told.get(error.status_code, error.detail)}, error.status_code, headers=error.headers)


DIGITS = 10
"""More than any number has that is asked for; Python refuses to read thousands of them."""


def _number(text: str, name: str, most: int) -> int:
    if not (len(text) <= DIGITS and text.isascii() and text.isdecimal() and 1 <= int(text) <= most):
        raise Refused(400, f"{name} is no whole number from 1 to {most}")
    return int(text)
