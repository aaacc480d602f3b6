"""Tables of images: which column is which, and what its cells say."""
