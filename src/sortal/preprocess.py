"""Preprocessing: one value and one function by which every image, from training to serving, reaches a network."""

import contextlib
import io
import math
import struct
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from sortal.errors import UnreadableImage
from sortal.whole import has_all_lines, is_interlaced

MAX_PIXELS = 100_000_000
LARGEST_SIDE = 4_096
"""Of stored pixels; as in the recipe's `resize`."""

# The formats that are read, and where Pillow keeps them. Formats that Pillow hands to another program (EPS runs Ghostscript)
# are left out: a file that someone sent must not start one.
FORMATS = {
    "JPEG": "PIL.JpegImagePlugin",
    "PNG": "PIL.PngImagePlugin",
    "GIF": "PIL.GifImagePlugin",
    "WEBP": "PIL.WebPImagePlugin",
    "BMP": "PIL.BmpImagePlugin",
    "TIFF": "PIL.TiffImagePlugin",
    "PPM": "PIL.PpmImagePlugin",
    "AVIF": "PIL.AvifImagePlugin",
    "JPEG2000": "PIL.Jpeg2KImagePlugin",
    "ICO": "PIL.IcoImagePlugin",
}
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
INTERPOLATION = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
EXIF_ORIENTATION = 0x0112
# EXIF 2.32, table of that tag: what has to be done to a stored image to see it upright. From 5 on the sides change places.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PILLOW = r"PIL\."
JPEG_START = b"\xff\xd8"


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How an image file becomes the uint8 pixels that a network's graph takes, and how the graph normalises them.

    Decode (EXIF turn, to RGB, transparency on white) -> resize the shorter side to `resize` -> crop the centre square of that
    side (these are the stored pixels, R x R) -> crop the centre `size` x `size` (what the network sees) -> (x / 255 - mean) /
    std.
    """

    size: int
    """S: pixels on each side of the network's input."""
    resize: int
    """R >= S: pixels of the shorter side after resizing; stored pixels are R x R so that training can crop from them."""
    channels: int = 3
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    """One a channel, of values in 0..1."""
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    max_pixels: int = MAX_PIXELS
    """Width times height beyond which a file is refused before it is decoded."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocess":
        """What `to_dict` gave; raises KeyError, TypeError or ValueError for values that cannot be worked with.

        They come out of files that others may have written, and a size of a billion would be a billion rows of pixels.
        """
        found = cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
        whole = (found.size, found.resize, found.channels, found.max_pixels)
        if not all(type(number) is int for number in whole) or found.max_pixels < 1:
            raise ValueError(f"size, resize, channels and max_pixels must be whole numbers above zero, got {whole}")
        if not 1 <= found.size <= found.resize <= LARGEST_SIDE:
            raise ValueError(f"expected 1 <= size <= resize <= {LARGEST_SIDE}, got {found.size} and {found.resize}")
        if found.channels not in (1, 3) or found.interpolation not in INTERPOLATION:
            raise ValueError(f"cannot do {found.channels} channels with interpolation {found.interpolation!r}")
        if not len(found.mean) == len(found.std) == found.channels:
            raise ValueError(f"mean and std need one number a channel, got {found.mean} and {found.std}")
        if not all(math.isfinite(value) for value in found.mean + found.std) or min(found.std) <= 0:
            raise ValueError(f"mean and std must be finite and std above zero, got {found.mean} and {found.std}")
        return found


class TooManyPixels(UnreadableImage):
    """An image beyond the limit of pixels; it was refused by its header and nothing of it was decoded."""


def stored_pixels(data: bytes, preprocess: Preprocess) -> NDArray[np.uint8]:
    """Decode a file's bytes to the stored pixels, uint8 of shape (R, R, C); raises `UnreadableImage` with the reason.

    Resizing the shorter side and cropping the centre are one step: the largest centred square is resampled straight to R x R,
    so that a picture of 100,000 x 10 pixels never becomes one of 2,240,000 x 224. A square of R pixels is not resampled.
    With one channel, colours become luminance (ITU-R 601: 0.299 R + 0.587 G + 0.114 B).
    """
    image, _, _, _ = open_rgb(data, at_least=preprocess.resize, max_pixels=preprocess.max_pixels)
    return squared(image, preprocess)


def squared(image: Image.Image, preprocess: Preprocess) -> NDArray[np.uint8]:
    """The stored pixels of an image that `open_rgb` has decoded with `at_least` R, or at the very scale that it would have."""
    side = preprocess.resize
    square = min(image.size)
    left, top = (image.width - square) // 2, (image.height - square) // 2
    box = (left, top, left + square, top + square)
    # Pillow takes the identity for a resampling of its own where there is a box, so a square of R pixels is cut out instead.
    image = image.crop(box) if square == side else image.resize((side, side), INTERPOLATION[preprocess.interpolation], box=box)
    pixels = np.array(image if preprocess.channels == 3 else image.convert("L"))
    return pixels.reshape(side, side, preprocess.channels)


def same_scale(data: bytes, width: int, height: int, *sides: int) -> bool:
    """Whether `open_rgb` decodes an image of so many pixels to the same picture for each of several `at_least`."""
    if not data.startswith(JPEG_START):
        return True  # there is only one scale
    return len({_jpeg_scale(width, height, side) for side in sides}) == 1


def _jpeg_scale(width: int, height: int, at_least: int) -> int:
    """The whole fraction of its size that Pillow's `draft` has a JPEG decoded at: 1, 2, 4 or 8."""
    room = min(width, height) // at_least
    return next((scale for scale in (8, 4, 2) if room >= scale), 1)


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height as stored, from the header alone; raises `UnreadableImage`."""
    _set_pillow()
    return _recognised(data).size


def network_pixels(stored_NRRC: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.uint8]:
    """The centre S x S of stored pixels, uint8 of shape (N, S, S, C)."""
    low = (preprocess.resize - preprocess.size) // 2
    return stored_NRRC[:, low : low + preprocess.size, low : low + preprocess.size]


def open_rgb(data: bytes, *, at_least: int | None = None, max_pixels: int = MAX_PIXELS) -> tuple[Image.Image, int, int, str]:
    """The one decoder: a file's bytes become the RGB image that a person sees. Safe to call from many threads.

    Args:
        data: all bytes of one file.
        at_least: if given, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size as long as its shorter side keeps this many
            pixels: a 12-megapixel photograph never has to be held whole to keep 224 pixels. Other formats have no such scale.
        max_pixels: width times height beyond which a file is refused by its header.

    Returns:
        The image (mode RGB), the full width and height in pixels after the EXIF turn, and a note that says what was done to
        it: 'transparency drawn on white', 'first of several frames', '16 bits scaled to 8'; '' for nothing worth saying.

    Raises:
        UnreadableImage: with a plain reason; `TooManyPixels` beyond the limit.
    """
    _set_pillow()
    image = _recognised(data)
    width, height = image.size
    if width * height > max_pixels:
        raise TooManyPixels(
            f"{width:,} x {height:,} pixels are more than the limit of {max_pixels:,}",
            hint="make the image smaller, or raise max_pixels",
        )
    with _explained(image.format):
        # A phone's JPEG may carry a preview or a depth map as a second image (MPO); that is no animation.
        frames = "first of several frames" if image.format != "MPO" and getattr(image, "is_animated", False) else ""
        if at_least:
            image.draft("RGB", (at_least, at_least))
        image.load()
        if image.format == "PNG" and _may_lack_lines(image, data) and not has_all_lines(data):
            raise UnreadableImage("truncated: the PNG's data end before its picture does")
        orientation = _orientation(image)
        rgb, note = _to_rgb(image)
        if orientation in TURNS:
            rgb = rgb.transpose(TURNS[orientation])
        if orientation >= 5:
            width, height = height, width
    return rgb, width, height, "; ".join(part for part in (frames, note) if part)


def _set_pillow() -> None:
    """Pillow's two process-wide switches: no other library's setting, and no warning, may change what an image becomes."""
    # With this on, the missing part of a truncated file is filled with grey; some training scripts switch it on for all.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    # Pillow warns about damaged metadata and, below its own limit, about size. `catch_warnings` is not safe with threads, so
    # this filter stays; it is put first again where someone put another before it.
    first = warnings.filters[0] if warnings.filters else None
    if first is None or first[0] != "ignore" or getattr(first[3], "pattern", None) != PILLOW:
        warnings.filterwarnings("ignore", module=PILLOW)


def format_of(data: bytes) -> str:
    """By its first bytes, the name of the format in `FORMATS` that a file has; '' where it has none of them."""
    for name in FORMATS:
        if _accepts(name, data):
            return name
    return ""


def _recognised(data: bytes) -> ImageFile.ImageFile:
    """Read the header only. Not by `Image.open`, whose limit of pixels belongs to the whole process, not to one call."""
    if not data:
        raise UnreadableImage("the file is empty")
    for name in FORMATS:
        accepted = _accepts(name, data)
        if isinstance(accepted, str):
            raise UnreadableImage(f"this installation of Pillow cannot read {name}")
        if accepted:
            with _explained(name):
                return Image.OPEN[name][0](io.BytesIO(data), "")
    if data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS:
        raise UnreadableImage("a HEIC photograph, which is not read here", hint="convert it to JPEG")
    raise UnreadableImage("not an image")


def _accepts(name: str, data: bytes) -> bool | str:
    """Whether Pillow takes a file for one of that format; a text where it does and was built without it."""
    with contextlib.suppress(ImportError):  # a Pillow that was built without this format
        import_module(FORMATS[name])
    if name not in Image.OPEN:
        return False
    accept = Image.OPEN[name][1]
    return accept(data[:16]) if accept else True


def _may_lack_lines(image: Image.Image, data: bytes) -> bool:
    """Whether the last line is all zeros, as Pillow leaves what it had no data for: only then is it worth unpacking twice."""
    return is_interlaced(data) or not image.crop((0, image.height - 1, *image.size)).tobytes().strip(b"\0")


@contextlib.contextmanager
def _explained(kind: str | None) -> Iterator[None]:
    """Whatever a decoder raises on bytes that someone sent becomes a plain reason; only a lack of memory is ours."""
    try:
        yield
    except (UnreadableImage, MemoryError):
        raise
    except Exception as error:
        # Decoders answer damage with errors of any kind: OSError, SyntaxError, ValueError, struct.error, IndexError, KeyError.
        if "truncated" in str(error).lower() or isinstance(error, EOFError | struct.error):
            raise UnreadableImage(f"truncated: the file ends before the {kind} image does") from error
        raise UnreadableImage(f"a damaged {kind} image ({error})") from error


def _orientation(image: ImageFile.ImageFile) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or where the metadata is damaged."""
    try:
        value = image.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # metadata is a file format of its own, and damaged metadata does not make an image unreadable
        return 1
    return value if isinstance(value, int) and value in TURNS else 1


