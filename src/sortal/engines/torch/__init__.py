"""The PyTorch engine; torch, torchvision and timm are imported here and nowhere else."""
