"""Generalized Matrix Factorization: its setting, its start, its training, its compiled kernels."""
