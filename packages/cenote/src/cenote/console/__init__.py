"""The web console, on the port of the API.

It is an ordinary client of the API: each page calls it in process, with the token of the session, so that
rules, scopes, messages, events and the audit log are the API's own.  Nothing here reads the store or touches
a host.  Every page works without JavaScript.
"""

from cenote.console.middleware import with_console

__all__ = ["with_console"]
