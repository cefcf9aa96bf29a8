"""From a recipe to a bundle."""
