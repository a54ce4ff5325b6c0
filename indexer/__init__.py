"""From a folder of Markdown entries to ranked hits; knows no LLM, no configuration and no screen."""
