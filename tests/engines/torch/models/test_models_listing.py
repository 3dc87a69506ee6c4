import pytest

from sortal.engines.torch.models import listing
from sortal.errors import UnknownName

KEYS = {"name", "parameters", "multiply_adds", "input_size", "top1", "top1_source", "source", "weights", "family", "use"}


def test_a_row_has_the_keys_of_the_contract_and_true_counts():
    (row,) = listing.rows("lenet5")
    assert set(row) == KEYS
    # 32 x 32 colour pixels and 10 classes: multiplications of each layer, by hand.
    assert row["multiply_adds"] == 28 * 28 * 6 * 75 + 10 * 10 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10
    assert row["parameters"] == 6 * 76 + 16 * 151 + 401 * 120 + 121 * 84 + 85 * 10
    assert (row["source"], row["weights"], row["family"], row["top1"]) == ("sortal", "none", "lenet", None)


def test_timms_rows_count_the_network_with_its_own_classes():
    (row,) = listing.rows("resnet1[8]")
    assert row["parameters"] == 11_689_512  # as in the literature: 11.7 million
    assert row["input_size"] == 224
    assert (row["source"], row["family"]) == ("timm", "resnet")


def test_rows_say_what_was_published_and_by_whom_or_nothing():
    def published(name):
        (row,) = listing.rows(name)
        return row["top1"], row["top1_source"]

    # The comparison table of guide 003 has 76, 77, 84, 72, 81 and 85 per cent.
    assert published("resnet50") == (0.7613, "torchvision, ResNet50_Weights.IMAGENET1K_V1")
    assert published("mobilenetv2_100")[0] == 0.71878
    assert published("vit_large_patch16_224") == (0.85146, "torchvision, ViT_L_16_Weights.IMAGENET1K_SWAG_LINEAR_V1")
    assert published("alexnet")[0] == 0.56522
    assert published("deit_tiny_patch16_224")[0] == 0.722
    assert published("resnet50c") == published("compact") == (None, None)


def test_torchvisions_rows_are_there_and_say_so():
    (row,) = listing.rows("googlenet")
    assert (row["source"], row["family"], row["input_size"], row["parameters"]) == ("torchvision", "googlenet", 224, 6_624_904)
    assert "Auxiliary losses" in row["use"]
    assert listing.layers("googlenet")[0]["output"] == [64, 112, 112]


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto", "resnet_cifar"])
def test_the_layers_of_a_network_add_up_to_it(name):
    (row,) = listing.rows(name)
    assert sum(layer["parameters"] for layer in listing.layers(name)) == row["parameters"]


def test_the_full_list_holds_ours_first_and_more_than_a_thousand_uncounted():
    rows = listing.rows()
    assert rows[0]["source"] == "sortal"
    assert len(rows) > 1000
    assert all(row["parameters"] is None for row in rows)
    assert len({row["name"] for row in rows}) == len(rows)


def test_patterns_are_parts_of_names_or_have_stars():
    assert [row["name"] for row in listing.rows("compac")] == ["compact", "compact_s", "compact_l"]
    assert [row["name"] for row in listing.rows("compact")] == ["compact"], "a whole name means itself"
    assert [row["name"] for row in listing.rows("lenet5", "compact_?")] == ["compact_s", "compact_l", "lenet5"]
    assert [row["name"] for row in listing.rows("compact_?")] == ["compact_s", "compact_l"]
    with pytest.raises(UnknownName):
        listing.rows("no such network")


def test_layers_are_listed_in_the_order_in_which_they_work():
    layers = listing.layers("compact_s")
    assert layers[0] == {"name": "body.blocks.stem.0", "kind": "Conv2d", "output": [16, 32, 32], "parameters": 3 * 9 * 16}
    assert layers[-1]["name"] == "head"
    assert layers[-1]["output"] == [10]
    (row,) = listing.rows("compact_s")
    assert sum(layer["parameters"] for layer in layers) == row["parameters"]


def test_layers_of_an_unknown_name_are_an_error():
    with pytest.raises(UnknownName):
        listing.layers("compakt")
