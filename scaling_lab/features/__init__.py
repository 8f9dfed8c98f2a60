"""Features of frozen backbones, computed once and stored: keys, files, and batches of them."""
