"""The one decoder: whatever a person's file is, the RGB that a person sees, or a plain reason."""

import contextlib
import io
import struct
import threading
import warnings
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageFile

from sortal.errors import UnreadableImage
from sortal.preprocess import Preprocess, TooManyPixels, network_pixels, open_rgb, stored_pixels
from sortal.whole import PASSES, has_all_lines

RED, BLUE = (250, 10, 20), (10, 20, 250)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def pixel(data: bytes, at: tuple[int, int] = (0, 0)) -> tuple[int, int, int]:
    image, _, _, _ = open_rgb(data)
    assert image.mode == "RGB"
    return image.getpixel(at)


def near(found: tuple[int, int, int], wanted: tuple[int, int, int], within: int = 6) -> bool:
    return max(abs(a - b) for a, b in zip(found, wanted, strict=True)) <= within


def test_an_image_of_the_right_size_is_not_changed_by_a_single_byte() -> None:
    image = noise(28, 28)
    pixels = stored_pixels(encoded(image), Preprocess(28, 28))
    assert pixels.dtype == np.uint8
    assert pixels.tobytes() == image.tobytes()


def test_a_grey_image_of_the_right_size_keeps_its_bytes_in_one_channel() -> None:
    grey = noise(28, 28).convert("L")
    pixels = stored_pixels(encoded(grey), Preprocess(28, 28, channels=1, mean=(0.5,), std=(0.5,)))
    assert pixels.shape == (28, 28, 1)
    assert pixels.tobytes() == grey.tobytes()


def test_one_channel_of_a_colour_image_is_its_luminance() -> None:
    pixels = stored_pixels(
        encoded(Image.new("RGB", (8, 8), (255, 0, 0))), Preprocess(8, 8, channels=1, mean=(0.5,), std=(0.5,))
    )
    assert set(pixels.ravel().tolist()) == {76}  # 0.299 x 255


def test_the_centre_square_is_what_is_kept() -> None:
    image = Image.new("RGB", (30, 10), RED)
    image.paste(BLUE, (10, 0, 20, 10))
    pixels = stored_pixels(encoded(image), Preprocess(10, 10))
    assert (pixels == BLUE).all()


def test_resizing_the_square_equals_resizing_the_whole_and_cropping() -> None:
    image = noise(64, 32)
    pixels = stored_pixels(encoded(image), Preprocess(16, 16, interpolation="bicubic"))
    whole = np.asarray(image.resize((32, 16), Image.Resampling.BICUBIC))[:, 8:24]
    np.testing.assert_allclose(pixels.astype(int), whole.astype(int), atol=1)


def test_bilinear_and_bicubic_differ() -> None:
    data = encoded(noise(40, 40))
    linear, cubic = (stored_pixels(data, Preprocess(16, 16, interpolation=name)) for name in ("bilinear", "bicubic"))
    assert (linear != cubic).any()


@given(width=st.integers(1, 60), height=st.integers(1, 60), side=st.integers(8, 40))
def test_stored_pixels_have_the_promised_shape_whatever_the_image(width: int, height: int, side: int) -> None:
    assert stored_pixels(encoded(noise(width, height)), Preprocess(side, side)).shape == (side, side, 3)


def test_a_very_long_image_needs_no_more_memory_than_its_square() -> None:
    pixels = stored_pixels(encoded(Image.new("RGB", (1_000_000, 2), RED)), Preprocess(224, 224))
    assert (pixels == RED).all()


def test_network_pixels_are_the_centre_of_stored_pixels() -> None:
    stored = np.arange(6 * 6 * 3, dtype=np.uint8).reshape(1, 6, 6, 3)
    np.testing.assert_array_equal(network_pixels(stored, Preprocess(size=2, resize=6)), stored[:, 2:4, 2:4])


def test_a_large_jpeg_is_decoded_at_a_smaller_scale_and_its_full_size_is_told() -> None:
    data = encoded(Image.new("RGB", (1600, 800), RED), "JPEG")
    image, width, height, _ = open_rgb(data, at_least=100)
    assert (width, height) == (1600, 800)
    assert image.size == (200, 100)


