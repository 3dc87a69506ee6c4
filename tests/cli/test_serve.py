"""`sortal serve`: what is said on the command line reaches the workflow."""

import pytest

from sortal.serving.limits import Limits


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SORTAL_TOKEN", raising=False)


def test_a_run_is_served_on_this_machine_alone_unless_more_is_said(sortal, calls) -> None:
    calls.answer("serve", None)
    outcome = sortal("serve", "runs/a", "b@2=runs/b")
    ((args, kwargs),) = calls.seen
    assert (outcome.code, args) == (0, (("runs/a", "b@2=runs/b"),))
    assert (kwargs["host"], kwargs["port"], kwargs["token"], kwargs["runtime"]) == ("127.0.0.1", 8000, "", "auto")
    assert kwargs["limits"] == Limits()


def test_limits_are_passed_on(sortal, calls) -> None:
    calls.answer("serve", None)
    sortal(
        "serve",
        "a",
        "--max-body",
        2,
        "--max-pixels",
        1000,
        "--queue",
        7,
        "--deadline",
        1.5,
        "--runtime",
        "openvino",
        "--port",
        0,
    )
    (_, kwargs) = calls.seen[0]
    assert kwargs["limits"] == Limits(body=2 << 20, pixels=1000, queue=7, deadline=1.5)
    assert (kwargs["runtime"], kwargs["port"]) == ("openvino", 0)


def test_names_that_are_allowed_are_passed_on_as_often_as_they_are_said(sortal, calls) -> None:
    calls.answer("serve", None)
    sortal("serve", "a")
    sortal("serve", "a", "--allowed-host", "bees.example", "--allowed-host", "www.bees.example")
    assert [list(kwargs["allowed_hosts"]) for _, kwargs in calls.seen] == [[], ["bees.example", "www.bees.example"]]


def test_the_token_comes_from_a_file_or_the_environment_and_never_from_an_option(
    sortal, calls, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls.answer("serve", None)
    (tmp_path / "token").write_text("  from-a-file-of-mine\n")
    monkeypatch.setenv("SORTAL_TOKEN", "from-the-environment")
    sortal("serve", "a")
    sortal("serve", "a", "--token-file", tmp_path / "token")
    assert [kwargs["token"] for _, kwargs in calls.seen] == ["from-the-environment", "from-a-file-of-mine"]
    assert sortal("serve", "a", "--token", "secret").code == 2


def test_a_token_file_that_is_none_is_the_users_mistake(sortal, calls, tmp_path) -> None:
    calls.answer("serve", None)
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "token", tmp_path / "nowhere"):
        outcome = sortal("serve", "a", "--token-file", path)
        assert (outcome.code, "hint:" in outcome.err) == (2, True)
    assert calls.seen == []


@pytest.mark.parametrize(
    "words", [[], ["a", "--port", 70000], ["a", "--queue", 0], ["a", "--deadline", 0], ["a", "--runtime", "torch"]]
)
def test_what_cannot_be_is_refused_before_anything_is_served(sortal, calls, words: list) -> None:
    calls.answer("serve", None)
    assert sortal("serve", *words).code == 2
    assert calls.seen == []
