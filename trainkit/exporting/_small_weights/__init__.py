"""Kernels in a quarter, or half, of their bytes: how they are rounded, stored and brought back."""
