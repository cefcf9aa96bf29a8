"""One scene, or many, to records on disk: pieces, parts, resume, the run."""
