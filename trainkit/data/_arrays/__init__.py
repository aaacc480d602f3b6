"""Images that are arrays: in memory, or in an `.npz` file that may come from a stranger."""
