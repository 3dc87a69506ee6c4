"""The PyTorch engine; torch, torchvision and timm are imported here and nowhere else."""

import os

# Threads that wait for each other by spinning take the cores from whatever else runs: with one other busy process on two cores
# a small network trained at 105 images/s that way and at 711 with threads that sleep. But to fall asleep and be woken takes
# longer than most operations on small images, so they spin for some tenths of a millisecond first: without it, images of 32
# pixels are augmented half as fast and small networks take 5 to 15% longer. Both are read once, when torch is first imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