@given(width=st.integers(50, 400), height=st.integers(50, 400), at_least=st.integers(1, 80))
def test_scaled_decoding_keeps_the_pixels_asked_for(width: int, height: int, at_least: int) -> None:
    image, *_ = open_rgb(encoded(Image.new("RGB", (width, height)), "JPEG"), at_least=at_least)
    assert min(image.size) >= min(at_least, width, height)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_undone(orientation: int) -> None:
    upright = Image.new("RGB", (32, 16), RED)
    upright.paste(BLUE, (0, 0, 16, 8))  # blue at the upper left
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # PIL's transposition that makes the stored form, by orientation
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image, width, height, _ = open_rgb(encoded(stored, "JPEG", exif=exif, quality=95, subsampling=0))
    assert (width, height) == image.size == (32, 16)
    assert near(image.getpixel((4, 3)), BLUE)
    assert near(image.getpixel((28, 3)), RED)
    assert near(image.getpixel((4, 13)), RED)


def test_damaged_exif_is_passed_over_in_silence() -> None:
    data = encoded(Image.new("RGB", (8, 8), RED), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12garbage")
    assert near(pixel(data), RED)


def test_a_palette_becomes_its_colours() -> None:
    assert near(pixel(encoded(Image.new("RGB", (4, 4), RED).quantize(4))), RED)


def half_transparent(mode: str) -> Image.Image:
    image = Image.new("RGBA", (4, 4), (*RED, 255))
    image.paste((0, 0, 0, 0), (0, 0, 2, 4))
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_drawn_on_white_and_said(mode: str) -> None:
    image, _, _, note = open_rgb(encoded(half_transparent(mode)))
    assert image.getpixel((0, 0)) == (255, 255, 255)
    assert image.getpixel((3, 3)) != (255, 255, 255)
    assert note == "transparency drawn on white"


def test_transparency_of_a_palette_is_drawn_on_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *BLUE])
    image.putdata([0, 1])
    for transparency in (0, bytes([0, 255])):
        opened, _, _, note = open_rgb(encoded(image, transparency=transparency))
        assert [opened.getpixel((0, 0)), opened.getpixel((1, 0))] == [(255, 255, 255), BLUE]
        assert note == "transparency drawn on white"


def test_a_transparent_colour_is_drawn_on_white() -> None:
    image = Image.new("RGB", (2, 1), RED)
    image.putpixel((1, 0), BLUE)
    opened, *_ = open_rgb(encoded(image, transparency=RED))
    assert [opened.getpixel((0, 0)), opened.getpixel((1, 0))] == [(255, 255, 255), BLUE]


def test_an_alpha_channel_that_is_opaque_everywhere_is_not_worth_a_note() -> None:
    image, _, _, note = open_rgb(encoded(Image.new("RGBA", (4, 4), (*RED, 255))))
    assert image.getpixel((0, 0)) == RED
    assert note == ""


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_cut_off(kind: str) -> None:
    values = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    image, _, _, note = open_rgb(encoded(Image.fromarray(values), kind))
    assert [image.getpixel((x, 0))[0] for x in range(4)] == [0, 1, 128, 255]
    assert note == "16 bits scaled to 8"


def test_whole_numbers_of_32_bits_count_as_16_bits_where_they_fit() -> None:
    image, *_ = open_rgb(encoded(Image.fromarray(np.array([[0, 65535]], dtype=np.int32)), "TIFF"))
    assert [image.getpixel((x, 0))[0] for x in range(2)] == [0, 255]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([0, 0.5, 1], [0, 128, 255]),
        ([0, 100, 255], [0, 100, 255]),
        ([-5, 0, 5], [0, 128, 255]),
        ([float("nan"), 0, 1], [0, 0, 255]),
    ],
)
def test_floating_point_values_are_scaled_by_their_range(values: list[float], wanted: list[int]) -> None:
    image, *_ = open_rgb(encoded(Image.fromarray(np.array([values], dtype=np.float32)), "TIFF"))
    assert [image.getpixel((x, 0))[0] for x in range(3)] == wanted


