"""Models of several languages: what is read and written, and what is said when that is open."""

from pathlib import Path
from typing import Any

import pytest

import abrazo as az
from abrazo.errors import ConfigError
from abrazo.generation.config import GenerationConfig
from abrazo.models.base import PretrainedModel
from helpers.tiny import scramble
from helpers.writers import tiny_bart
from tokenization.piece_samples import write_family, write_m2m

PAIRS = [
    {"source": "hello world", "target": "你好世界"},
    {"source": "the quick brown fox", "target": "我们去公园"},
    {"source": "machine learning", "target": "机器学习"},
    {"source": "translation", "target": "翻译"},
]
KINDS = {
    "MBartTokenizer": ("MBart", "en_XX", "zh_CN"),
    "MBart50Tokenizer": ("MBart", "en_XX", "zh_CN"),
    "M2M100Tokenizer": ("M2M100", "en", "zh"),
}


def tiny(family: str, folder: Path, **config: Any) -> PretrainedModel:
    """Return a small model of a family of several languages, with its tokenizer."""
    name = KINDS[family][0]
    write = write_m2m if family == "M2M100Tokenizer" else write_family
    place = write(folder) if write is write_m2m else write(folder, family)
    tokenizer = az.AutoTokenizer.from_folder(place)
    sizes = {
        "vocab_size": len(tokenizer),
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 48,
        "max_position_embeddings": 64,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "decoder_start_token_id": tokenizer.eos_token_id,
    }
    model_class = getattr(az, f"{name}ForConditionalGeneration")
    model = model_class(getattr(az, f"{name}Config")(**{**sizes, **config}))
    scramble(model, std=0.05)
    model.tokenizer = tokenizer
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.eos_token_id,
        max_new_tokens=12,
    )
    return model.eval()


@pytest.mark.parametrize("family", KINDS)
def test_what_is_learned_is_written_in_its_language(family: str, tmp_path: Path) -> None:
    _, source, target = KINDS[family]
    args = az.TrainingArguments(
        output_dir=str(tmp_path / "run"),
        num_train_epochs=80,
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        precision="fp32",
        save_strategy="no",
        logging_steps=1000,
        report_to=[],
    )
    model = tiny(family, tmp_path / "tokenizer")
    task = az.TASKS["translation"]
    settings = {"source_language": source, "target_language": target}
    learned = task.learn(az.Dataset.from_list(PAIRS), task.settings_type.from_dict(settings))
    trainer = az.Trainer(model, args, train_dataset=PAIRS, task=learned)
    trainer.train()
    assert trainer.evaluate(PAIRS)["eval_bleu"] > 90
    trainer.save_model(tmp_path / "model")
    translate = az.pipeline("translation", tmp_path / "model", precision="fp32")
    written = translate([row["source"] for row in PAIRS])
    assert [one["translation_text"] for one in written] == [row["target"] for row in PAIRS]


@pytest.mark.parametrize("family", KINDS)
def test_a_language_can_be_chosen_by_either_name(family: str, tmp_path: Path) -> None:
    _, source, target = KINDS[family]
    model = tiny(family, tmp_path)
    first = az.pipeline(
        "translation", model, source_language=source, target_language=target, precision="fp32"
    )
    answer = first("hello")
    assert az.pipeline("translation", model, src_lang=source, tgt_lang=target)("hello")
    assert model.tokenizer.tgt_lang == target
    again = az.pipeline("translation", model, precision="fp32")  # the tokenizer's own
    assert again("hello") == answer


def test_an_open_language_is_told(tmp_path: Path) -> None:
    translate = az.pipeline("translation", tiny("M2M100Tokenizer", tmp_path))
    with pytest.raises(ConfigError, match=r"writes in 100 languages.*Give `target_language`"):
        translate("hello")
    with pytest.raises(ConfigError, match=r"set `tokenizer\.tgt_lang`"):
        az.Trainer(
            translate.engine.model,
            az.TrainingArguments(output_dir=str(tmp_path / "run"), report_to=[]),
            train_dataset=PAIRS,
            task="translation",
        ).train()


def test_what_the_model_says_of_its_language_is_enough(tmp_path: Path) -> None:
    model = tiny("M2M100Tokenizer", tmp_path)
    german = model.tokenizer.get_lang_id("de")
    model.generation_config = model.generation_config.replace(forced_bos_token_id=german)
    assert az.pipeline("translation", model)("hello")["translation_text"] is not None


@pytest.mark.parametrize("setting", ["source_language", "target_language", "src_lang", "tgt_lang"])
def test_a_language_that_is_not_there_is_told(setting: str, tmp_path: Path) -> None:
    model = tiny("M2M100Tokenizer", tmp_path)
    with pytest.raises(ConfigError, match="has no language 'tlh'"):
        az.pipeline("translation", model, **{setting: "tlh"})("hello")
    with pytest.raises(ConfigError, match="no languages to choose from, so none can be 'de'"):
        az.pipeline("translation", tiny_bart(), **{setting: "de"})("a film")
