"""The rows of the network service and all SQL on them."""
