"""Conversations are written as `transformers` writes them, within bounds."""

import json
import time

import pytest
import transformers
from tokenizer_samples import write_folder

from abrazo.errors import AbrazoError, ConfigError, TokenizerError
from abrazo.tokenization.auto import AutoTokenizer

LIMIT_S = 2.0
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + "
    "message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA = """{% if messages[0]['role'] == 'system' %}
  {% set rest = messages[1:] %}
  {% set system = '<<SYS>>\n' + messages[0]['content'] | trim + '\n<</SYS>>\n\n' %}
{% else %}
  {% set rest = messages %}
  {% set system = '' %}
{% endif %}
{% for message in rest %}
  {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
    {{ raise_exception('Roles must alternate user/assistant') }}
  {%- endif -%}
  {%- if message['role'] == 'user' -%}
    {{- bos_token ~ '[INST] ' ~ (system if loop.first else '') ~ message.content.strip() ~ ' [/INST]' -}}
  {%- else -%}
    {{- ' ' ~ message.content | trim ~ ' ' ~ eos_token -}}
  {%- endif -%}
{% endfor %}"""  # noqa: E501
TOOLS = """{%- macro turn(role, text) -%}
<|{{ role }}|>{{ text }}{{ eos_token }}
{% endmacro -%}
{%- set ns = namespace(last='', count=0) -%}
{%- if tools is defined and tools %}{{ turn('tools', tools | tojson) }}{% endif -%}
{%- for message in messages -%}
  {%- if loop.last %}{% set ns.last = message.role %}{% endif -%}
  {%- if not message.content %}{% continue %}{% endif -%}
  {%- set ns.count = ns.count + 1 -%}
  {{- turn(message.role | upper, message.content) -}}
{%- endfor -%}
{%- if add_generation_prompt %}<|ASSISTANT|>{% endif -%}
{{- '' if enable_thinking is defined and enable_thinking else '[' ~ ns.count ~ ns.last ~ ']' -}}"""
GENERATION = (
    "{% for m in messages %}{% if m.role == 'assistant' %}A: {% generation %}{{ m.content }}."
    "{% endgeneration %}{% else %}U: {{ m.content }}{% endif %}\n{% endfor %}"
    "end {{ messages|length }}"
)
MESSAGES = [
    {"role": "system", "content": "  Be kind.\n"},
    {"role": "user", "content": 'Hi <b> & "you" 你好 😀'},
    {"role": "assistant", "content": "Hello!", "name": None},
    {"role": "user", "content": "x"},
    {"role": "assistant", "content": "y z"},
]


@pytest.fixture
def pair(tmp_path):
    folder = write_folder(tmp_path, "byte_level")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["bos_token"] = "<|endoftext|>"
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return transformers.AutoTokenizer.from_pretrained(folder), AutoTokenizer.from_folder(folder)


@pytest.mark.parametrize("template", [CHATML, LLAMA, TOOLS], ids=["chatml", "llama", "tools"])
@pytest.mark.parametrize("prompt", [False, True])
def test_conversations_are_written_as_by_transformers(pair, template, prompt):
    theirs, ours = pair
    theirs.chat_template = ours.chat_template = template
    tools = [{"type": "function", "function": {"name": "f<>", "description": "é"}}]
    for messages in (MESSAGES, MESSAGES[1:], MESSAGES[:2], MESSAGES[1:2]):
        for more in ({}, {"tools": tools}):
            options = {"add_generation_prompt": prompt, **more}
            expected = theirs.apply_chat_template(messages, tokenize=False, **options)
            assert ours.apply_chat_template(messages, tokenize=False, **options) == expected
            rows = theirs.apply_chat_template(messages, **options)
            assert ours.apply_chat_template(messages, **options).data == rows.data
    batch = [MESSAGES, MESSAGES[1:2]]
    options = {"padding": True, "return_tensors": "np"}
    expected, got = (one.apply_chat_template(batch, **options) for one in pair)
    assert {k: v.tolist() for k, v in got.items()} == {k: v.tolist() for k, v in expected.items()}


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (CHATML, ["Hello!<|im_end|>\n", "y z<|im_end|>\n"]),
        (LLAMA, [" Hello! <|endoftext|>", " y z <|endoftext|>"]),
        (GENERATION, ["Hello!.", "y z."]),
    ],
    ids=["chatml", "llama", "generation"],
)
def test_what_the_assistant_says_is_told_apart(pair, template, said):
    ours = pair[1]
    ours.chat_template = template
    rendered = ours.render_chat(MESSAGES)
    assert [rendered.text[start:end] for start, end in rendered.assistant_spans] == said
    encoding = ours.apply_chat_template(MESSAGES, return_assistant_tokens_mask=True)
    masks, ids = encoding["assistant_masks"], encoding["input_ids"]
    chosen = [number for number, mask in zip(ids, masks, strict=True) if mask]
    assert ours.decode(chosen) == "".join(said)


def test_what_cannot_be_told_apart_is_refused(pair):
    ours = pair[1]
    ours.chat_template = "{% for m in messages %}{{ m.content if loop.last else '-' }}|{% endfor %}"
    with pytest.raises(TokenizerError, match="Message 2: what the assistant says cannot be told"):
        ours.render_chat(MESSAGES)


def test_templates_are_kept_with_the_tokenizer(pair, tmp_path):
    ours = pair[1]
    ours.chat_template = CHATML
    ours.save_pretrained(tmp_path / "one")
    again = AutoTokenizer.from_folder(tmp_path / "one")
    assert again.chat_template == CHATML
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "one")
    assert theirs.chat_template == CHATML
    again.settings.chat_templates["tool_use"] = TOOLS
    again.save_pretrained(tmp_path / "two")
    third = AutoTokenizer.from_folder(tmp_path / "two")
    assert third.settings.chat_templates == {"default": CHATML, "tool_use": TOOLS}
    named = third.apply_chat_template(MESSAGES, tokenize=False, chat_template="tool_use")
    assert named.startswith("<|SYSTEM|>")


def test_options_are_those_that_the_template_reads(pair):
    ours = pair[1]
    ours.chat_template = TOOLS
    plain = ours.apply_chat_template(MESSAGES, tokenize=False)
    thinking = ours.apply_chat_template(MESSAGES, tokenize=False, enable_thinking=True)
    assert plain == thinking + "[5assistant]"
    with pytest.raises(ConfigError, match=r"`enable_thinkin`.*Did you mean `enable_thinking`"):
        ours.apply_chat_template(MESSAGES, enable_thinkin=True)


def test_a_refusal_of_the_template_is_told(pair):
    ours = pair[1]
    ours.chat_template = LLAMA
    with pytest.raises(TokenizerError, match="cannot take these messages: Roles must alternate"):
        ours.apply_chat_template([MESSAGES[2]])


def test_without_a_template_the_remedy_is_told(pair):
    with pytest.raises(ConfigError, match=r"Set `tokenizer\.chat_template`"):
        pair[1].apply_chat_template(MESSAGES)
    pair[1].chat_template = CHATML
    with pytest.raises(ConfigError, match="`chat_template` must be one of `default`"):
        pair[1].apply_chat_template(MESSAGES, chat_template="rag")


@pytest.mark.parametrize(
    "messages",
    ["hello", {"role": "user"}, [{"content": "x"}], [{"role": "user", "content": object()}]],
)
def test_what_is_no_conversation_is_refused(pair, messages):
    pair[1].chat_template = CHATML
    with pytest.raises(TokenizerError, match=r"conversation|no `role`|must hold texts"):
        pair[1].render_chat(messages)


def _doubling(step, start="'aa'"):
    return (
        f"{{% set ns = namespace(x={start}) %}}{{% for i in range(60) %}}"
        f"{{% set ns.x = {step} %}}{{% endfor %}}{{{{ ns.x }}}}"
    )


HOSTILE = {
    "nested ranges": "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
    "a huge range": "{% for a in range(99999999) %}x{% endfor %}",
    "a long output": "{% for a in range(9999) %}{{ 'x' * 1000 }}{% endfor %}",
    "a long text": "{{ 'a' * 10000000000 }}",
    "a long list": "{% set x = ['a' * 100000] * 100000 %}{{ x }}",
    "a power": "{{ 9 ** 9 ** 9 ** 9 }}",
    "a wide number": "{{ '%10000000000d' % 1 }}",
    "a wide format": "{{ '{:>10000000000}'.format(1) }}",
    "a wide text": "{{ 'a'.ljust(10000000000) }}",
    "a wide filter": "{{ 'a' | center(10000000000) }}",
    "a wide indent": "{{ ('a\n' * 50000) | indent(9999) }}",
    "indented JSON": "{{ messages | tojson(indent=1000000000) }}",
    "doubling by ~": _doubling("ns.x ~ ns.x"),
    "doubling by +": _doubling("ns.x + ns.x"),
    "doubling by join": _doubling("[ns.x, ns.x] | join"),
    "doubling lists": _doubling("[ns.x, ns.x]"),
    "squaring": _doubling("ns.x * ns.x", "9"),
    "replacing": "{% set x = 'a' * 50000 %}{{ x.replace('a', x) }}",
    "joining": "{% set x = 'a' * 50000 %}{{ x.join(x) }}",
    "a macro that calls itself": "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "a macro that calls itself twice": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}"
    "{% endif %}{% endmacro %}{{ f(40) }}",
    "sorting for ever": "{% for i in range(9999) %}{{ range(9999) | list | sort }}{% endfor %}",
    "a class walk": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "an attribute filter": "{{ '' | attr('__class__') }}",
    "a global": "{{ cycler.__init__.__globals__ }}",
    "an include": "{% include '/etc/hostname' %}",
    "an import": "{% import 'os' as os %}{{ os }}",
    "a private name": "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
    "a change of the messages": "{{ messages.append(1) }}",
    "deep brackets": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "deep loops": "{% for a in [1, 2] %}" * 60 + "x" + "{% endfor %}" * 60,
    "bad syntax": "{% for %}",
    "too long": "x" * 300_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_ends_with_an_error(pair, name):
    ours = pair[1]
    ours.chat_template = HOSTILE[name]
    start = time.monotonic()
    with pytest.raises(TokenizerError, match=r"chat template"):
        ours.apply_chat_template(MESSAGES, tokenize=False)
    assert time.monotonic() - start < LIMIT_S


@pytest.mark.parametrize("given", [7, [{"name": "a"}], [1], {"template": "x"}])
def test_a_template_in_a_config_must_be_one(tmp_path, given):
    folder = write_folder(tmp_path, "byte_level")
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": given}))
    with pytest.raises(AbrazoError, match="`chat_template` must be a template or a list"):
        AutoTokenizer.from_folder(folder)
