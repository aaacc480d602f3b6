"""Layers of Keras that compute the same by operations that leave more easily, for as long as they are traced."""
