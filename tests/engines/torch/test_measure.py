"""Choosing precision and layout by measuring."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from sortal.engines.torch import device, measure
from sortal.engines.torch.models.body import Body
from sortal.engines.torch.network import Network
from sortal.errors import MachineFailed, NotSupported, OutOfMemory
from sortal.preprocess import Preprocess
from sortal.recipe import Grow, Recipe

RECIPE = Recipe(model="lenet5", weights="none", strategy="scratch", image_size=16, channels=1)


def network() -> Network:
    return Network(Body({}, 1), torch.nn.Linear(1, 2), Preprocess(16, 16, 1, mean=(0.5,), std=(0.5,)))


def choose(recipe: Recipe, make: Callable[[], Any] = lambda: None) -> tuple[str, str, str]:
    return measure.training_choice(recipe, make, size=16, classes=2)


@pytest.mark.parametrize(("has_bf16", "tried"), [(True, "bf16"), (False, "fp16")])
def test_an_accelerator_from_before_bf16_is_tried_with_fp16(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool, tried: str
) -> None:
    monkeypatch.setattr(device, "accelerator", lambda: "cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    monkeypatch.setattr(measure, "_seconds_a_step", lambda _, precision, *rest: 1.0 if precision == "float32" else 0.5)
    assert choose(RECIPE)[:2] == (tried, "channels_last")


def test_a_reduced_precision_has_to_earn_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_seconds_a_step", lambda _, precision, *rest: 1.0 if precision == "float32" else 0.95)
    assert choose(RECIPE)[0] == "float32"


def test_what_a_recipe_says_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_seconds_a_step", lambda *_: 1.0)
    assert choose(RECIPE.model_copy(update={"precision": "fp16", "layout": "nchw"}))[:2] == ("fp16", "nchw")


def test_a_network_without_half_precision_on_this_device_is_refused_before_the_first_step() -> None:
    class WholeOnly(Network):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("\"some_kernel\" not implemented for 'Half'")

    with pytest.raises(NotSupported, match="some_kernel"):
        choose(
            RECIPE.model_copy(update={"precision": "fp16"}),
            lambda: WholeOnly(Body({}, 1), torch.nn.Linear(1, 2), Preprocess(16, 16, 1, mean=(0.5,), std=(0.5,))),
        )


def test_a_candidate_that_is_hopeless_is_given_up_after_its_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 3.0])
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(clock))
    steps = list[int]()
    assert measure.best_of(lambda: steps.append(1), hopeless=2.0) == 3.0
    assert len(steps) == 1


def test_what_is_likely_to_be_fast_is_measured_first_and_sets_the_bound_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[tuple[str, str, float]]()

    def step(_: object, precision: str, layout: str, *rest: object) -> float:
        seen.append((precision, layout, float(rest[-1])))  # type: ignore[arg-type]
        return 0.5

    monkeypatch.setattr(measure, "_seconds_a_step", step)
    choose(RECIPE)
    assert seen == [
        ("bf16", "channels_last", float("inf")), ("float32", "channels_last", 1.0), ("float32", "nchw", 1.0),
    ]  # fmt: skip


def test_what_memory_has_no_room_for_is_out_and_with_room_for_none_fewer_images_are_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = list[tuple[str, int]]()

    def step(_: object, precision: str, layout: str, count_and_size: tuple[int, int], *rest: object) -> float:
        tried.append((precision, count_and_size[0]))
        if count_and_size[0] > 8 or precision == "float32":
            raise OutOfMemory("out of memory")
        return 1.0

    monkeypatch.setattr(measure, "_seconds_a_step", step)
    precision, _, told = choose(RECIPE.model_copy(update={"batch_size": 32}))
    assert precision == "bf16"
    assert "float32" not in told
    assert [count for precision, count in tried if precision == "bf16"] == [32, 16, 8]
    monkeypatch.setattr(measure, "_seconds_a_step", lambda *_: step(_, "float32", "nchw", (9, 16)))
    with pytest.raises(MachineFailed, match="one image at a time"):
        choose(RECIPE)


@pytest.mark.parametrize(("shown", "chosen"), [(120, "off"), (10**9, "on")])
def test_a_network_is_compiled_where_the_training_is_long_enough_to_win_back_the_time(
    monkeypatch: pytest.MonkeyPatch, shown: int, chosen: str
) -> None:
    clock = iter([0.0, 30.0])
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(measure, "_seconds_a_step", lambda *_, deterministic=None: 2.0 if deterministic is None else 1.0)
    recipe = RECIPE.model_copy(update={"precision": "float32", "layout": "nchw", "batch_size": 4})
    found, why = measure.compiling_choice(recipe, network, size=16, classes=2, shown=shown)
    assert found == chosen
    assert "2 as it is, 4 compiled, which takes 30 s" in why


def test_each_side_that_images_grow_to_is_compiled_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_seconds_a_step", lambda *_, deterministic=None: 2.0 if deterministic is None else 1.0)
    recipe = RECIPE.model_copy(update={"precision": "float32", "layout": "nchw", "batch_size": 4})
    for grow, chosen in ((Grow(), "on"), (Grow(start=0.5), "off")):
        clock = iter([0.0, 30.0])
        monkeypatch.setattr(measure.time, "perf_counter", lambda clock=clock: next(clock))
        growing = recipe.model_copy(update={"grow": grow})
        found, why = measure.compiling_choice(growing, network, size=16, classes=2, shown=200)
        assert found == chosen, why


def test_a_training_that_is_over_in_a_minute_is_not_held_up_by_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[object]()
    monkeypatch.setattr(measure, "_seconds_a_step", lambda *_, deterministic=None: asked.append(deterministic) or 0.01)
    recipe = RECIPE.model_copy(update={"precision": "float32", "layout": "nchw", "batch_size": 4})
    found, why = measure.compiling_choice(recipe, network, size=16, classes=2, shown=400)
    assert (found, asked) == ("off", [None])
    assert "about 1 s" in why


def test_a_network_that_cannot_be_compiled_is_trained_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(*_: object, deterministic: bool | None = None) -> float:
        if deterministic is None:
            return 1.0
        raise RuntimeError("no such kernel\nand a long trace")

    monkeypatch.setattr(measure, "_seconds_a_step", step)
    recipe = RECIPE.model_copy(update={"precision": "float32", "layout": "nchw"})
    found, why = measure.compiling_choice(recipe, network, size=16, classes=2, shown=10**9)
    assert (found, why) == ("off", "it cannot be compiled here: no such kernel")


def test_as_many_images_are_measured_with_as_go_through_the_network_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = set[int]()
    monkeypatch.setattr(measure, "_seconds_a_step", lambda *words: counts.add(words[3][0]) or 1.0)
    choose(RECIPE.model_copy(update={"batch_size": 32, "micro_batch": 4}))
    assert counts == {4}


@pytest.mark.parametrize(("seconds", "steps"), [(0.01, 1 + 8), (0.2, 1 + 3), (5.0, 1 + 2)])
def test_short_steps_are_repeated_for_half_a_second_and_the_best_counts(
    monkeypatch: pytest.MonkeyPatch, seconds: float, steps: int
) -> None:
    now = [0.0]
    monkeypatch.setattr(measure.time, "perf_counter", lambda: now[0])
    taken = list[int]()

    def action() -> None:
        taken.append(1)
        now[0] += seconds

    assert measure.best_of(action) == pytest.approx(seconds)
    assert len(taken) == steps
