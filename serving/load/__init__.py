"""Open-loop load: schedules of requests, a client that keeps to them, and what came of it."""
