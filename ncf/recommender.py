"""Where models registered before the packages find their loader: their MLmodel names it."""

from ncf.serving.packaged import _load_pyfunc

__all__ = ["_load_pyfunc"]
