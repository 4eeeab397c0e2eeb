"""Checks of a `tokenizer.json` from outside, before the compiled library sees it.

The library trusts its input: it can hang on a pattern, abort on a table or accept what fails
only on some text. All mistakes found are reported at once.
"""

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from abrazo.errors import TokenizerError, one_of
from abrazo.tokenization.charsmap import charsmap_problem
from abrazo.tokenization.patterns import dangerous

MAX_BYTES = 128 * 2**20
MAX_ID = 10_000_000
MAX_DEPTH = 32
MAX_STRING = 10_000
MAX_GROWTH = 32
MAX_WORD_CHARS = 1_000
MAX_PIECES = 256
_STAGES = ("normalizer", "pre_tokenizer", "post_processor", "decoder", "padding")
_MODELS = ("BPE", "Unigram", "WordLevel", "WordPiece")
_LISTED = 8

Json = Mapping[str, object]


def read_json_object(file: Path, max_bytes: int = MAX_BYTES) -> tuple[str, dict[str, object]]:
    """Read a file that must hold one JSON object with no key twice; return its text as well.

    Raises:
        TokenizerError: it is no regular file, too large, not UTF-8 or not such an object.
    """
    text = read_text(file, max_bytes)
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise TokenizerError(f"`{file}` is nested too deep.") from error
    except ValueError as error:
        raise TokenizerError(f"`{file}` is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise TokenizerError(
            f"`{file}` must hold one JSON object, but holds a {type(value).__name__}."
        )
    return text, value


def read_text(file: Path, max_bytes: int) -> str:
    """Read a text file within a budget; a `TokenizerError` says why it cannot be read."""
    try:
        if not file.is_file():
            raise TokenizerError(f"`{file}` is not a regular file.")
        size = file.stat().st_size
        if size > max_bytes:
            raise TokenizerError(f"`{file}` has {size} bytes; at most {max_bytes} are read.")
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TokenizerError(f"`{file}` is not UTF-8: {error}") from error
    except OSError as error:
        raise TokenizerError(f"`{file}` cannot be read: {error}") from error


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r:.80} stands twice in one object")
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def check_tokenizer(content: Json, file: Path) -> None:
    """Check the content of a `tokenizer.json`.

    Raises:
        TokenizerError: lists what is wrong.
    """
    problems = list(_problems(content))
    if problems:
        more = len(problems) - _LISTED
        listed = problems[:_LISTED] + ([f"... and {more} more."] if more > 0 else [])
        raise TokenizerError("\n".join([f"`{file}` cannot be used:", *listed]))


def _problems(content: Json) -> Iterator[str]:
    for stage in _STAGES:
        yield from _stage_problems(content.get(stage), stage)
    yield from _growth_problems(content.get("normalizer"), "normalizer", "normalizers")
    yield from _growth_problems(content.get("decoder"), "decoder", "decoders")
    model = content.get("model")
    if not isinstance(model, dict):
        yield "`model` is missing or is no object."
        return
    added = content.get("added_tokens") or []
    known = yield from _added_problems(added)
    yield from _model_problems(model, known)


def _stage_problems(value: object, where: str, depth: int = 0) -> Iterator[str]:
    """Check all numbers, texts, patterns and tables in one stage of the pipeline."""
    if depth > MAX_DEPTH:
        yield f"`{where[:80]}` is nested over {MAX_DEPTH} deep."
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, (int, float)):
        if abs(value) > MAX_ID:
            yield f"`{where}` is {value}; at most {MAX_ID} makes sense."
    elif isinstance(value, str):
        if len(value) > MAX_STRING:
            yield f"`{where}` is a text of {len(value)} characters, over {MAX_STRING}."
    elif isinstance(value, list):
        if len(value) > MAX_PIECES:
            yield f"`{where}` has {len(value)} entries, over {MAX_PIECES}."
            return
        for number, entry in enumerate(value):
            yield from _stage_problems(entry, f"{where}[{number}]", depth + 1)
    elif isinstance(value, dict):
        yield from _object_problems(value, where, depth)


def _object_problems(value: Json, where: str, depth: int) -> Iterator[str]:
    for name, entry in value.items():
        place = f"{where}.{name:.40}"
        if name == "precompiled_charsmap":
            problem = charsmap_problem(entry)
            if problem:
                yield f"`{place}` {problem}."
            continue
        if name == "Regex" and isinstance(entry, str):
            problem = dangerous(entry)
            if problem:
                yield f"`{place}`, the pattern {entry!r:.80}, is refused: {problem}."
            continue
        yield from _stage_problems(entry, place, depth + 1)
    if value.get("type") == "FixedLength" and value.get("length") == 0:
        yield f"`{where}.length` must be at least 1, but is 0."