def test_a_flat_image_of_unknown_range_is_no_division_by_zero() -> None:
    assert pixel(encoded(Image.fromarray(np.full((2, 2), -7, dtype=np.float32)), "TIFF")) == (0, 0, 0)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_the_colour_that_was_printed(kind: str) -> None:
    assert near(pixel(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), kind)), (255, 0, 0))


def test_black_and_white_and_grey_become_rgb() -> None:
    assert pixel(encoded(Image.new("1", (4, 4), 1))) == (255, 255, 255)
    assert pixel(encoded(Image.new("L", (4, 4), 77))) == (77, 77, 77)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_of_several_frames_is_taken_and_said(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), BLUE)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {}))
    image, _, _, note = open_rgb(data)
    assert near(image.getpixel((0, 0)), RED)
    assert note == "first of several frames"


def test_the_second_picture_of_a_phones_jpeg_is_no_animation() -> None:
    data = encoded(noise(32, 32), "MPO", save_all=True, append_images=[noise(16, 16)])
    assert open_rgb(data)[3] == ""


def refused(data: bytes, **options: int) -> str:
    with pytest.raises(UnreadableImage) as caught:
        open_rgb(data, **options)
    return str(caught.value)


def test_an_empty_file_says_so() -> None:
    assert refused(b"") == "the file is empty"


@pytest.mark.parametrize(
    "data", [b"hello, I am a README\n", b"\0" * 100, b"%PDF-1.7", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"]
)
def test_what_is_no_image_says_so(data: bytes) -> None:
    assert refused(data) == "not an image"


def test_a_heic_photograph_is_named_as_what_it_is() -> None:
    assert "HEIC" in refused(b"\0\0\0\x18ftypheic" + b"\0" * 50)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_an_image_that_was_cut_short_is_refused(kind: str, share: float) -> None:
    data = encoded(noise(64, 64), kind)
    reason = refused(data[: int(len(data) * share)])
    assert "truncated" in reason or "damaged" in reason


def lines_left_out(image: Image.Image, lines: int) -> bytes:
    """A PNG, complete as a file, whose packed data end so many lines before the picture does."""
    data = encoded(image)
    at = data.index(b"IDAT") - 4
    length = int.from_bytes(data[at : at + 4], "big")
    assert data[at + 12 + length :][4:8] == b"IEND", "one chunk of data"
    unpacked = zlib.decompress(data[at + 8 : at + 8 + length])
    kept = unpacked[: len(unpacked) * (image.height - lines) // image.height]
    return data[:at] + chunk(b"IDAT", zlib.compress(kept)) + data[at + 12 + length :]


def chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
@pytest.mark.parametrize("lines", [1, 3, 10])
def test_a_png_whose_data_end_before_its_picture_does_is_refused_not_black_below(mode: str, lines: int) -> None:
    picture = Image.fromarray(np.full((20, 30), 500, np.uint16)) if mode == "I;16" else noise(30, 20).convert(mode)
    assert open_rgb(lines_left_out(picture, 0))[1:3] == (30, 20)
    assert refused(lines_left_out(picture, lines)) == "truncated: the PNG's data end before its picture does"


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "1", "P"])
def test_a_png_that_is_black_below_or_everywhere_is_read(mode: str) -> None:
    black = Image.new(mode, (30, 20))
    for picture in (black, ImageChops.lighter(noise(30, 20).convert("L"), black.convert("L")).convert(mode)):
        picture.paste(0 if mode in ("L", "1", "P") else (0,) * len(mode), (0, 10, 30, 20))
        assert open_rgb(encoded(picture))[1:3] == (30, 20)


