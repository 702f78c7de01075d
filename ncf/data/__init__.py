"""A name or a path becomes `Interactions`: reading, checking, dense ids, fingerprint, cache."""
