"""MLP and NeuMF, and the pre-training of the latter (He et al., WWW 2017)."""
