"""The console: pages for people, on the same port and the same functions as the API.

It is a client of the API like every other one: each page calls it in process, with the token that somebody
has signed in with, so that rules, scopes, texts, events and the audit trail are the API's own.  Nothing here
reads the store or touches a machine.  Every page works without JavaScript.
"""

from cenote.console.middleware import with_console

__all__ = ["with_console"]
