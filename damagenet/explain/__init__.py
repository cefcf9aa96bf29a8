"""What a verdict was made of: maps over chips and scenes, for people who check by eye."""
