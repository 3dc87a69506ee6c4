"""Top-1 accuracy on ImageNet's validation images as its authors or libraries published it, each with its source.

It is what an architecture reached when it was published, at its own image size; nothing here was measured by us, and other
weights of the same architecture may do better. Architectures that are not listed have null.
"""

from typing import Any

from sortal.engines.torch.models.torchvision_body import ARCHITECTURES

DEIT = "Touvron et al. 2021 (DeiT), the authors' table of models"
LITE = "EfficientNet-lite's table of checkpoints (tensorflow/tpu), float32"
PAPERS = {
    "deit_base_distilled_patch16_224": (0.834, DEIT),
    "deit_base_distilled_patch16_384": (0.852, DEIT),
    "deit_base_patch16_224": (0.818, DEIT),
    "deit_base_patch16_384": (0.829, DEIT),
    "deit_small_distilled_patch16_224": (0.812, DEIT),
    "deit_small_patch16_224": (0.799, DEIT),
    "deit_tiny_distilled_patch16_224": (0.745, DEIT),
    "deit_tiny_patch16_224": (0.722, DEIT),
    "tf_efficientnet_lite0": (0.751, LITE),
    "tf_efficientnet_lite1": (0.767, LITE),
    "tf_efficientnet_lite2": (0.776, LITE),
    "tf_efficientnet_lite3": (0.798, LITE),
    "tf_efficientnet_lite4": (0.815, LITE),
}
SAME_IN_TORCHVISION = {
    "convnext_base": "convnext_base",
    "convnext_large": "convnext_large",
    "convnext_small": "convnext_small",
    "convnext_tiny": "convnext_tiny",
    "inception_v3": "inception_v3",
    "mobilenetv2_100": "mobilenet_v2",
    "mobilenetv3_large_100": "mobilenet_v3_large",
    "mobilenetv3_small_100": "mobilenet_v3_small",
    "resnext50_32x4d": "resnext50_32x4d",
    "swin_base_patch4_window7_224": "swin_b",
    "swin_small_patch4_window7_224": "swin_s",
    "swin_tiny_patch4_window7_224": "swin_t",
    "vit_base_patch16_224": "vit_b_16",
    "vit_base_patch32_224": "vit_b_32",
    "vit_huge_patch14_224": "vit_h_14",
    "vit_large_patch16_224": "vit_l_16",
    "vit_large_patch32_224": "vit_l_32",
    "wide_resnet101_2": "wide_resnet101_2",
    "wide_resnet50_2": "wide_resnet50_2",
}
"""timm's name to torchvision's, where both build the same network; the others are called alike."""
ALIKE = ("densenet", "efficientnet_b", "resnet", "vgg")
PRETRAINED_ON_MORE = {"vit_l_16": "IMAGENET1K_SWAG_LINEAR_V1", "vit_h_14": "IMAGENET1K_SWAG_LINEAR_V1"}
"""Large transformers need more images than ImageNet has: these were pretrained on tagged photographs (Singh et al. 2022)."""


def top1(name: str) -> tuple[float | None, str | None]:
    """A share of 1 and where it was published; two nulls where we know of none."""
    if name in PAPERS:
        return PAPERS[name]
    alike = name.startswith(ALIKE) or name in ARCHITECTURES
    found = _torchvision_weights(SAME_IN_TORCHVISION.get(name) or (name if alike else ""))
    if found is None:
        return None, None
    return round(found.meta["_metrics"]["ImageNet-1K"]["acc@1"] / 100, 5), f"torchvision, {found}"


def _torchvision_weights(name: str) -> Any:
    """The weights that came first, whose recipe is nearest to the paper's; None where torchvision has no such network."""
    import torchvision

    if name not in torchvision.models.list_models(module=torchvision.models):
        return None
    return torchvision.models.get_model_weights(name)[PRETRAINED_ON_MORE.get(name, "IMAGENET1K_V1")]
