"""The tests.  From one folder to another, import by the full name: ``from tests.support.waiting import …``."""
