"""Starting the service: settings, first-time setup, and all components in one process."""
