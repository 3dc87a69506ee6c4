"""What a file says of itself is read as it stands there, and damage in it is silence."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, TiffImagePlugin

from sortal.data.made import FACTS, made
from sortal.preprocess import open_rgb


def noise(mode: str = "RGB", side: int = 24) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)).convert(mode)


def saved(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def said(data: bytes) -> dict[str, object]:
    return dict(made(data, open_rgb(data)[0].info))


def exif() -> Image.Exif:
    found = Image.Exif()
    found[0x010F], found[0x0110], found[0x0131], found[0x0112] = "Maker\0", "M 1 ", "Edit 2", 6
    inner = found.get_ifd(0x8769)
    inner[0x829A], inner[0x829D], inner[0x8827], inner[0x920A] = 1 / 250, 2.8, 400, 50.0
    inner[0x9003], inner[0x9209] = "2009:07:14 12:30:00", 16
    where = found.get_ifd(0x8825)
    where[1], where[2], where[3], where[4] = "S", (33.0, 51.0, 36.0), "E", (151.0, 12.0, 0.0)
    return found


PHOTOGRAPHED = {
    "camera": "Maker / M 1", "software": "Edit 2", "orientation": "6", "exposure time": 1 / 250, "f-number": 2.8, "ISO": 400.0,
    "focal length": 50.0, "flash": "16", "date": 14_439.0, "place": [-33.86, 151.2],
}  # fmt: skip


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_camera_exposure_date_and_place_are_read_also_of_a_turned_picture(kind: str) -> None:
    found = said(saved(noise(), kind, exif=exif()))
    assert found["format"] == kind
    for name, value in PHOTOGRAPHED.items():
        assert found[name] == (pytest.approx(value, rel=1e-4) if not isinstance(value, str) else value), name


def test_a_tiff_is_read_as_the_exif_data_that_it_is() -> None:
    found = said(saved(noise(), "TIFF", exif=exif()))  # Pillow writes the outer part alone
    assert (found["format"], found["camera"], found["software"]) == ("TIFF", "Maker / M 1", "Edit 2")
    assert found["orientation"] == "6"


def test_a_file_that_says_nothing_has_a_format_alone() -> None:
    assert said(saved(noise(), "PNG")) == {"format": "PNG"}
    assert said(saved(noise(), "GIF")) == {"format": "GIF"}


def test_jpegs_of_one_quality_have_the_same_tables_and_the_quality_is_told() -> None:
    tables = [
        said(saved(picture, quality=quality))["JPEG tables"] for quality in (30, 75, 95) for picture in (noise(), noise(side=9))
    ]
    assert tables[::2] == tables[1::2]
    assert len(set(tables)) == 3
    assert [str(each).split("like quality ")[1] for each in tables[::2]] == ["30", "75", "95"]


@pytest.mark.parametrize(("number", "name"), [(0, "4:4:4"), (1, "4:2:2"), (2, "4:2:0")])
def test_chroma_subsampling_is_told_by_its_usual_name(number: int, name: str) -> None:
    assert said(saved(noise(), subsampling=number))["chroma subsampling"] == name
    assert said(saved(noise(), subsampling=number, progressive=True))["chroma subsampling"] == name


def test_a_grey_jpeg_has_tables_and_no_subsampling() -> None:
    assert set(said(saved(noise("L")))) == {"format", "JPEG tables"}


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_colour_profile_is_told_by_its_name_and_one_without_by_its_bytes(kind: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert said(saved(noise(), kind, icc_profile=profile))["colour profile"] == "sRGB built-in"
    nameless = [made(b"", {"icc_profile": bytes([number]) * 200})["colour profile"] for number in (1, 2)]
    assert nameless[0] != nameless[1]


def test_a_colour_profile_of_the_second_version_has_its_name_in_ascii() -> None:
    name = b"Adobe RGB (1998)\0"
    tag = b"desc" + bytes(4) + struct.pack(">I", len(name)) + name
    profile = bytes(128) + struct.pack(">I", 1) + b"desc" + struct.pack(">II", 144, len(tag)) + tag
    assert made(b"", {"icc_profile": profile})["colour profile"] == "Adobe RGB (1998)"


def test_resolution_is_told_in_whole_dots() -> None:
    assert said(saved(noise(), dpi=(300, 300)))["resolution"] == "300 x 300 dpi"
    assert said(saved(noise(), "PNG", dpi=(72, 72)))["resolution"] == "72 x 72 dpi"
    assert "resolution" not in made(b"", {"dpi": (float("nan"), None)})


@pytest.mark.parametrize("raw", [b"Exif\0\0broken", b"", b"\xff" * 40, b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_damaged_exif_data_counts_as_none(raw: bytes) -> None:
    assert made(b"", {"exif": raw}) == {"format": ""}


@pytest.mark.parametrize("day", ["0000:00:00 00:00:00", "yesterday", "", "2009:13:45"])
def test_a_clock_that_was_never_set_is_no_date(day: str) -> None:
    found = Image.Exif()
    found[0x0132] = day
    assert "date" not in said(saved(noise(), exif=found))


def test_a_number_over_nothing_is_left_out() -> None:
    found = exif()
    found.get_ifd(0x8769)[0x829A] = TiffImagePlugin.IFDRational(1, 0)
    told = said(saved(noise(), exif=found))
    assert "exposure time" not in told
    assert told["f-number"] == pytest.approx(2.8)


@given(st.data())
def test_damage_anywhere_gives_words_and_numbers_and_no_error(data: st.DataObject) -> None:
    whole = saved(noise(), exif=exif(), dpi=(300, 300))
    place = data.draw(st.integers(2, len(whole) - 1))
    damaged = whole[:place] + data.draw(st.binary(max_size=8)) + whole[place + data.draw(st.integers(0, 8)) :]
    raw = exif().tobytes()
    cut = data.draw(st.integers(0, len(raw)))
    found = made(damaged, {"exif": raw[:cut] + data.draw(st.binary(max_size=8)) + raw[cut + 4 :], "icc_profile": raw[cut:]})
    assert set(found) <= set(FACTS)
    assert all(isinstance(value, str | float | list) for value in found.values())
