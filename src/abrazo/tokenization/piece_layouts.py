"""How families arrange the vocabulary of their SentencePiece file, and frame texts with it.

Fairseq's models (XLM-R, mBART, NLLB) number `<s> <pad> </s> <unk>` before the file's fourth piece;
Pegasus puts 103 tokens of pretraining before its pieces; T5 its sentinels after them. Sources: the
published vocabularies, and Liu et al. 2020, Zhang et al. 2019 (Pegasus), Raffel et al. 2019 (T5).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tokenizers import AddedToken, normalizers, processors

from abrazo.errors import TokenizerError
from abrazo.tokenization import language_codes
from abrazo.tokenization.native import NativeTokenizer
from abrazo.tokenization.piece_backend import Prefix, build_backend
from abrazo.tokenization.piece_model import Kind, Piece, PieceModel
from abrazo.tokenization.settings import TokenizerSettings

MAX_SENTINELS = 10_000

_FAIRSEQ_ROLES = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a family makes of a SentencePiece file."""

    roles: Mapping[str, str] = field(default_factory=dict)
    """The special token of each role, where no other file gives it."""

    first: tuple[str, ...] = ()
    """Tokens that take the place of the file's first pieces."""

    skip: int = 0
    """How many of the file's pieces they take the place of."""

    last: tuple[str, ...] = ()
    """Tokens after the file's pieces."""

    single: str | None = None
    """What stands around one text, `$A`; None for what the settings `add_bos_token` ... say."""

    pair: str | None = None
    """What stands around two texts, `$A` and `$B`."""

    is_lowercasing: bool = False
    """Whether quotes, accents and case are settings of the family, as in ALBERT."""

    padding_side: str = "right"
    """Where padding goes, where no other file says it."""


