"""What the service answers: one file for each group of addresses."""

from api.service import service_of

__all__ = ["service_of"]
