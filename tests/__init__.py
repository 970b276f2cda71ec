"""The tests.  From folder to folder, import by the full name: ``from tests.support.waiting import …``."""
