"""Class folders: which of them are sides, which are classes, and what lies in them."""
