"""What Cenote costs, measured against a floor: ``python -m bench``."""
