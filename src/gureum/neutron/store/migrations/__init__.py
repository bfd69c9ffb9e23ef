"""Migrations of the database `neutron`, in order."""
