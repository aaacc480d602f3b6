"""What may happen to a training image, what is drawn for it, and how it is done."""
