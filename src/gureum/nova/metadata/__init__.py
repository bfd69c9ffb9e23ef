"""What a guest may read about itself, over HTTP and on its config drive."""
