"""The rules of evaluation: splits, candidates, ranks, metrics, intervals, seeds."""
