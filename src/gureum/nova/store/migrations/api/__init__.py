"""Migrations of nova_api."""
