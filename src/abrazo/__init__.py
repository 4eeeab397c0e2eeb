"""Fine-tune, evaluate and use text transformers on your own hardware.

    import abrazo as az

    model = az.BertForSequenceClassification.from_pretrained("minilm", num_labels=3)
    data = az.load_dataset("abrazo/starter", language="en")
    train = data["train"].select_columns(["text", "sentiment"])
    args = az.TrainingArguments(output_dir="results", num_train_epochs=3)
    trainer = az.Trainer(model, args, train_dataset=train)  # raw texts: nothing to tokenise
    trainer.train()
    print(trainer.evaluate(data["test"]))
    classify = az.pipeline("text-classification", "results")
    print(classify("Thank you, that was quick!"))

Every name is imported when it is first used, so that `import abrazo` costs next to nothing.
"""

import importlib
from difflib import get_close_matches

__version__ = "0.1.0"

_NAMES_OF_MODULES: dict[str, tuple[str, ...]] = {
    "abrazo.errors": (
        "AbrazoError",
        "CheckpointError",
        "ConfigError",
        "DataError",
        "HubError",
        "MissingExtraError",
        "TokenizerError",
        "TrainingError",
    ),
    "abrazo.config": ("Config",),
    "abrazo.data.dataset": ("Dataset", "DatasetDict", "concatenate_datasets"),
    "abrazo.data.loading": ("load_dataset",),
    "abrazo.data.collate": (
        "DataCollatorForLanguageModeling",
        "DataCollatorForSeq2Seq",
        "DataCollatorForTokenClassification",
        "DataCollatorWithPadding",
    ),
    "abrazo.data.corpus": ("Corpus",),
    "abrazo.data.mixture": ("Mixture",),
    "abrazo.data.sentence_pairs": ("SentencePairs",),
    "abrazo.data.text_datasets": (
        "LineByLineTextDataset",
        "TextDataset",
    ),
    "abrazo.tokenization.auto": ("AutoTokenizer",),
    "abrazo.tokenization.bert": ("BertTokenizer",),
    "abrazo.tokenization.families": (
        "AlbertTokenizer",
        "BartTokenizer",
        "CamembertTokenizer",
        "GPT2Tokenizer",
        "GemmaTokenizer",
        "LlamaTokenizer",
        "M2M100Tokenizer",
        "MBart50Tokenizer",
        "MBartTokenizer",
        "MarianTokenizer",
        "NllbTokenizer",
        "PegasusTokenizer",
        "Qwen2Tokenizer",
        "RobertaTokenizer",
        "T5Tokenizer",
        "TranslationTokenizer",
        "XLMRobertaTokenizer",
        "XLNetTokenizer",
    ),
    "abrazo.tokenization.tokenizer": ("Tokenizer",),
    "abrazo.tokenization.training": ("train_tokenizer",),
    "abrazo.heads.base": ("Head", "Loss"),
    "abrazo.heads.outputs": (
        "BackboneOutput",
        "CausalLMOutput",
        "MaskedLMOutput",
        "ModelOutput",
        "NextSentencePredictorOutput",
        "PreTrainingOutput",
        "QuestionAnsweringOutput",
        "Seq2SeqLMOutput",
        "Seq2SeqModelOutput",
        "SequenceClassifierOutput",
        "TokenClassifierOutput",
    ),
    "abrazo.models.base": ("PretrainedModel",),
    "abrazo.models.config": ("ModelConfig",),
    "abrazo.models.family": ("Backbone", "Family", "HeadPlan"),
    "abrazo.models.auto": (
        "AutoConfig",
        "AutoModel",
        "AutoModelForCausalLM",
        "AutoModelForMaskedLM",
        "AutoModelForNextSentencePrediction",
        "AutoModelForPreTraining",
        "AutoModelForQuestionAnswering",
        "AutoModelForSeq2SeqLM",
        "AutoModelForSequenceClassification",
        "AutoModelForTokenClassification",
        "BertLM",
        "TranslationModel",
        "load_model",
    ),
    "abrazo.models.bert": (
        "BertConfig",
        "BertForMaskedLM",
        "BertForNextSentencePrediction",
        "BertForPreTraining",
        "BertForQuestionAnswering",
        "BertForSequenceClassification",
        "BertForTokenClassification",
        "BertLMHeadModel",
        "BertModel",
    ),
    "abrazo.models.albert": (
        "AlbertConfig",
        "AlbertForMaskedLM",
        "AlbertForQuestionAnswering",
        "AlbertForSequenceClassification",
        "AlbertForTokenClassification",
        "AlbertModel",
    ),
    "abrazo.models.camembert": (
        "CamembertConfig",
        "CamembertForCausalLM",
        "CamembertForMaskedLM",
        "CamembertForQuestionAnswering",
        "CamembertForSequenceClassification",
        "CamembertForTokenClassification",
        "CamembertModel",
    ),
    "abrazo.models.deberta_v2": (
        "DebertaV2Config",
        "DebertaV2ForMaskedLM",
        "DebertaV2ForQuestionAnswering",
        "DebertaV2ForSequenceClassification",
        "DebertaV2ForTokenClassification",
        "DebertaV2Model",
    ),
    "abrazo.models.distilbert": (
        "DistilBertConfig",
        "DistilBertForMaskedLM",
        "DistilBertForQuestionAnswering",
        "DistilBertForSequenceClassification",
        "DistilBertForTokenClassification",
        "DistilBertModel",
    ),
    "abrazo.models.electra": (
        "ElectraConfig",
        "ElectraForMaskedLM",
        "ElectraForPreTraining",
        "ElectraForQuestionAnswering",
        "ElectraForSequenceClassification",
        "ElectraForTokenClassification",
        "ElectraModel",
    ),
    "abrazo.models.bart": (
        "BartConfig",
        "BartForConditionalGeneration",
        "BartModel",
    ),
    "abrazo.models.mbart": (
        "MBartConfig",
        "MBartForConditionalGeneration",
        "MBartModel",
    ),
    "abrazo.models.marian": (
        "MarianConfig",
        "MarianMTModel",
        "MarianModel",
    ),
    "abrazo.models.pegasus": (
        "PegasusConfig",
        "PegasusForConditionalGeneration",
        "PegasusModel",
    ),
    "abrazo.models.m2m_100": (
        "M2M100Config",
        "M2M100ForConditionalGeneration",
        "M2M100Model",
    ),
    "abrazo.models.t5": (
        "T5Config",
        "T5EncoderModel",
        "T5ForConditionalGeneration",
        "T5Model",
    ),
    "abrazo.models.mt5": (
        "MT5Config",
        "MT5EncoderModel",
        "MT5ForConditionalGeneration",
        "MT5Model",
    ),
    "abrazo.models.llama": (
        "LlamaConfig",
        "LlamaForCausalLM",
        "LlamaForSequenceClassification",
        "LlamaModel",
    ),
    "abrazo.models.mistral": (
        "MistralConfig",
        "MistralForCausalLM",
        "MistralForSequenceClassification",
        "MistralModel",
    ),
    "abrazo.models.qwen2": (
        "Qwen2Config",
        "Qwen2ForCausalLM",
        "Qwen2ForSequenceClassification",
        "Qwen2Model",
    ),
    "abrazo.models.qwen3": (
        "Qwen3Config",
        "Qwen3ForCausalLM",
        "Qwen3ForSequenceClassification",
        "Qwen3Model",
    ),
    "abrazo.models.gpt2": (
        "GPT2Config",
        "GPT2ForSequenceClassification",
        "GPT2LMHeadModel",
        "GPT2Model",
    ),
    "abrazo.models.gpt_neox": (
        "GPTNeoXConfig",
        "GPTNeoXForCausalLM",
        "GPTNeoXForSequenceClassification",
        "GPTNeoXModel",
    ),
    "abrazo.models.gemma": (
        "GemmaConfig",
        "GemmaForCausalLM",
        "GemmaForSequenceClassification",
        "GemmaModel",
    ),
    "abrazo.models.gemma2": (
        "Gemma2Config",
        "Gemma2ForCausalLM",
        "Gemma2ForSequenceClassification",
        "Gemma2Model",
    ),
    "abrazo.models.gemma3": (
        "Gemma3ForCausalLM",
        "Gemma3TextConfig",
        "Gemma3TextForSequenceClassification",
        "Gemma3TextModel",
    ),
    "abrazo.models.encoder_decoder": (
        "BertForSeq2SeqLM",
        "EncoderDecoderConfig",
        "EncoderDecoderModel",
    ),
    "abrazo.models.gte": (
        "GteConfig",
        "GteForMaskedLM",
        "GteForQuestionAnswering",
        "GteForSequenceClassification",
        "GteForTokenClassification",
        "GteModel",
    ),
    "abrazo.models.modernbert": (
        "ModernBertConfig",
        "ModernBertForMaskedLM",
        "ModernBertForQuestionAnswering",
        "ModernBertForSequenceClassification",
        "ModernBertForTokenClassification",
        "ModernBertModel",
    ),
    "abrazo.models.mpnet": (
        "MPNetConfig",
        "MPNetForMaskedLM",
        "MPNetForQuestionAnswering",
        "MPNetForSequenceClassification",
        "MPNetForTokenClassification",
        "MPNetModel",
    ),
    "abrazo.models.nomic_bert": (
        "NomicBertConfig",
        "NomicBertForMaskedLM",
        "NomicBertForQuestionAnswering",
        "NomicBertForSequenceClassification",
        "NomicBertForTokenClassification",
        "NomicBertModel",
    ),
    "abrazo.models.roberta": (
        "RobertaConfig",
        "RobertaForCausalLM",
        "RobertaForMaskedLM",
        "RobertaForQuestionAnswering",
        "RobertaForSequenceClassification",
        "RobertaForTokenClassification",
        "RobertaModel",
    ),
    "abrazo.models.xlm_roberta": (
        "XLMRobertaConfig",
        "XLMRobertaForCausalLM",
        "XLMRobertaForMaskedLM",
        "XLMRobertaForQuestionAnswering",
        "XLMRobertaForSequenceClassification",
        "XLMRobertaForTokenClassification",
        "XLMRobertaModel",
    ),
    "abrazo.models.adapters": (
        "add_lora",
        "load_adapter",
        "merge_lora",
        "remove_lora",
        "save_adapter",
        "unmerge_lora",
    ),
    "abrazo.models.freezing": ("freeze",),
    "abrazo.models.multi_task": ("MultiTaskModel",),
    "abrazo.models.sentence": ("SentenceModel",),
    "abrazo.generation.config": ("GenerationConfig",),
    "abrazo.generation.streaming": ("TextIteratorStreamer", "TextStreamer", "stream"),
    "abrazo.metrics": (
        "BleuMetrics",
        "ChrfMetrics",
        "ClassificationMetrics",
        "EvalPrediction",
        "ExactMatchMetrics",
        "Metric",
        "MultiLabelMetrics",
        "PerplexityMetrics",
        "RegressionMetrics",
        "RougeMetrics",
        "SpanMetrics",
    ),
    "abrazo.tasks.auto": ("TASKS",),
    "abrazo.tasks.base": ("Features", "Task", "TaskSettings"),
    "abrazo.tasks.sentence_similarity": ("SentenceSimilarity",),
    "abrazo.tasks.similarity_rows": ("SentenceSimilaritySettings",),
    "abrazo.tasks.text_classification": ("TextClassification", "TextClassificationSettings"),
    "abrazo.tasks.token_classification": ("TokenClassification", "TokenClassificationSettings"),
    "abrazo.inference.calibration": ("Calibration", "calibrate"),
    "abrazo.inference.pipeline": ("Pipeline", "pipeline"),
    "abrazo.inference.ranking": ("rank",),
    "abrazo.inference.search": ("Hit", "SearchIndex", "search"),
    "abrazo.training.arguments": ("TrainingArguments",),
    "abrazo.training.callbacks.base": ("Callback",),
    "abrazo.training.callbacks.early_stopping": ("EarlyStoppingCallback",),
    "abrazo.training.fit": ("fit",),
    "abrazo.training.pretraining": ("PretrainingArguments", "PretrainingOptions", "pretrain"),
    "abrazo.training.search": ("BestRun", "SearchOptions"),
    "abrazo.training.search_space": ("Choice", "IntRange", "Uniform"),
    "abrazo.training.trainer": ("Trainer",),
}
"""The public names, by the module each one is in. `__init__.pyi` tells them to type checkers."""

_MODULE_OF = {name: module for module, names in _NAMES_OF_MODULES.items() for name in names}

__all__ = ["__version__", *_MODULE_OF]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        nearest = get_close_matches(name, _MODULE_OF, n=1)
        hint = f" Did you mean `{nearest[0]}`?" if nearest else ""
        raise AttributeError(f"`abrazo` has no name `{name}`.{hint}")
    value: object = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
