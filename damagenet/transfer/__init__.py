"""How well networks that learned from ImageNet transfer to the tiles (arXiv:1805.08974)."""
