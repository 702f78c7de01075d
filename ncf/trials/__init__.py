"""One setting trained and judged, in another process."""
