"""What can go wrong with a request, in words for the person who made it.

These errors know nothing of HTTP; the API gives each its status code.
"""


class CenoteError(Exception):
    """The base of everything that Cenote raises on purpose."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Malformed(CenoteError):
    """The request could not be read at all: it is no JSON, or not in the form that the operation takes."""


class Invalid(CenoteError):
    """The request was read and asks for something that is not allowed."""


class NotFound(CenoteError):
    """There is no such thing.  The hosted product says the same words for every kind of thing, so do we."""

    def __init__(self, message: str = "The resource you requested could not be found.") -> None:
        super().__init__(message)


class Unauthenticated(CenoteError):
    """The token is missing, unknown, expired or revoked; which of them, the answer does not tell."""

    def __init__(self, message: str = "Unable to authenticate you.") -> None:
        super().__init__(message)


class Forbidden(CenoteError):
    """The token is good, its scopes do not cover this."""


class Conflict(CenoteError):
    """Somebody else changed the same record between reading and writing; trying again helps."""


class Busy(CenoteError):
    """The cluster cannot take this change in the state that it is in; later it can."""


class TooManyRequests(CenoteError):
    """A rate limit is spent.  ``retry_after`` is in seconds and is given for bursts only."""

    def __init__(self, retry_after: int | None = None, message: str = "API rate limit exceeded.") -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(CenoteError):
    """A part that the answer needs cannot be reached right now; trying again helps.

    ``retry_after``, in seconds, is given where nothing was done.
    """

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotInForce(Unavailable):
    """A change that takes access away is recorded, and the servers do not have it yet."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The change is recorded, but not in force yet: {reason}. It will be as soon as that is over; "
            "repeat the request to wait for it."
        )
        self.retry_after = 5


class ServerGone(CenoteError):
    """A server has ended while it was asked, or lets nobody in at this moment."""


class Misconfigured(CenoteError):
    """The machine lacks something, or a setting is wrong; the message says what to do."""
