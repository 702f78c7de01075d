"""The study as one HTML page, in words and figures."""
