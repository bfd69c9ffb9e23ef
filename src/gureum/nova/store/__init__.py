"""All of Nova's SQL: the tables of its databases and the queries on them."""
