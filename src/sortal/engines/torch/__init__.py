"""The PyTorch engine; torch, torchvision and timm are imported here and nowhere else."""

import os

# Threads that wait for each other by spinning take the cores from whatever else runs: with one other busy process on two cores
# a small network trained at 105 images/s that way and at 711 with threads that sleep. Read once, when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
