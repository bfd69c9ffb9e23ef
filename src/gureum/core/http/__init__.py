"""HTTP: the asynchronous edge, the synchronous dispatch, the typed client."""
