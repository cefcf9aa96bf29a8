"""Networks trained on ImageNet: their architectures by name, their weights, their pixels."""
