"""Data that only Python has: `tf.data`, `PyDataset`, Hugging Face, pandas."""
