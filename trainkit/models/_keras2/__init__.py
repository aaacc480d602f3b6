"""What Keras 2 wrote, built by Keras 3: its words, the calls of its layers, its operations and its weights."""
