"""Face landmarks and alignment."""


class FacesError(ValueError):
    """Landmarks cannot be had."""
