"""How units combine: stacks of layers, readers of images, recurrent cells."""
