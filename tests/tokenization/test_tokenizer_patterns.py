import pytest

from abrazo.tokenization.patterns import dangerous

REAL = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "llama3": (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "possessive": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"
        r"| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    ),
    "o200k": (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s+"
    ),
    "deepseek": (
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
        r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "bloom": r" ?[^(\s|[.,!?…。，、।۔،])]+",
    "spaces": r" {2,}",
    "digits": r"(?=(\d{3})+(?!\d))",
    "clip": r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    "class with a bracket first": r"[]a+]b+c",
    "a brace that is no repeat": r"a{b}+",
}
DANGEROUS = {
    "nested": r"(a+)+$",
    "nested twice": r"((a*)*)*b",
    "lazy": r"(a+?)+?b",
    "alternatives": r"(a|aa)+$",
    "optional": r"(a?){5,}b",
    "counted": r"(a{1,9})*b",
    "quantifier of a quantifier": r"a{1,3}+b",
    "hidden in a class look-alike": r"[(](a+)+b",
    "named": r"(?<x>a+)+b",
    "atomic": r"(?>a|ab)+c",
    "back reference": r"(a*)\1b",
    "named back reference": r"(?<x>a*)\k<x>b",
    "recursion": r"(?<x>a\g<x>b)",
    "expansion": r"((a{500}){500})",
    "too often": r"a{100000}",
    "too long": "[ab]" * 2000,
    "too many plain texts": "|".join(["text"] * 20_000),
    "too deep": "(" * 100 + ")" * 100,
    "many open repeats": "a*" * 20 + "b",
}


@pytest.mark.parametrize("name", REAL)
def test_patterns_of_real_tokenizers_pass(name):
    assert dangerous(REAL[name]) is None


@pytest.mark.parametrize("name", DANGEROUS)
def test_dangerous_patterns_are_named(name):
    assert dangerous(DANGEROUS[name])
