"""Migrations: one package a kind of database."""
