import numpy as np

from sortal.health.codes import PARTS, VALUES, coded_values, one_column_each


def test_equal_values_have_equal_numbers_and_nothing_is_a_value_of_its_own():
    coded = coded_values(["b", None, "a", "b"])
    assert [coded.names[code] for code in coded.codes_N] == ["b", "none", "a", "b"]
    assert len(coded.names) == 3


def test_a_column_of_one_value_or_of_nothing_has_one_number():
    assert coded_values(["a", "a"]).names == ("a",)
    assert coded_values([None, None]).names == ("none",)


def test_numbers_that_differ_in_the_fifth_digit_are_equal():
    assert len(coded_values([0.004, 0.00400001, 1 / 200]).names) == 2


def test_the_commonest_words_are_kept_and_the_rest_is_one():
    coded = coded_values([*["often"] * 9, *map(str, range(VALUES + 20))])
    assert len(coded.names) == VALUES + 1
    assert coded.names[-1] == "another value"
    assert (coded.codes_N == VALUES).sum() == 21


def test_many_numbers_are_cut_into_ranges_of_as_many_rows_each():
    coded = coded_values([float(n) for n in range(1_600)])
    assert len(coded.names) == PARTS
    assert set(np.bincount(coded.codes_N)) <= {99, 100, 101}
    assert coded.names[coded.codes_N[0]] == "0 to 99.9375"


def test_places_are_cut_along_both_numbers():
    random = np.random.default_rng(0)
    coded = coded_values([[float(x), float(y)] for x, y in random.uniform(-90, 90, (2_000, 2))])
    assert 40 < len(coded.names) <= VALUES + 1


def test_numbers_may_be_spelt_otherwise():
    assert coded_values([1.0, 2.0], lambda number: f"<{number:.0f}>").names == ("<1>", "<2>")


def test_columns_say_which_value_a_row_has():
    assert one_column_each(["a", None, "a"]).tolist() == [[1, 0], [0, 1], [1, 0]]
