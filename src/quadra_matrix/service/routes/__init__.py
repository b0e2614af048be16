"""The HTTP routes of the ready service, one file for each part of the API."""
