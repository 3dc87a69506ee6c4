import os
import pickle
import pickletools
import subprocess
import warnings
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sortal.data.pickled import load
from sortal.errors import DataError
from tests.data.cifar_files import python_2

CONTENT = {
    "data": np.arange(12, dtype=np.uint8).reshape(4, 3),
    "labels": [3, 0, 255, 1000],
    "batch_label": "training batch 1 of 5",
}


def same(found: dict, wanted: dict) -> None:
    assert found.keys() == wanted.keys()
    np.testing.assert_array_equal(found["data"], wanted["data"])
    assert found["labels"] == wanted["labels"]


def test_what_python_2_wrote_is_read_as_data():
    found = load(python_2(CONTENT), where="data_batch_1")
    same(found, CONTENT)
    assert found["batch_label"] == b"training batch 1 of 5"
    # The writer of this test is right: Python itself reads the same from it.
    same(pickle.loads(python_2(CONTENT), encoding="latin1"), CONTENT)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("data", [CONTENT["data"], np.asfortranarray(CONTENT["data"])], ids=["by rows", "by columns"])
def test_what_python_3_writes_is_read_too(protocol, data):
    content = {**CONTENT, "data": data}
    same(load(pickle.dumps(content, protocol=protocol), where="x"), content)
    same(load(pickle.dumps({key.encode(): item for key, item in content.items()}, protocol=protocol), where="x"), content)


@given(
    st.dictionaries(
        st.text(max_size=20),
        st.one_of(st.integers(), st.binary(min_size=1), st.text(), st.lists(st.integers(0, 255))),
        max_size=5,
    ),
    st.integers(3, pickle.HIGHEST_PROTOCOL),
)
def test_plain_dictionaries_come_back_as_they_were(content, protocol):
    assert load(pickle.dumps(content, protocol=protocol), where="x") == content


class Hostile:
    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture
def victim(tmp_path):
    return tmp_path / "executed"


def hostile_pickles(victim):
    touch = f"touch {victim}"
    return {
        "os.system": Hostile(os.system, touch),
        "builtins.eval": Hostile(eval, f"open({str(victim)!r}, 'w')"),
        "builtins.exec": Hostile(exec, f"open({str(victim)!r}, 'w')"),
        "builtins.getattr": Hostile(getattr, os, "system"),
        "subprocess.Popen": Hostile(subprocess.Popen, ["touch", str(victim)]),
        "collections.OrderedDict": OrderedDict(a=1),
    }


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", hostile_pickles("x"))
@pytest.mark.parametrize(
    "wrap", [lambda x: x, lambda x: {"data": x}, lambda x: {"labels": [[x]]}, lambda x: {"a": (1, x)}], ids=range(4)
)
def test_a_function_that_is_not_in_the_table_is_refused_by_name_and_never_called(victim, name, protocol, wrap):
    elsewhere = {"os.system": "posix.system", "subprocess.Popen": "(subprocess|commands).Popen"}  # as pickles call them
    asked = elsewhere.get(name, name).replace("builtins", "(builtins|__builtin__)")
    if name == "builtins.getattr":
        asked = ""  # the module that it is called with is refused first
    try:
        data = pickle.dumps(wrap(hostile_pickles(victim)[name]), protocol=protocol)
    except TypeError:
        # A module cannot be pickled: ask for it by hand.
        data = b"\x80\x02}U\x01acbuiltins\ngetattr\ncos\n\nU\x06system\x86R(U\x04trueo" + b"s."
    with pytest.raises(DataError, match=rf"the_file is not a pickle of CIFAR: it .*{asked}.*nothing of it was executed"):
        load(data, where="the_file")
    assert not victim.exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x80\x02}U\x01a(cos\nsystem\nU\x04trueos.", "os.system"),
        (b"(S'touch x'\nios\nsystem\n.", "the operation INST"),
        (b"\x80\x02}U\x01aPid\ns.", "the operation PERSID"),
        (b"\x80\x02}U\x01acnumpy\nload\nU\x01x\x85Rs.", "asks for numpy.load"),
        (b"\x80\x02}U\x01acnumpy\ndtype\nU\x01O\x85Rs.", "calls numpy.dtype with other arguments"),
        (b"\x80\x02}U\x01acnumpy\nndarray\nK\x02\x85Rs.", "calls numpy.ndarray with other arguments"),
        (b"\x80\x02}U\x01acnumpy\ndtype\n)\x81s.", "the operation NEWOBJ"),
        (b"\x80\x02}U\x01a}}U\x01bK\x01sbs.", "sets the state of a value of type dict"),
        (b"\x80\x02}U\x01a\x82\x01s.", "the operation EXT1"),
        (b"\x80\x02K\x01.", "holds a value of type int, not a dictionary"),
        (b"\x80\x02}U\x01acnumpy\ndtype\ns.", "holds numpy.dtype where"),
        (b"\x80\x02}K\x01K\x01s.", "names something by a value of type int"),
        (b"\x80\x02}U\x01a}s.", "holds a value of type dict where"),
        (b"\x80\x02}U\x01acnumpy\n\\s\ns.", r"asks for numpy\.\\s"),
    ],
    ids=range(14),
)
def test_operations_and_values_beyond_the_table_are_refused_by_name(data, words):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of an escape that is none
        list(pickletools.genops(data))  # it is a pickle
    with pytest.raises(DataError, match=words) as caught:
        load(data, where="the_file")
    assert "binary version" in caught.value.hint


@pytest.mark.parametrize("cut", [0, 1, 2, 10, 100, 200, -1])
def test_a_pickle_that_is_cut_short_is_named(cut):
    with pytest.raises(DataError, match="the_file is damaged or no pickle"):
        load(python_2(CONTENT)[:cut], where="the_file")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    try:
        load(data, where="x")
    except DataError:
        return


@given(st.data())
def test_a_pickle_with_changed_bytes_is_read_or_refused(data):
    changed = bytearray(python_2(CONTENT))
    for place in data.draw(st.lists(st.integers(0, len(changed) - 1), min_size=1, max_size=4)):
        changed[place] = data.draw(st.integers(0, 255))
    try:
        load(bytes(changed), where="x")
    except DataError:
        return


def test_a_length_that_lies_reserves_no_memory():
    with pytest.raises(DataError, match="bytes are announced"):
        load(b"\x80\x04\x8e" + (1 << 50).to_bytes(8, "little") + b"abc", where="x")


def test_many_marks_on_a_high_stack_take_no_more_time_than_they_are_long():
    count = 300_000  # a search from the bottom of the stack would look at 90,000 million values
    data = b"\x80\x02}U\x01a](" + b"K\x01" * count + b"(t" * count + b"es."
    with pytest.raises(DataError, match="holds a value of type tuple where"):
        load(data, where="x")


def test_text_that_is_turned_into_bytes_again_and_again_does_not_fill_the_memory():
    text = b"X" + (1000).to_bytes(4, "little") + b"a" * 1000
    again = b"h\x00h\x01h\x02\x86R"
    data = b"\x80\x02}U\x01a](c_codecs\nencode\nq\x00" + text + b"q\x01X\x06\x00\x00\x00latin1q\x02" + again * 50 + b"es."
    with pytest.raises(DataError, match="unfolds to more than the file holds"):
        load(data, where="x")
