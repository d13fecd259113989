"""What tasks are made of that no formula gives: images, number words, programs."""
