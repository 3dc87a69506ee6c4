"""Augmentation in torch: whole batches on any device, one draw a sample, no Python per image."""

from sortal.engines.torch.augment.batch import augment
from sortal.engines.torch.augment.mixing import mix

__all__ = ["augment", "mix"]
