"""What every service stands on. No OpenStack noun may appear in this package."""
