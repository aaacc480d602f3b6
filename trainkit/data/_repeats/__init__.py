"""Pictures that are there more than once, as copies or as near-duplicates."""
