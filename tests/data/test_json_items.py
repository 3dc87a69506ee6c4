import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sortal.data import json_items
from sortal.data.json_items import items
from sortal.errors import DataError

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3),
)


@given(st.dictionaries(st.text(), st.lists(values) | values, max_size=4), st.integers(1, 30), st.sampled_from([None, 2]))
def test_the_items_of_wanted_lists_come_in_order_however_the_file_is_cut_into_blocks(tmp_path_factory, content, block, indent):
    path = tmp_path_factory.mktemp("x") / "x.json"
    path.write_text(json.dumps(content, indent=indent), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_items, "BLOCK", block)
        found = list(items(path, content))
        none = list(items(path, ()))
    assert found == [(key, item) for key, values in content.items() if isinstance(values, list) for item in values]
    assert none == []


@pytest.mark.parametrize(
    "text",
    ["", "[1]", "12", '{"a": [1, 2', '{"a": [1, 2]', '{"a": [1, {"b": 2]}', '{"a": nul', "{1: [2]}", '{"a": [' + "[" * 100_000],
)
def test_a_file_that_is_cut_short_or_no_object_is_named(tmp_path, text):
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(DataError, match=r"train\.json is damaged, cut short or no JSON object"):
        list(items(tmp_path / "train.json", ("a",)))


def test_bytes_that_are_no_text_and_a_folder_are_named(tmp_path):
    (tmp_path / "train.json").write_bytes(b'{"a": ["\xff"]}')
    with pytest.raises(DataError, match=r"train\.json is damaged"):
        list(items(tmp_path / "train.json", ("a",)))
    with pytest.raises(DataError, match="cannot be read"):
        list(items(tmp_path, ("a",)))
