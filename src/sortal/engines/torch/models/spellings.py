"""What others call the architectures that we have: torchvision's, Keras's and papers' spellings, so that an error can help."""

from collections.abc import Iterable

ELSEWHERE = {
    "convnext": "convnext_tiny",
    "deit": "deit_small_patch16_224",
    "deitb": "deit_base_patch16_224",
    "deitbase": "deit_base_patch16_224",
    "deits": "deit_small_patch16_224",
    "deitsmall": "deit_small_patch16_224",
    "deitti": "deit_tiny_patch16_224",
    "deittiny": "deit_tiny_patch16_224",
    "efficientnet": "efficientnet_b0",
    "efficientnetlite0": "tf_efficientnet_lite0",
    "inception": "inception_v3",
    "inceptionv1": "googlenet",
    "lenet": "lenet5",
    "mnasnet05": "mnasnet_050",
    "mnasnet075": "mnasnet_075",
    "mnasnet10": "mnasnet_100",
    "mobilenet": "mobilenetv2_100",
    "mobilenetv2": "mobilenetv2_100",
    "mobilenetv3": "mobilenetv3_large_100",
    "mobilenetv3large": "mobilenetv3_large_100",
    "mobilenetv3small": "mobilenetv3_small_100",
    "resnet": "resnet50",
    "resnetcifar10": "resnet_cifar",
    "swin": "swin_tiny_patch4_window7_224",
    "swinb": "swin_base_patch4_window7_224",
    "swinbase": "swin_base_patch4_window7_224",
    "swinl": "swin_large_patch4_window7_224",
    "swinlarge": "swin_large_patch4_window7_224",
    "swins": "swin_small_patch4_window7_224",
    "swinsmall": "swin_small_patch4_window7_224",
    "swint": "swin_tiny_patch4_window7_224",
    "swintiny": "swin_tiny_patch4_window7_224",
    "swintransformer": "swin_tiny_patch4_window7_224",
    "swinv2b": "swinv2_base_window8_256",
    "swinv2s": "swinv2_small_window8_256",
    "swinv2t": "swinv2_tiny_window8_256",
    "vgg": "vgg16",
    "vggnet": "vgg16",
    "vit": "vit_base_patch16_224",
    "vitb": "vit_base_patch16_224",
    "vitb16": "vit_base_patch16_224",
    "vitb32": "vit_base_patch32_224",
    "vitbase": "vit_base_patch16_224",
    "vith": "vit_huge_patch14_224",
    "vith14": "vit_huge_patch14_224",
    "vithuge": "vit_huge_patch14_224",
    "vitl": "vit_large_patch16_224",
    "vitl16": "vit_large_patch16_224",
    "vitl32": "vit_large_patch32_224",
    "vitlarge": "vit_large_patch16_224",
}
"""Without '-', '_' and capitals; what needs no more than that (ResNet50, efficientnet_v2_s) is found as it is."""


def here(name: str, names: Iterable[str]) -> str:
    """The name among `names` of what someone calls `name`; '' where that is not clear."""
    bare = _bare(name)
    if bare in ELSEWHERE:
        return ELSEWHERE[bare]
    return next((known for known in names if _bare(known) == bare), "")


def _bare(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")
