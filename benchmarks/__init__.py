"""What is claimed about speed and quality, reproducible by one command each."""
