"""Passwords, certificates, encryption of secrets at rest, and the throttling of logins."""
