"""From a scene to model-ready chips: rasters, windows, buildings, and the Harvey data set."""
