"""Pixels on their way to the device."""

import numpy as np
import pytest
import torch

from sortal.engines.torch.uploads import SLOTS, Uploads


def test_a_processor_gets_the_pixels_as_they_are() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    assert torch.equal(Uploads(torch.device("cpu"))(pixels), torch.from_numpy(pixels))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no accelerator to copy to")
def test_batches_of_any_size_arrive_whole_however_many_are_under_way() -> None:
    uploads, random = Uploads(torch.device("cuda")), np.random.default_rng(0)
    sent = [random.integers(0, 256, (1 + n % 5, 64, 64, 3), dtype=np.uint8) for n in range(4 * SLOTS)]
    arrived = [uploads(pixels) for pixels in sent]
    assert all(np.array_equal(there.cpu().numpy(), pixels) for there, pixels in zip(arrived, sent, strict=True))
