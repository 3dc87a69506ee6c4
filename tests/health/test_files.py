from sortal.health.files import unreadable


def test_readable_files_give_no_finding():
    assert unreadable(["a"], [None], [["ant"]]) == []
    assert unreadable([], [], []) == []


def test_an_unreadable_file_is_named_with_its_reason():
    (finding,) = unreadable(["a", "b"] + ["x"] * 20, ["is empty", None] + [None] * 20, [["ant"]] * 22)
    assert (finding.kind, finding.severity, finding.images) == ("unreadable", "warning", ("a",))
    assert "1 image of 22 cannot be used and will be left out: a (is empty)" in finding.detail


def test_what_was_set_aside_by_a_decision_is_no_unreadable_file():
    reasons = ["set aside by hand", "set aside by sortal check: is blank", None]
    assert unreadable(["a.png", "b.png", "c.png"], reasons, [["x"], ["x"], ["x"]]) == []
    assert unreadable(["a.png", "b.png"], ["truncated", "set aside by hand"], [["x"], ["x"]])[0].images == ("a.png",)


def test_a_class_that_loses_more_than_a_tenth_makes_it_severe():
    def severity(lost: int) -> str:
        labels = [["ant"]] * 20 + [["bee"]] * 1_000
        (finding,) = unreadable([f"{n}" for n in range(1_020)], ["broken"] * lost + [None] * (1_020 - lost), labels)
        return finding.severity

    assert severity(2) == "warning"
    assert severity(3) == "severe"


def test_a_severe_loss_says_which_class_loses_how_much():
    (finding,) = unreadable(["a", "b"], ["broken", None], [["ant"], ["bee"]])
    assert finding.detail.endswith("More than a tenth of a class is gone: ant loses 1 of 1")
