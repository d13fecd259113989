"""What is kept of a run: files that are whole or not there, checkpoints, metrics, and TensorBoard's view."""