@pytest.mark.parametrize(("width", "height"), [(8, 8), (5, 1), (1, 1), (9, 14), (3, 7)])
def test_an_interlaced_png_is_read_whole_and_refused_without_its_last_line(width: int, height: int) -> None:
    pixels = np.random.default_rng(0).integers(1, 256, (height, width), dtype=np.uint8)
    lines = [
        b"\0" + pixels[y, left::across].tobytes()
        for left, across, top, down in PASSES
        for y in range(top, height, down)
        if left < width
    ]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1))

    def png(lines: list[bytes]) -> bytes:
        return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"".join(lines))) + chunk(b"IEND", b"")

    np.testing.assert_array_equal(np.asarray(open_rgb(png(lines))[0])[..., 0], pixels)
    assert refused(png(lines[:-1])).startswith("truncated")


def test_what_is_packed_a_thousand_to_one_or_in_many_chunks_is_whole() -> None:
    black = encoded(Image.new("RGB", (3_000, 2_000)))
    assert has_all_lines(black)
    at = black.index(b"IDAT") - 4
    length = int.from_bytes(black[at : at + 4], "big")
    packed = black[at + 8 : at + 8 + length]
    parts = b"".join(chunk(b"IDAT", packed[low : low + 7]) for low in range(0, length, 7))
    assert has_all_lines(black[:at] + parts + black[at + 12 + length :])
    assert not has_all_lines(black[:at] + parts[:-200] + black[at + 12 + length :])
    with pytest.raises(ValueError, match="without a header"):
        has_all_lines(black[:8])


def test_a_progressive_jpeg_that_was_cut_short_is_refused_also_at_small_scale() -> None:
    data = encoded(noise(512, 512), "JPEG", progressive=True)
    assert "truncated" in refused(data[: len(data) // 2], at_least=64)


def test_another_librarys_wish_to_fill_truncated_images_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = encoded(noise(64, 64), "JPEG")
    assert "truncated" in refused(data[: len(data) // 2])


def test_an_image_beyond_the_limit_is_refused_by_its_header() -> None:
    # The header states 400 megapixels; nothing that could be decoded follows it.
    data = encoded(Image.new("L", (2, 2)))
    huge = data[:16] + (20_000).to_bytes(4, "big") * 2 + data[24:]
    with pytest.raises(TooManyPixels, match="20,000 x 20,000 pixels are more than the limit of 100,000,000"):
        open_rgb(with_header_checksum(huge))


def with_header_checksum(png: bytes) -> bytes:
    return png[:29] + zlib.crc32(png[12:29]).to_bytes(4, "big") + png[33:]


def test_the_limit_is_ours_and_not_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    data = encoded(noise(10, 10))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_rgb(data, max_pixels=100)[1:3] == (10, 10)
    assert "100" not in refused(data, max_pixels=99).split("limit of")[0]


def test_pillows_warnings_neither_show_nor_make_an_image_unreadable() -> None:
    broken = encoded(Image.new("RGB", (8, 8), RED), "PNG")
    # An animation control chunk that promises no frames: Pillow warns and shows the picture.
    chunk = b"acTL" + bytes(8)
    animated = broken[:33] + (8).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") + broken[33:]
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        assert pixel(animated) == RED
    assert shown == []


@given(st.data())
def test_damage_anywhere_gives_an_image_or_a_reason_and_nothing_else(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO"]))
    whole = bytearray(encoded(noise(16, 16), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UnreadableImage):
        image, *_ = open_rgb(bytes(whole), max_pixels=100_000)
        assert image.mode == "RGB"


def test_many_threads_decode_the_same_pixels() -> None:
    files = [encoded(noise(50, 40, seed), "JPEG") for seed in range(12)]
    wanted = [stored_pixels(data, Preprocess(32, 32)) for data in files]
    found: dict[int, np.ndarray] = {}

    def work(start: int) -> Callable[[], None]:
        def decode() -> None:
            for number in range(start, len(files), 4):
                found[number] = stored_pixels(files[number], Preprocess(32, 32))

        return decode

    threads = [threading.Thread(target=work(start)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((found[number] == pixels).all() for number, pixels in enumerate(wanted))
