"""MoCapsNet: layers of capsules, a momentum net that needs no stored activations, a decoder."""