def _growth_problems(stage: object, where: str, plural: str) -> Iterator[str]:
    """Refuse chains of replacements that could make a text many times longer."""
    growth = 1
    for step in _steps(stage, plural):
        content, pattern = step.get("content"), step.get("pattern")
        if step.get("type") != "Replace" or not isinstance(content, str):
            continue
        literal = pattern.get("String") if isinstance(pattern, dict) else None
        if literal == "":
            yield f"`{where}` replaces the empty text."
            return
        shortest = len(literal) if isinstance(literal, str) else 1
        growth *= max(1, -(-len(content) // shortest))
        if growth > MAX_GROWTH:
            yield f"`{where}` replaces so that a text may grow over {MAX_GROWTH} times."
            return


def _steps(stage: object, plural: str, depth: int = 0) -> Iterator[Json]:
    if not isinstance(stage, dict) or depth > MAX_DEPTH:
        return
    nested = stage.get(plural)
    if isinstance(nested, list):
        for step in nested:
            yield from _steps(step, plural, depth + 1)
    else:
        yield stage


def _id_problem(number: object, token: str) -> str | None:
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < MAX_ID:
        return (
            f"The id of {token!r:.80} must be a number from 0 to {MAX_ID}, but is {number!r:.40}."
        )
    return None


def _duplicates(pairs: Sequence[tuple[str, int]]) -> Iterator[str]:
    if len({number for _, number in pairs}) == len(pairs):
        return
    seen: dict[int, str] = {}
    for token, number in pairs:
        if number in seen:
            yield f"Id {number} stands for both {seen[number]!r:.80} and {token!r:.80}."
        seen[number] = token


def _added_problems(added: object) -> Generator[str, None, dict[str, int]]:
    if not isinstance(added, list) or not all(isinstance(token, dict) for token in added):
        yield "`added_tokens` must be a list of objects."
        return {}
    known: dict[str, int] = {}
    for token in added:
        content, number = token.get("content"), token.get("id")
        if not isinstance(content, str) or not 0 < len(content) <= MAX_STRING:
            yield f"An entry of `added_tokens` has {content!r:.80} as its text."
            continue
        problem = _id_problem(number, content)
        if problem:
            yield problem
        elif content in known:
            yield f"`added_tokens` holds {content!r:.80} twice."
        else:
            known[content] = number
    yield from _duplicates(list(known.items()))
    return known


def _model_problems(model: Json, added: Mapping[str, int]) -> Iterator[str]:
    kind = model.get("type")
    vocab = model.get("vocab")
    if kind is not None and kind not in _MODELS:
        yield one_of("`model.type`", kind, _MODELS)
    elif isinstance(vocab, list):
        yield from _unigram_problems(model, vocab)
    elif isinstance(vocab, dict):
        yield from vocabulary_problems(vocab, added)
        yield from _unknown_problems(model, vocab, added)
        longest = model.get("max_input_chars_per_word", 100)
        if not isinstance(longest, int) or longest > MAX_WORD_CHARS:
            yield (
                f"`model.max_input_chars_per_word` must be at most {MAX_WORD_CHARS}, "
                f"but is {longest!r:.40}."
            )
        for name in ("continuing_subword_prefix", "end_of_word_suffix"):
            affix = model.get(name)
            if affix is not None and (not isinstance(affix, str) or len(affix) > 100):
                yield f"`model.{name}` must be a short text."
    else:
        yield "`model.vocab` is missing, or neither an object nor a list."


def vocabulary_problems(
    vocab: Mapping[str, object], added: Mapping[str, int] | None = None
) -> Iterator[str]:
    """Say what is wrong with tokens and their ids, and with those of added tokens beside them."""
    if not vocab:
        yield "`model.vocab` is empty."
        return
    bad = [_id_problem(number, token) for token, number in vocab.items()]
    problems = [problem for problem in bad if problem]
    yield from problems
    if not problems:
        numbers: list[tuple[str, int]] = [(token, int(str(n))) for token, n in vocab.items()]
        extra = [
            (token, number) for token, number in (added or {}).items() if vocab.get(token) != number
        ]
        yield from _duplicates(numbers + extra)


def _unknown_problems(
    model: Json, vocab: Mapping[str, object], added: Mapping[str, int]
) -> Iterator[str]:
    unknown = model.get("unk_token")
    is_bpe = model.get("type") == "BPE" or "merges" in model
    if is_bpe and (not unknown or model.get("byte_fallback")):
        return
    if not isinstance(unknown, str) or (unknown not in vocab and not (is_bpe and unknown in added)):
        yield f"`model.unk_token` must be a token of the vocabulary, but is {unknown!r:.80}."


def _unigram_problems(model: Json, vocab: Sequence[object]) -> Iterator[str]:
    unknown = model.get("unk_id")
    if not vocab:
        yield "`model.vocab` is empty."
    for entry in vocab:
        if (
            not isinstance(entry, list)
            or len(entry) != 2
            or not isinstance(entry[0], str)
            or not isinstance(entry[1], (int, float))
        ):
            yield f"An entry of `model.vocab` must be a piece and its score, but is {entry!r:.80}."
            return
    if unknown is None and model.get("byte_fallback") is not True:
        yield "`model.unk_id` is missing: texts with unknown characters could not be encoded."
    elif unknown is not None and (
        not isinstance(unknown, int) or not 0 <= unknown < max(len(vocab), 1)
    ):
        yield f"`model.unk_id` must be below {len(vocab)}, but is {unknown!r:.40}."
