"""The admin process: metrics, health, status and a live page of one instance, over HTTP. A client of its master."""
