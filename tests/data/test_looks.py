import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from sortal.data.looks import LENGTH, NUMBERS, Looks, look
from sortal.preprocess import open_rgb


def seen(image: Image.Image, kind: str = "PNG", **options: object) -> Looks:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    decoded, width, height, _ = open_rgb(buffer.getvalue(), at_least=64)
    return look([decoded], [buffer.getvalue()], [(width, height)])[0]


def number(looks: Looks, name: str) -> np.ndarray:
    start = sum(list(NUMBERS.values())[: list(NUMBERS).index(name)])
    return looks.numbers[start : start + NUMBERS[name]]


def noise(side: int = 96, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


def test_the_numbers_of_an_even_picture_are_its_colour_and_nothing_else():
    looks = seen(Image.new("RGB", (80, 70), (255, 0, 51)))
    assert looks.numbers.shape == (LENGTH,)
    assert number(looks, "contrast") == 0
    assert number(looks, "commonest") == 1
    np.testing.assert_allclose(number(looks, "colour"), [1, 0, 0.2, 0, 0, 0], atol=1e-5)
    np.testing.assert_allclose(number(looks, "border"), [1, 0, 0.2, 0] * 4, atol=1e-5)


def test_a_frame_is_seen_in_the_border_and_hardly_in_the_mean():
    framed = noise()
    framed.paste((255, 0, 0), (0, 0, 96, 6))
    top, bottom = number(seen(framed), "border")[:4], number(seen(framed), "border")[4:8]
    np.testing.assert_allclose(top, [1, 0, 0, 0], atol=1e-6)
    assert 0.3 < bottom[0] < 0.7


def test_a_blurred_picture_has_less_detail_than_a_sharp_one():
    rough = noise(24).resize((400, 400), Image.Resampling.NEAREST)
    assert number(seen(rough.filter(ImageFilter.GaussianBlur(12))), "detail") < 0.6 * number(seen(rough), "detail")


def test_a_drawing_has_few_colours_and_one_that_is_common():
    drawing = Image.new("RGB", (300, 300), "white")
    drawing.paste((60, 60, 60), (50, 120, 250, 160))
    assert number(seen(drawing), "commonest") > 0.8
    assert number(seen(drawing), "colours") < 0.01
    assert number(seen(noise()), "colours") > 0.3


def test_light_is_told_without_the_darkest_and_the_lightest_hundredth():
    picture = Image.new("L", (100, 100), 30)
    picture.putpixel((5, 5), 255)
    assert number(seen(picture), "lightest") == 30


def test_the_same_pixels_in_another_file_are_the_same_and_one_other_pixel_is_not():
    picture = noise()
    other = picture.copy()
    other.putpixel((3, 3), (0, 0, 0))
    assert seen(picture).pixels == seen(picture, "BMP").pixels == seen(picture, "TIFF").pixels
    assert seen(picture).pixels != seen(other).pixels


def test_even_pictures_of_two_sizes_have_other_pixels():
    assert seen(Image.new("RGB", (64, 64))).pixels != seen(Image.new("RGB", (32, 128))).pixels


def test_what_the_file_says_of_itself_is_kept_also_of_a_turned_picture():
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0131], exif[0x0112] = "Maker", "M 1", "Edit 2", 6
    made = seen(noise(), "JPEG", exif=exif).made
    assert (made["camera"], made["software"], made["orientation"]) == ("Maker / M 1", "Edit 2", "6")
    assert "camera" not in seen(noise(), "JPEG").made


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 2)])
def test_the_smallest_pictures_have_numbers_too(size):
    assert np.isfinite(seen(Image.new("RGB", size, "red")).numbers).all()


def test_a_large_picture_is_judged_small():
    large = noise(64).resize((640, 640), Image.Resampling.NEAREST)
    np.testing.assert_allclose(seen(large).numbers[:5], seen(noise(64)).numbers[:5], rtol=0.05, atol=0.5)


def test_pictures_looked_at_together_have_the_looks_that_each_has_alone():
    pictures = [noise(32, seed) for seed in range(3)] + [noise(96), Image.new("RGB", (32, 32), "red"), noise(32, 9)]
    datas, sizes = [bytes(number) for number in range(len(pictures))], [picture.size for picture in pictures]
    together = look(pictures, datas, sizes)
    for looks, *one in zip(together, pictures, datas, sizes, strict=True):
        (alone,) = look(*([each] for each in one))
        np.testing.assert_allclose(looks.numbers, alone.numbers, atol=1e-4)
        assert (looks.pixels, looks.bytes) == (alone.pixels, alone.bytes)


def test_grey_levels_are_pillows():
    picture = noise(10)
    ordered = np.sort(np.asarray(picture.convert("L")), axis=None)
    assert (number(seen(picture), "darkest"), number(seen(picture), "lightest")) == (ordered[1], ordered[-2])
    assert number(seen(picture), "contrast") == pytest.approx(np.asarray(picture.convert("L")).std(), rel=1e-5)
