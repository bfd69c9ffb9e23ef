"""The console proxy: from a browser to a guest's screen."""