_FAIRSEQ = Layout(
    roles=_FAIRSEQ_ROLES,
    first=("<s>", "<pad>", "</s>", "<unk>"),
    skip=3,
    last=("<mask>",),
    single="<s> $A </s>",
    pair="<s> $A </s> </s> $B </s>",
)
_MBART = (*language_codes.MBART, "<mask>")
_MBART50 = (*language_codes.MBART, *language_codes.MBART50_MORE, "<mask>")
_LLAMA_ROLES = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
_ALBERT_ROLES = {
    "bos_token": "[CLS]",
    "eos_token": "[SEP]",
    "unk_token": "<unk>",
    "sep_token": "[SEP]",
    "pad_token": "<pad>",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_XLNET_ROLES = {**_FAIRSEQ_ROLES, "sep_token": "<sep>", "cls_token": "<cls>"}
_PEGASUS_FIRST = ("<pad>", "</s>", "<mask_1>", "<mask_2>", *(f"<unk_{n}>" for n in range(2, 103)))

LAYOUTS: Mapping[str, Layout] = {
    "T5Tokenizer": Layout(
        roles={"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
        single="$A </s>",
        pair="$A </s> $B </s>",
    ),
    "PegasusTokenizer": Layout(
        roles={
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "pad_token": "<pad>",
            "mask_token": "<mask_2>",
        },
        first=_PEGASUS_FIRST,
        skip=2,
        single="$A </s>",
        pair="$A $B </s>",
    ),
    "AlbertTokenizer": Layout(
        roles=_ALBERT_ROLES,
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        is_lowercasing=True,
    ),
    "XLNetTokenizer": Layout(
        roles=_XLNET_ROLES,
        single="$A <sep> <cls>:2",
        pair="$A <sep> $B:1 <sep>:1 <cls>:2",
        is_lowercasing=True,
        padding_side="left",
    ),
    "XLMRobertaTokenizer": _FAIRSEQ,
    "CamembertTokenizer": replace(
        _FAIRSEQ,
        first=("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED"),
        skip=1,
    ),
    "MBartTokenizer": replace(
        _FAIRSEQ, last=_MBART, single="$A </s> en_XX", pair="$A $B </s> en_XX"
    ),
    "MBart50Tokenizer": replace(
        _FAIRSEQ, last=_MBART50, single="en_XX $A </s>", pair="en_XX $A $B </s>"
    ),
    "NllbTokenizer": replace(
        _FAIRSEQ,
        last=(*language_codes.NLLB, "<mask>"),
        single="eng_Latn $A </s>",
        pair="eng_Latn $A $B </s>",
    ),
    "LlamaTokenizer": Layout(roles=_LLAMA_ROLES, padding_side="left"),
    "GemmaTokenizer": Layout(
        roles={
            "bos_token": "<bos>",
            "eos_token": "<eos>",
            "unk_token": "<unk>",
            "pad_token": "<pad>",
        },
        padding_side="left",
    ),
}
"""The layouts by the name of the tokenizer's class, as `tokenizer_config.json` gives it."""

FAMILY_OF_MODEL = {
    "albert": "AlbertTokenizer",
    "camembert": "CamembertTokenizer",
    "gemma": "GemmaTokenizer",
    "llama": "LlamaTokenizer",
    "m2m_100": "M2M100Tokenizer",
    "marian": "MarianTokenizer",
    "mbart": "MBartTokenizer",
    "mistral": "LlamaTokenizer",
    "mt5": "T5Tokenizer",
    "pegasus": "PegasusTokenizer",
    "t5": "T5Tokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "xlnet": "XLNetTokenizer",
}
"""The tokenizer's class by the `model_type` of `config.json`."""

FAMILY_OF_FILE = {
    "spiece.model": "T5Tokenizer",
    "sentencepiece.bpe.model": "XLMRobertaTokenizer",
    "tokenizer.model": "LlamaTokenizer",
}
"""SentencePiece files, in the order they are looked for, and whose they are if nothing says it."""


def build_family(model: PieceModel, family: str, settings: TokenizerSettings) -> NativeTokenizer:
    """Build the tokenizer that a family makes of a SentencePiece file, and fill in its settings.

    Raises:
        TokenizerError: The file's vocabulary lacks a token that the family needs.
    """
    layout = LAYOUTS[family]
    config = settings.original
    if family == "T5Tokenizer":
        layout = replace(layout, last=_sentinels(config))
    if family == "NllbTokenizer" and settings.extra_special_tokens:
        layout = replace(layout, last=(*settings.extra_special_tokens, "<mask>"))
    pieces = _arranged(model, layout)
    if layout.is_lowercasing:
        pieces = [_without_commas(piece) for piece in pieces]
    known = {piece.text for piece in pieces}
    for role, token in layout.roles.items():
        if token in known:
            settings.roles.setdefault(role, token)
    if "padding_side" not in config:
        settings.padding_side = "left" if layout.padding_side == "left" else "right"
    if family == "XLNetTokenizer":
        settings.pad_token_type_id = 3
    settings.extra_special_tokens += [
        token for token in _named_extras(layout) if token not in settings.extra_special_tokens
    ]
    backend = build_backend(
        model,
        pieces,
        special=_special_tokens(settings, known),
        before=_before(layout, config),
        prefix=_prefix(family, config),
    )
    _frame(backend, layout, settings, family)
    return backend


def _sentinels(config: Mapping[str, object]) -> tuple[str, ...]:
    """Return T5's sentinels, numbered from the end (Raffel et al. 2019, section 3.1.4)."""
    number = config.get("extra_ids", 100)
    if not isinstance(number, int) or not 0 <= number <= MAX_SENTINELS:
        raise TokenizerError(
            f"`extra_ids` in tokenizer_config.json must be 0 to {MAX_SENTINELS}, but is {number!r}."
        )
    return tuple(f"<extra_id_{n}>" for n in reversed(range(number)))


def _arranged(model: PieceModel, layout: Layout) -> list[Piece]:
    unknown = model.unknown()
    first = [
        Piece(token, 0.0, Kind.UNKNOWN if token == unknown else Kind.CONTROL)
        for token in layout.first
    ]
    pieces = first + list(model.pieces[layout.skip :])
    known = {piece.text for piece in pieces}
    pieces += [Piece(token, 0.0, Kind.CONTROL) for token in layout.last if token not in known]
    if len(pieces) != len({piece.text for piece in pieces}):
        twice = [
            token
            for token in layout.first
            if any(token == p.text for p in model.pieces[layout.skip :])
        ]
        raise TokenizerError(
            f"The SentencePiece file has {', '.join(twice)} where the family's pieces begin."
        )
    if not any(piece.kind == Kind.UNKNOWN for piece in pieces):
        raise TokenizerError(
            f"The SentencePiece file has {unknown!r:.40} for what is unknown; this family needs "
            "`<unk>`."
        )
    return pieces


def _without_commas(piece: Piece) -> Piece:
    """Avoid pieces of a digit and a comma, as ALBERT and XLNet split these apart."""
    if len(piece.text) > 1 and piece.text[-1] == "," and piece.text[-2].isdigit():
        return piece._replace(score=piece.score - 100)
    return piece


def _named_extras(layout: Layout) -> list[str]:
    with_role = set(layout.roles.values())
    tokens = [*layout.first, *layout.last]
    return [token for token in tokens if token not in with_role and not token.endswith("NOTUSED")]


def _special_tokens(settings: TokenizerSettings, known: set[str]) -> list[AddedToken]:
    mask = settings.roles.get("mask_token")
    tokens = [*settings.roles.values(), *settings.extra_special_tokens]
    return [
        AddedToken(token, special=True, normalized=False, lstrip=token == mask)
        for token in dict.fromkeys(tokens)
        if token in known
    ]


def _before(layout: Layout, config: Mapping[str, object]) -> list[normalizers.Normalizer]:
    if not layout.is_lowercasing:
        return []
    steps: list[normalizers.Normalizer] = [
        normalizers.Replace("``", '"'),
        normalizers.Replace("''", '"'),
    ]
    if config.get("keep_accents") is not True:
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    lowers = config.get("do_lower_case", layout.padding_side == "right")  # ALBERT's, not XLNet's
    return [*steps, normalizers.Lowercase()] if lowers else steps


def _prefix(family: str, config: Mapping[str, object]) -> Prefix | None:
    if family != "LlamaTokenizer":
        return None
    if config.get("add_prefix_space") is False:
        return "never"
    return "first" if config.get("legacy") is False else None


def _frame(
    backend: NativeTokenizer, layout: Layout, settings: TokenizerSettings, family: str
) -> None:
    single, pair = layout.single, layout.pair
    if single is None or pair is None:
        single, pair = _by_settings(settings)
    names = {name.partition(":")[0] for name in f"{single} {pair}".split()} - {"$A", "$B"}
    ids = {name: backend.token_to_id(name) for name in names}
    missing = sorted(name for name, number in ids.items() if number is None)
    if missing:
        raise TokenizerError(
            f"The SentencePiece file lacks {', '.join(missing)}, which a {family} puts around "
            "texts."
        )
    backend.post_processor = processors.TemplateProcessing(
        single=single,
        pair=pair,
        special_tokens=[(name, n) for name, n in ids.items() if n is not None],
    )


def _by_settings(settings: TokenizerSettings) -> tuple[str, str]:
    """Return the frames of decoders: by default the first token in front, none behind."""
    bos, eos = settings.roles.get("bos_token"), settings.roles.get("eos_token")
    before = bos if settings.original.get("add_bos_token") is not False else None
    after = eos if settings.original.get("add_eos_token") is True else None
    single = [name for name in (before, "$A", after) if name]
    second = [f"{name}:1" for name in (before, "$B", after) if name]
    return " ".join(single), " ".join([*single, *second])
