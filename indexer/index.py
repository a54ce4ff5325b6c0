"""The index of a collection of entries: built once, kept in a cache, opened in milliseconds, searched.

It holds the parsed entries, BM25 postings and vectors. Markdown is the truth: an index is rebuilt, never migrated.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from indexer import lexical, storage
from indexer.background import Background, read_apart, read_background, read_foreign_names
from indexer.embedding import NONE, Embedder, Progress, installed_version, load_embedder
from indexer.entry import Entry, Signature, entry_folders, read_source, to_entry
from indexer.errors import EntryError, IndexDamagedError, IndexMismatchError, UnknownEntryError
from indexer.foreign import Names, kept_names
from indexer.lexical import Bm25, Counts, count, without_chance_pairs
from indexer.passages import Passage, embedded_texts, lexical_document, passages
from indexer.query import Query
from indexer.ranking import Evidence, Hit, probability, rank, read_constants
from indexer.signatures import Match, SignatureSet
from indexer.storage import Files

if TYPE_CHECKING:
    from indexer.vectors import VectorSearch

FORMAT = 7
READ_TRIES = 3
QUERY_TOKENS = 64  # Embedding costs more than a millisecond a token, and what decides stands at the front.
COMMON = 0.15  # Share of an entry's asks from which on a term stands for the entry, not for one of its causes.
WARM_UP = "loss is zero during sft"
ENOUGH = 2.0  # Weight of telling terms that counts as half of all evidence for a passage.

Notice = Callable[[str], None]


@dataclass(frozen=True)
class Collection:
    """Entries of one folder or of several laid over one another, their background, and what the reader should know.

    The background is looked for like an entry: a question about it is nearer to it than to any entry, and is not answered.
    """

    entries: tuple[Entry, ...]
    background: tuple[Background, ...] = ()
    foreign_names: tuple[str, ...] = ()
    apart: dict[str, dict[str, str]] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


def read_collection(folders: Sequence[Path]) -> Collection:
    """Read all entries. The first folder is ours and linted by its tests; in the others, entries with faults are skipped."""
    # Only a build reads entries; a question to an index that is there should not wait for the rules.
    from indexer.lint import lint_source
    from indexer.rules import Context

    entries: dict[str, Entry] = {}
    notices = []
    for number, folder in enumerate(folders):
        context = Context.of(folders[: number + 1])
        for path in entry_folders(folder):
            try:
                source = read_source(path)
                faults = lint_source(source, context) if number else []
            except EntryError as error:
                notices.append(f"Skipped {path.name}: {error}")
                continue
            if faults:
                more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
                notices.append(f"Skipped {path.name}: {faults[0]}{more}. All of them: kbask lint {path}")
                continue
            if path.name in entries:
                notices.append(f"{path.name} of {folder} replaces the built-in one")
            entries[path.name] = to_entry(source)
    background = tuple(known for known in read_background(folders[0]) if known.id not in entries)
    own = folders[0]
    return Collection(tuple(entries.values()), background, read_foreign_names(own), read_apart(own), tuple(notices))


def build_files(
    collection: Collection, embedder: Embedder | None, known: Sequence[Path] = (), progress: Progress | None = None
) -> Files:
    """All files of an index but its manifest; `known` are folders of indexes whose vectors may be used again."""
    files: Files = {
        "entries.json": storage.to_json([entry.to_json() for entry in collection.entries]),
        "background.json": storage.to_json(
            [(known.id, known.about, [vars(signature) for signature in known.signatures]) for known in collection.background]
        ),
        "apart.json": storage.to_json(collection.apart),
        "notices.json": storage.to_json(collection.notices),
    }
    documents = documents_of(collection)
    files["foreign.json"] = storage.to_json(foreign_names(collection, documents))
    bm25 = Bm25.build(count_words(collection, documents))
    files["vocabulary.json"] = storage.to_json(list(bm25.vocabulary))
    for name in _BM25_ARRAYS:
        files[f"bm25-{name}.bin"] = storage.to_bytes(getattr(bm25, name))
    if embedder:
        from indexer import vectors

        texts = [embedded_texts(entry) for entry in collection.entries]
        texts += [list(filter(None, (beside.about, *beside.asks))) for beside in collection.background]
        files |= vectors.build_files(texts, embedder, known, progress)
    return files


def documents_of(collection: Collection) -> list[str]:
    """The document of each entry and then of the background, in which words are counted."""
    return [
        *map(lexical_document, collection.entries),
        *("\n".join([known.about, *known.asks]) for known in collection.background),
    ]


def count_words(collection: Collection, documents: Sequence[str]) -> Counts:
    """The counts that BM25 and the words of the field are computed from, of a collection and its documents."""
    ours = [ask for entry in collection.entries for page in entry.pages.values() for ask in page.asks]
    ours += [ask for known in collection.background if known.is_ours for ask in known.asks]
    others = [ask for known in collection.background if not known.is_ours for ask in known.asks]
    return without_chance_pairs(count(documents, ours, others))


def foreign_names(collection: Collection, documents: Sequence[str]) -> list[str]:
    """The names that are not used in this field, of a collection and its documents."""
    of_this_field = [True] * len(collection.entries) + [known.is_ours for known in collection.background]
    return kept_names(collection.foreign_names, compress(documents, of_this_field))


_BM25_ARRAYS = {"starts": "i", "documents": "i", "weights": "f", "idf": "f", "fields": "f"}


def make_manifest(files: Files, embedder: Embedder | None) -> dict[str, Any]:
    """What an index says of itself."""
    return {
        "format": FORMAT,
        "tokenizer": lexical.TOKENIZER,
        "embedder": embedder and {name: getattr(embedder, name) for name in ("name", "revision", "dim", "prefixes")},
        "files": {name: storage.digest_of(data) for name, data in sorted(files.items())},
    }


class Index:
    """An index that is open; `search` is all that most callers need. Embedder and FAISS are loaded when first needed."""

    def __init__(self, manifest: dict[str, Any], files: Files, embedder_name: str, folder: Path | None = None) -> None:
        built_with = manifest["embedder"]["name"] if manifest["embedder"] else NONE
        if (manifest["format"], manifest["tokenizer"]) != (FORMAT, lexical.TOKENIZER):
            raise IndexMismatchError("The index is of another version of kbask. Run: kbask index")
        if built_with != embedder_name:
            raise IndexMismatchError(
                f"The index was built with {built_with}; the configuration asks for {embedder_name}. Run: kbask index"
            )
        self.manifest, self.folder = manifest, folder
        self._files = files
        self.entries = {data["id"]: Entry.from_json(data) for data in json.loads(files["entries.json"])}
        self.background = {
            id_: Background(id_, about, (), tuple(Signature(**fields) for fields in signatures))
            for id_, about, signatures in json.loads(files["background.json"])
        }
        self._apart: dict[str, dict[str, str]] = json.loads(files["apart.json"])
        self.notices: tuple[str, ...] = tuple(json.loads(files["notices.json"]))
        self.constants = read_constants()
        self._passages_by_id: dict[str, list[Passage]] = {}
        self._words_by_id: dict[str, _Words] = {}

    @classmethod
    def open(cls, folder: Path, embedder_name: str) -> Index:
        """Open an index folder; raises IndexDamagedError, IndexMismatchError."""
        manifest, files = storage.read(folder)
        try:
            return cls(manifest, files, embedder_name, folder)
        except (KeyError, TypeError, ValueError) as error:
            raise IndexDamagedError(f"The index in {folder} is damaged: {error}") from error

    def entry(self, entry_id: str) -> Entry:
        """The entry with that id; raises UnknownEntryError, which names the nearest ids."""
        if entry_id in self.entries:
            return self.entries[entry_id]
        from difflib import get_close_matches

        near = get_close_matches(entry_id, self.entries, n=3, cutoff=0.4)
        hint = f"Nearest: {', '.join(near)}. " if near else ""
        raise UnknownEntryError(f"There is no entry {entry_id!r}. {hint}All of them: kbask list")

    def told_apart(self, one: str, other: str) -> dict[str, str]:
        """The one thing to look at that decides between two problems, a sentence a language; empty where none is written."""
        return self._apart.get(" ".join(sorted((one, other))), {})

    def evidence(self, query: Query) -> Evidence:
        """What each signal says of each entry; the query is embedded only where no signature decides."""
        found = self._evidence_of_words(query)
        return found if found.is_decided else replace(found, dense=self._likeness(query.search_text))

    def _evidence_of_words(self, query: Query) -> Evidence:
        """The same without vectors."""
        found = self._signatures.match(query.lines)
        strong = {match.entry_id for match in found if not match.signature.weak}
        # Where an entry's own message is there, and is nobody else's consequence, the background cannot change the answer.
        if not strong or any(self.entries[id_].yields_to for id_ in strong):
            found += self._background_signatures.match(query.lines)
        matches: dict[str, list[Match]] = {}
        for match in found:
            matches.setdefault(match.entry_id, []).append(match)
        terms = lexical.tokens(query.search_text)
        return Evidence(
            entry_ids=tuple(self.entries),
            background_ids=tuple(self.background),
            matches=matches,
            yields_to={entry.id: entry.yields_to for entry in self.entries.values()},
            bm25=self._bm25.scores(terms),
            dense=None,
            is_log=query.is_log,
            field=self._bm25.field(terms),
            foreign=len(self._foreign.in_text(query.topic_text)),
        )

    def search(self, query: Query, top: int = 5) -> list[Hit]:
        """The `top` best entries for a query, best first, one hit an entry."""
        evidence = self._evidence_of_words(query)
        ranking = rank(evidence, self.constants, lambda: self._likeness(query.search_text))
        # Which cause it is, the user's own words tell; those of a log are the program's, and its signatures name causes.
        terms = set(lexical.tokens(query.sentence))
        hits = []
        for place, ranked in enumerate(ranking[:top]):
            entry = self.entries[ranked.entry_id]
            found = self._passages(entry)
            closeness = self._closeness(entry, terms) if terms and place == 0 else {}
            hits.append(
                Hit(
                    entry_id=ranked.entry_id,
                    score=ranked.score,
                    confidence=probability(ranked.score),
                    ranks=ranked.ranks,
                    features=ranked.features,
                    matched=tuple(evidence.matches.get(ranked.entry_id, ())),
                    passages=tuple(sorted(found, key=lambda passage: -closeness.get(passage.id, 0.0))),
                    closeness=closeness,
                    yielded_to=ranked.yielded_to,
                    behind=ranked.behind,
                )
            )
        return hits

    def warm_up(self, many: bool = False) -> None:
        """Load what a first search would wait for; where `many` come, take the time and memory that make each cheaper."""
        if many and self._embedder:
            self._embedder.prepare()
        self._likeness(WARM_UP)
        self.search(Query.from_text(WARM_UP))

    @cached_property
    def _signatures(self) -> SignatureSet:
        return SignatureSet(self.entries.values())

    @cached_property
    def _background_signatures(self) -> SignatureSet:
        return SignatureSet(self.background.values())

    @cached_property
    def _foreign(self) -> Names:
        return Names(json.loads(self._files["foreign.json"]))

    @cached_property
    def _bm25(self) -> Bm25:
        vocabulary = {term: number for number, term in enumerate(json.loads(self._files["vocabulary.json"]))}
        arrays = {name: storage.from_bytes(kind, self._files[f"bm25-{name}.bin"]) for name, kind in _BM25_ARRAYS.items()}
        return Bm25(vocabulary, size=len(self.entries) + len(self.background), **arrays)

    @cached_property
    def _vectors(self) -> VectorSearch:
        from indexer.vectors import VectorSearch

        return VectorSearch(self._files, len(self.entries) + len(self.background))

    @cached_property
    def _embedder(self) -> Embedder | None:
        built_with = self.manifest["embedder"]
        embedder = load_embedder(built_with["name"]) if built_with else None
        if embedder and (embedder.revision, embedder.dim) != (built_with["revision"], built_with["dim"]):
            raise IndexMismatchError(
                f"The index was built with {built_with['name']} {built_with['revision']} ({built_with['dim']}); "
                f"installed is {embedder.revision} ({embedder.dim}). Run: kbask index"
            )
        return embedder

    def _likeness(self, text: str) -> list[float] | None:
        """Likeness of the text to each entry and then to the background; None without an embedder or without a text."""
        if not text.strip() or not self.entries or self._embedder is None:
            return None
        query = self._embedder.embed([self._embedder.clip(text, QUERY_TOKENS)], "query")[0]
        return self._vectors.likeness(query)

    def _passages(self, entry: Entry) -> list[Passage]:
        if entry.id not in self._passages_by_id:
            self._passages_by_id[entry.id] = passages(entry)
        return self._passages_by_id[entry.id]

    def _closeness(self, entry: Entry, terms: set[str]) -> dict[str, float]:
        """How near each passage is to what the user says, by id, 0 to 1: how much of its telling terms it has.

        A term tells the more, the rarer it is among entries, and among this entry's passages and asks; one of its title, or one
        that is in many of its asks, tells nothing. ENOUGH keeps a single word from deciding.
        """
        own = self._words(entry)
        weight = {}
        for term in terms - own.told:
            held, asked = own.held[term], own.asked[term]
            if held and asked <= COMMON * own.asks:
                weight[term] = self._bm25.rarity(term) * math.log(1 + (len(own.passages) + own.asks) / (held + asked))
        total = sum(weight.values()) + ENOUGH
        closeness: dict[str, float] = {}
        for id_, heading, every in own.passages:
            # A heading names its cause: a term there counts one and a half times.
            near = sum(weight[term] * (1.5 if term in heading else 1.0) for term in weight.keys() & every)
            closeness[id_] = max(closeness.get(id_, 0.0), near / (1.5 * total))
        return closeness

    def _words(self, entry: Entry) -> _Words:
        """Kept: a server asks for the same ones again."""
        if entry.id not in self._words_by_id:
            pages = entry.pages.values()
            found = []
            for passage in self._passages(entry):
                heading = set(lexical.tokens(passage.heading))
                found.append((passage.id, heading, heading.union(lexical.tokens(passage.text))))
            asks = [set(lexical.tokens(ask)) for page in pages for ask in page.asks]
            self._words_by_id[entry.id] = _Words(
                told={term for page in pages for term in lexical.tokens(page.title)},
                passages=found,
                held=Counter(term for _, _, every in found for term in every),
                asks=len(asks),
                asked=Counter(term for ask in asks for term in ask),
            )
        return self._words_by_id[entry.id]


class _Words(NamedTuple):
    """Tokens of an entry: those of its titles; the id of each passage with those of its heading and all of its; how many
    passages have a token; how many asks there are, and how many have it."""

    told: set[str]
    passages: list[tuple[str, set[str], set[str]]]
    held: Counter[str]
    asks: int
    asked: Counter[str]


def open_or_build(
    folders: Sequence[Path],
    embedder_name: str,
    cache: Path,
    progress: Progress | None = None,
    notice: Notice | None = None,
    rebuild: bool = False,
) -> Index:
    """The index of these folders of entries, the built-in one first: from the cache, or built now and kept there.

    A damaged index is set aside and built again, and where the cache cannot be written, the index stays in memory; `notice`
    is told of either.
    """
    say = notice or (lambda text: None)
    version = f"{FORMAT} {lexical.TOKENIZER} {embedder_name} {installed_version(embedder_name)}"
    names = "\0".join([embedder_name, *map(str, folders)])
    pointer = cache / f"{storage.digest_of(names.encode(errors='surrogateescape'))[:16]}.json"
    for _ in range(READ_TRIES):
        state = f"{version} {storage.state_of(folders)}"
        if not rebuild and (pointed := storage.pointed_at(pointer, state)) and (warm := _open(pointed, embedder_name, say)):
            return warm
        content = storage.content_of(folders)
        folder = cache / storage.digest_of(f"{version} {names} {content}".encode(errors="surrogateescape"))[:32]
        kept = _open(folder, embedder_name, say)
        index = kept if kept and not rebuild else _build(folders, embedder_name, cache, progress)
        if storage.content_of(folders) == content:
            break  # Else somebody is editing: what was read may not be what the digest names.
    else:
        say("Entries changed while they were read; this index is not kept.")
        return index
    if kept is None:
        try:
            storage.write(folder, index._files, index.manifest)
        except OSError as error:
            say(f"The index cannot be kept in {cache} ({error.strerror}); it stays in memory and is built anew each time.")
            return index
    index.folder = folder
    with contextlib.suppress(OSError):  # Without a pointer the next start reads the entries' bytes, and finds the same index.
        storage.point(pointer, state, folder)
        storage.prune(cache)
    return index


def _build(folders: Sequence[Path], embedder_name: str, cache: Path, progress: Progress | None) -> Index:
    embedder = load_embedder(embedder_name)
    files = build_files(read_collection(folders), embedder, storage.whole_folders(cache), progress)
    return Index(make_manifest(files, embedder), files, embedder_name)


def _open(folder: Path, embedder_name: str, say: Notice) -> Index | None:
    """The index in a folder; None when there is none or it had to be set aside."""
    error: IndexDamagedError | IndexMismatchError | None = None
    for _ in range(2):  # Another process may just have set a damaged one aside and put a whole one there.
        if not folder.exists():
            return None
        try:
            return Index.open(folder, embedder_name)
        except (IndexDamagedError, IndexMismatchError) as found:
            error = found
    aside = storage.set_aside(folder)
    say(f"{error}. It was {f'renamed to {aside.name}' if aside else 'left alone'} and is built again.")
    return None
