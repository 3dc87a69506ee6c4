"""A key that nothing would look at is refused, in whatever company it comes."""

import pytest

from sortal.errors import RecipeError
from sortal.recipe import parse

IGNORED = [
    ({"average": {"decay": 0.9}}, "decay belongs to name = 'ema' and 'lookahead'"),
    ({"head": {"hidden": 64}}, "hidden belongs to kind = 'mlp'"),
    ({"grow": {"until": 0.4}}, "until is when images are whole"),
    ({"schedule": {"start": 0.1}}, "start is where a warm-up begins"),
    ({"stop": {"monitor": "accuracy"}}, "monitor is what patience waits for"),
    ({"strategy": "full", "schedule": {"head_only": 0.5}}, "schedule.head_only: only strategy 'staged'"),
    ({"strategy": "full", "schedule": {"thawed_rate": 0.5}}, "schedule.thawed_rate: only strategy 'staged'"),
    ({"optimizer": {"name": "lbfgs", "decay_all": True}}, "optimizer.decay_all: 'lbfgs'"),
]


@pytest.mark.parametrize(("keys", "told"), IGNORED, ids=[told for _, told in IGNORED])
def test_a_key_that_would_be_ignored_is_refused(keys: dict[str, object], told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse({"strategy": "features"} | keys, place="here")
    assert told in str(caught.value)


COUNTED = [
    {"average": {"name": "ema", "decay": 0.9}},
    {"head": {"kind": "mlp", "hidden": 64}},
    {"strategy": "scratch", "weights": "none", "grow": {"start": 0.5, "until": 0.4}},
    {"schedule": {"start": 0.1, "warmup": 0.1}},
    {"stop": {"monitor": "accuracy", "patience": 2}},
    {"strategy": "staged", "schedule": {"head_only": 0.5, "thawed_rate": 0.5}},
]


@pytest.mark.parametrize("keys", COUNTED, ids=str)
def test_where_it_counts_it_is_taken(keys: dict[str, object]) -> None:
    parse({"strategy": "features"} | keys, place="here")
