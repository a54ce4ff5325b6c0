"""From hits to an answer, and everything that a user touches."""
