"""Network architectures: our own, and timm's by name. Each is a body that turns images into features."""
