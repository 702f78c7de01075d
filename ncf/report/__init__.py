"""The report of a study: one HTML page of words and figures."""
