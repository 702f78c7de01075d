"""What learns: GMF and the baselines, each behind the one protocol of `model.py`."""
