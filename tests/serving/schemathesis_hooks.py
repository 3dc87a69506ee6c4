"""For schemathesis: what the formats of our own in the document look like, and what no schema can say of a tensor."""

import base64
from io import BytesIO

import schemathesis
from hypothesis import strategies as st
from PIL import Image


def _image(values: tuple[int, int, int, str]) -> bytes:
    width, height, grey, kind = values
    buffer = BytesIO()
    Image.new("RGB", (width, height), (grey, 255 - grey, 7)).save(buffer, kind)
    return buffer.getvalue()


sides = st.integers(1, 40)
images = st.tuples(sides, sides, st.integers(0, 255), st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])).map(
    _image
)
schemathesis.openapi.format(
    "image", images.map(lambda data: schemathesis.Binary(data) if hasattr(schemathesis, "Binary") else data)
)
schemathesis.openapi.format("image-base64", images.map(lambda data: base64.b64encode(data).decode()))


@schemathesis.hook
def before_call(context, case, kwargs):
    """A tensor has as many elements as its shape says; what breaks the schema in another way is left as it is."""
    if isinstance(case.body, dict) and isinstance(case.body.get("inputs"), list):
        for each in case.body["inputs"]:
            if isinstance(each, dict) and isinstance(each.get("data"), list) and _size(each.get("shape")):
                each["shape"] = [len(each["data"])]


def _size(shape) -> bool:
    return isinstance(shape, list) and len(shape) == 1 and type(shape[0]) in (int, float) and shape[0] in range(1, 257)