def _to_rgb(image: Image.Image) -> tuple[Image.Image, str]:
    """To mode RGB, and a note of what a person might not expect. Palettes, grey, CMYK, YCbCr and Lab are left to Pillow."""
    note = ""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        image, note = _to_8_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB"), note
    rgba = image.convert("RGBA")
    if rgba.getchannel("A").getextrema()[0] == 255:  # it could be transparent, and nowhere is
        return rgba.convert("RGB"), note
    white = Image.new("RGB", rgba.size, "white")
    white.paste(rgba, mask=rgba.getchannel("A"))
    return white, "; ".join(part for part in (note, "transparency drawn on white") if part)


def _to_8_bits(image: Image.Image) -> tuple[Image.Image, str]:
    """One channel of 16-bit, 32-bit or floating-point values as 8-bit grey; Pillow itself would cut off what is above 255.

    16 bits are divided by 257, so that 65,535 becomes 255. Whole numbers of 32 bits count as 16-bit values if all of them fit.
    Floating-point values count as shares if all lie in 0..1, and as 8-bit values if all lie in 0..255. Anything else has no
    agreed range: its smallest value becomes black and its largest white. What is no finite number counts as 0.
    """
    values: NDArray[Any] = np.asarray(image)
    if image.mode == "F":
        values = np.where(np.isfinite(values), values, np.float32(0))
    low, high = float(values.min()), float(values.max())
    if image.mode != "F" and low >= 0 and high <= 65535:
        to_8_bits = ((np.arange(65536) + 128) // 257).astype(np.uint8)
        grey, note = to_8_bits[values], "16 bits scaled to 8"
    elif image.mode == "F" and low >= 0 and high <= 255:
        grey, note = np.rint(values * (255 if high <= 1 else 1)).astype(np.uint8), "floating-point values scaled to 8 bits"
    else:
        grey = np.rint((values.astype(np.float64) - low) * (255 / (high - low or 1))).astype(np.uint8)
        note = "values of unknown range stretched to 8 bits"
    grey_image = Image.fromarray(grey)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey_image.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey_image, note
