"""Every error that kbask raises for a reason its user can mend.

KbaskError
├── ConfigError           a setting is unknown or of the wrong type
├── InputError            there is nothing to look for: empty or binary input
├── CaseError             a file of evaluation cases is not of its form
├── EntryError            an entry's file cannot be read at all
├── UnknownEntryError     no entry, or no snippet, has that id
├── EmbedderError         the embedding model is missing or cannot be loaded
├── GenerationError       a language model cannot be reached, refuses, or breaks off
├── IndexMismatchError    an index was built with another embedder than the one asked for
└── IndexDamagedError     an index folder lacks a file, or a file is not what its manifest says
"""


class KbaskError(Exception):
    """Root of the errors above; its text is shown to the user as it is."""


class ConfigError(KbaskError):
    """A setting is unknown or of the wrong type; `from_flag` where the command line set it."""

    def __init__(self, text: str, from_flag: bool = False) -> None:
        super().__init__(text)
        self.from_flag = from_flag


class InputError(KbaskError):
    """There is nothing to look for: the input is empty, or is no text."""


class CaseError(KbaskError):
    """A file of evaluation cases cannot be read, or a case is not of its form."""


class EntryError(KbaskError):
    """An entry's file cannot be read; `line` is 1-based, 0 for the whole file."""

    def __init__(self, path: str, line: int, reason: str) -> None:
        super().__init__(f"{path}:{line} {reason}" if line else f"{path} {reason}")
        self.path, self.line, self.reason = path, line, reason


class UnknownEntryError(KbaskError):
    """No entry, or no snippet, has that id."""


class EmbedderError(KbaskError):
    """The embedding model is missing or cannot be loaded."""


class IndexMismatchError(KbaskError):
    """An index was built with another embedder than the one asked for."""


class IndexDamagedError(KbaskError):
    """An index folder lacks a file, or a file is not what its manifest says."""


class GenerationError(KbaskError):
    """A language model, or the server it is behind, cannot be reached, refuses, or breaks off."""
