"""Work over many machines by Ray: the one room that knows it."""
