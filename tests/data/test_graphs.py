import pytest

from sortal.data.graphs import Graph, kept
from sortal.data.store import Cache


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path, limit=1_000)


def never() -> Graph:
    raise AssertionError("it is there already")


def test_a_graph_is_made_once_and_found_again_with_what_is_known_of_it(cache):
    made = Graph(b"onnx", {"size": 96})
    assert kept(cache, "net at 96", lambda: made) == made
    assert kept(cache, "net at 96", never) == made


def test_another_key_is_another_graph(cache):
    kept(cache, "net at 96", lambda: Graph(b"one", {}))
    assert kept(cache, "net at 128", lambda: Graph(b"other", {})).onnx == b"other"


@pytest.mark.parametrize("damage", [("graph.onnx", b"onn"), ("store.json", b"{"), ("store.json", b"[]")])
def test_a_damaged_one_is_made_again(cache, damage):
    kept(cache, "net", lambda: Graph(b"onnx", {}))
    (path,) = cache.stores.glob(f"graphs/*/{damage[0]}")
    path.write_bytes(damage[1])
    assert kept(cache, "net", lambda: Graph(b"new", {})).onnx == b"new"
    assert kept(cache, "net", never).onnx == b"new"


def test_what_does_not_fit_under_the_limit_is_made_and_not_kept(cache):
    large = Graph(b"x" * 2_000, {})
    assert kept(cache, "net", lambda: large) == large
    with pytest.raises(AssertionError, match="there already"):
        kept(cache, "net", never)


def test_it_is_listed_and_cleared_with_the_other_stores(cache):
    kept(cache, "net", lambda: Graph(b"onnx", {}))
    (info,) = cache.list_stores()
    assert (info.kind, info.key, info.rows) == ("graphs", "net", 0)
    assert cache.clear() > 0
    assert cache.list_stores() == []
