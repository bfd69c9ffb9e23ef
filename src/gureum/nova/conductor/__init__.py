"""The conductor: runs Nova's sagas and stands between compute hosts and the databases."""
