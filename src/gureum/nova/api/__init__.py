"""Nova's operations: the shapes of the Compute API and the routes that take them."""
