"""One run in its folder: what is left to train, who holds it, its progress, and its reports."""
