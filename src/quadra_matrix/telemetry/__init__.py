"""What happened, told to those who watch: events become metrics, spans and log lines."""
