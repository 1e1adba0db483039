"""Real brokers for the tests, started on free loopback ports."""
