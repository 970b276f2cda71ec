"""Small classes around real servers, for tests."""
