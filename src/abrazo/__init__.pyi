"""The public names, for type checkers and editors; a test holds them to `__init__.py`."""

from abrazo.config import Config as Config
from abrazo.data.collate import DataCollatorForLanguageModeling as DataCollatorForLanguageModeling
from abrazo.data.collate import DataCollatorForSeq2Seq as DataCollatorForSeq2Seq
from abrazo.data.collate import (
    DataCollatorForTokenClassification as DataCollatorForTokenClassification,
)
from abrazo.data.collate import DataCollatorWithPadding as DataCollatorWithPadding
from abrazo.data.corpus import Corpus as Corpus
from abrazo.data.dataset import Dataset as Dataset
from abrazo.data.dataset import DatasetDict as DatasetDict
from abrazo.data.dataset import concatenate_datasets as concatenate_datasets
from abrazo.data.loading import load_dataset as load_dataset
from abrazo.data.mixture import Mixture as Mixture
from abrazo.data.sentence_pairs import SentencePairs as SentencePairs
from abrazo.data.text_datasets import LineByLineTextDataset as LineByLineTextDataset
from abrazo.data.text_datasets import TextDataset as TextDataset
from abrazo.errors import AbrazoError as AbrazoError
from abrazo.errors import CheckpointError as CheckpointError
from abrazo.errors import ConfigError as ConfigError
from abrazo.errors import DataError as DataError
from abrazo.errors import HubError as HubError
from abrazo.errors import MissingExtraError as MissingExtraError
from abrazo.errors import TokenizerError as TokenizerError
from abrazo.errors import TrainingError as TrainingError
from abrazo.generation.config import GenerationConfig as GenerationConfig
from abrazo.generation.streaming import TextIteratorStreamer as TextIteratorStreamer
from abrazo.generation.streaming import TextStreamer as TextStreamer
from abrazo.generation.streaming import stream as stream
from abrazo.heads.base import Head as Head
from abrazo.heads.base import Loss as Loss
from abrazo.heads.outputs import BackboneOutput as BackboneOutput
from abrazo.heads.outputs import CausalLMOutput as CausalLMOutput
from abrazo.heads.outputs import MaskedLMOutput as MaskedLMOutput
from abrazo.heads.outputs import ModelOutput as ModelOutput
from abrazo.heads.outputs import NextSentencePredictorOutput as NextSentencePredictorOutput
from abrazo.heads.outputs import PreTrainingOutput as PreTrainingOutput
from abrazo.heads.outputs import QuestionAnsweringOutput as QuestionAnsweringOutput
from abrazo.heads.outputs import Seq2SeqLMOutput as Seq2SeqLMOutput
from abrazo.heads.outputs import Seq2SeqModelOutput as Seq2SeqModelOutput
from abrazo.heads.outputs import SequenceClassifierOutput as SequenceClassifierOutput
from abrazo.heads.outputs import TokenClassifierOutput as TokenClassifierOutput
from abrazo.inference.calibration import Calibration as Calibration
from abrazo.inference.calibration import calibrate as calibrate
from abrazo.inference.pipeline import Pipeline as Pipeline
from abrazo.inference.pipeline import pipeline as pipeline
from abrazo.inference.ranking import rank as rank
from abrazo.inference.search import Hit as Hit
from abrazo.inference.search import SearchIndex as SearchIndex
from abrazo.inference.search import search as search
from abrazo.metrics import BleuMetrics as BleuMetrics
from abrazo.metrics import ChrfMetrics as ChrfMetrics
from abrazo.metrics import ClassificationMetrics as ClassificationMetrics
from abrazo.metrics import EvalPrediction as EvalPrediction
from abrazo.metrics import ExactMatchMetrics as ExactMatchMetrics
from abrazo.metrics import Metric as Metric
from abrazo.metrics import MultiLabelMetrics as MultiLabelMetrics
from abrazo.metrics import PerplexityMetrics as PerplexityMetrics
from abrazo.metrics import RegressionMetrics as RegressionMetrics
from abrazo.metrics import RougeMetrics as RougeMetrics
from abrazo.metrics import SpanMetrics as SpanMetrics
from abrazo.models.adapters import add_lora as add_lora
from abrazo.models.adapters import load_adapter as load_adapter
from abrazo.models.adapters import merge_lora as merge_lora
from abrazo.models.adapters import remove_lora as remove_lora
from abrazo.models.adapters import save_adapter as save_adapter
from abrazo.models.adapters import unmerge_lora as unmerge_lora
from abrazo.models.albert import AlbertConfig as AlbertConfig
from abrazo.models.albert import AlbertForMaskedLM as AlbertForMaskedLM
from abrazo.models.albert import AlbertForQuestionAnswering as AlbertForQuestionAnswering
from abrazo.models.albert import AlbertForSequenceClassification as AlbertForSequenceClassification
from abrazo.models.albert import AlbertForTokenClassification as AlbertForTokenClassification
from abrazo.models.albert import AlbertModel as AlbertModel
from abrazo.models.auto import AutoConfig as AutoConfig
from abrazo.models.auto import AutoModel as AutoModel
from abrazo.models.auto import AutoModelForCausalLM as AutoModelForCausalLM
from abrazo.models.auto import AutoModelForMaskedLM as AutoModelForMaskedLM
from abrazo.models.auto import (
    AutoModelForNextSentencePrediction as AutoModelForNextSentencePrediction,
)
from abrazo.models.auto import AutoModelForPreTraining as AutoModelForPreTraining
from abrazo.models.auto import AutoModelForQuestionAnswering as AutoModelForQuestionAnswering
from abrazo.models.auto import AutoModelForSeq2SeqLM as AutoModelForSeq2SeqLM
from abrazo.models.auto import (
    AutoModelForSequenceClassification as AutoModelForSequenceClassification,
)
from abrazo.models.auto import AutoModelForTokenClassification as AutoModelForTokenClassification
from abrazo.models.auto import BertLM as BertLM
from abrazo.models.auto import TranslationModel as TranslationModel
from abrazo.models.auto import load_model as load_model
from abrazo.models.bart import BartConfig as BartConfig
from abrazo.models.bart import BartForConditionalGeneration as BartForConditionalGeneration
from abrazo.models.bart import BartModel as BartModel
from abrazo.models.base import PretrainedModel as PretrainedModel
from abrazo.models.bert import BertConfig as BertConfig
from abrazo.models.bert import BertForMaskedLM as BertForMaskedLM
from abrazo.models.bert import BertForNextSentencePrediction as BertForNextSentencePrediction
from abrazo.models.bert import BertForPreTraining as BertForPreTraining
from abrazo.models.bert import BertForQuestionAnswering as BertForQuestionAnswering
from abrazo.models.bert import BertForSequenceClassification as BertForSequenceClassification
from abrazo.models.bert import BertForTokenClassification as BertForTokenClassification
from abrazo.models.bert import BertLMHeadModel as BertLMHeadModel
from abrazo.models.bert import BertModel as BertModel
from abrazo.models.camembert import CamembertConfig as CamembertConfig
from abrazo.models.camembert import CamembertForCausalLM as CamembertForCausalLM
from abrazo.models.camembert import CamembertForMaskedLM as CamembertForMaskedLM
from abrazo.models.camembert import CamembertForQuestionAnswering as CamembertForQuestionAnswering
from abrazo.models.camembert import (
    CamembertForSequenceClassification as CamembertForSequenceClassification,
)
from abrazo.models.camembert import (
    CamembertForTokenClassification as CamembertForTokenClassification,
)
from abrazo.models.camembert import CamembertModel as CamembertModel
from abrazo.models.config import ModelConfig as ModelConfig
from abrazo.models.deberta_v2 import DebertaV2Config as DebertaV2Config
from abrazo.models.deberta_v2 import DebertaV2ForMaskedLM as DebertaV2ForMaskedLM
from abrazo.models.deberta_v2 import DebertaV2ForQuestionAnswering as DebertaV2ForQuestionAnswering
from abrazo.models.deberta_v2 import (
    DebertaV2ForSequenceClassification as DebertaV2ForSequenceClassification,
)
from abrazo.models.deberta_v2 import (
    DebertaV2ForTokenClassification as DebertaV2ForTokenClassification,
)
from abrazo.models.deberta_v2 import DebertaV2Model as DebertaV2Model
from abrazo.models.distilbert import DistilBertConfig as DistilBertConfig
from abrazo.models.distilbert import DistilBertForMaskedLM as DistilBertForMaskedLM
from abrazo.models.distilbert import (
    DistilBertForQuestionAnswering as DistilBertForQuestionAnswering,
)
from abrazo.models.distilbert import (
    DistilBertForSequenceClassification as DistilBertForSequenceClassification,
)
from abrazo.models.distilbert import (
    DistilBertForTokenClassification as DistilBertForTokenClassification,
)
from abrazo.models.distilbert import DistilBertModel as DistilBertModel
from abrazo.models.electra import ElectraConfig as ElectraConfig
from abrazo.models.electra import ElectraForMaskedLM as ElectraForMaskedLM
from abrazo.models.electra import ElectraForPreTraining as ElectraForPreTraining
from abrazo.models.electra import ElectraForQuestionAnswering as ElectraForQuestionAnswering
from abrazo.models.electra import (
    ElectraForSequenceClassification as ElectraForSequenceClassification,
)
from abrazo.models.electra import ElectraForTokenClassification as ElectraForTokenClassification
from abrazo.models.electra import ElectraModel as ElectraModel
from abrazo.models.encoder_decoder import BertForSeq2SeqLM as BertForSeq2SeqLM
from abrazo.models.encoder_decoder import EncoderDecoderConfig as EncoderDecoderConfig
from abrazo.models.encoder_decoder import EncoderDecoderModel as EncoderDecoderModel
from abrazo.models.family import Backbone as Backbone
from abrazo.models.family import Family as Family
from abrazo.models.family import HeadPlan as HeadPlan
from abrazo.models.freezing import freeze as freeze
from abrazo.models.gemma import GemmaConfig as GemmaConfig
from abrazo.models.gemma import GemmaForCausalLM as GemmaForCausalLM
from abrazo.models.gemma import GemmaForSequenceClassification as GemmaForSequenceClassification
from abrazo.models.gemma import GemmaModel as GemmaModel
from abrazo.models.gemma2 import Gemma2Config as Gemma2Config
from abrazo.models.gemma2 import Gemma2ForCausalLM as Gemma2ForCausalLM
from abrazo.models.gemma2 import Gemma2ForSequenceClassification as Gemma2ForSequenceClassification
from abrazo.models.gemma2 import Gemma2Model as Gemma2Model
from abrazo.models.gemma3 import Gemma3ForCausalLM as Gemma3ForCausalLM
from abrazo.models.gemma3 import Gemma3TextConfig as Gemma3TextConfig
from abrazo.models.gemma3 import (
    Gemma3TextForSequenceClassification as Gemma3TextForSequenceClassification,
)
from abrazo.models.gemma3 import Gemma3TextModel as Gemma3TextModel
from abrazo.models.gpt2 import GPT2Config as GPT2Config
from abrazo.models.gpt2 import GPT2ForSequenceClassification as GPT2ForSequenceClassification
from abrazo.models.gpt2 import GPT2LMHeadModel as GPT2LMHeadModel
from abrazo.models.gpt2 import GPT2Model as GPT2Model
from abrazo.models.gpt_neox import GPTNeoXConfig as GPTNeoXConfig
from abrazo.models.gpt_neox import GPTNeoXForCausalLM as GPTNeoXForCausalLM
from abrazo.models.gpt_neox import (
    GPTNeoXForSequenceClassification as GPTNeoXForSequenceClassification,
)
from abrazo.models.gpt_neox import GPTNeoXModel as GPTNeoXModel
from abrazo.models.gte import GteConfig as GteConfig
from abrazo.models.gte import GteForMaskedLM as GteForMaskedLM
from abrazo.models.gte import GteForQuestionAnswering as GteForQuestionAnswering
from abrazo.models.gte import GteForSequenceClassification as GteForSequenceClassification
from abrazo.models.gte import GteForTokenClassification as GteForTokenClassification
from abrazo.models.gte import GteModel as GteModel
from abrazo.models.llama import LlamaConfig as LlamaConfig
from abrazo.models.llama import LlamaForCausalLM as LlamaForCausalLM
from abrazo.models.llama import LlamaForSequenceClassification as LlamaForSequenceClassification
from abrazo.models.llama import LlamaModel as LlamaModel
from abrazo.models.m2m_100 import M2M100Config as M2M100Config
from abrazo.models.m2m_100 import M2M100ForConditionalGeneration as M2M100ForConditionalGeneration
from abrazo.models.m2m_100 import M2M100Model as M2M100Model
from abrazo.models.marian import MarianConfig as MarianConfig
from abrazo.models.marian import MarianModel as MarianModel
from abrazo.models.marian import MarianMTModel as MarianMTModel
from abrazo.models.mbart import MBartConfig as MBartConfig
from abrazo.models.mbart import MBartForConditionalGeneration as MBartForConditionalGeneration
from abrazo.models.mbart import MBartModel as MBartModel
from abrazo.models.mistral import MistralConfig as MistralConfig
from abrazo.models.mistral import MistralForCausalLM as MistralForCausalLM
from abrazo.models.mistral import (
    MistralForSequenceClassification as MistralForSequenceClassification,
)
from abrazo.models.mistral import MistralModel as MistralModel
from abrazo.models.modernbert import ModernBertConfig as ModernBertConfig
from abrazo.models.modernbert import ModernBertForMaskedLM as ModernBertForMaskedLM
from abrazo.models.modernbert import (
    ModernBertForQuestionAnswering as ModernBertForQuestionAnswering,
)
from abrazo.models.modernbert import (
    ModernBertForSequenceClassification as ModernBertForSequenceClassification,
)
from abrazo.models.modernbert import (
    ModernBertForTokenClassification as ModernBertForTokenClassification,
)
from abrazo.models.modernbert import ModernBertModel as ModernBertModel
from abrazo.models.mpnet import MPNetConfig as MPNetConfig
from abrazo.models.mpnet import MPNetForMaskedLM as MPNetForMaskedLM
from abrazo.models.mpnet import MPNetForQuestionAnswering as MPNetForQuestionAnswering
from abrazo.models.mpnet import MPNetForSequenceClassification as MPNetForSequenceClassification
from abrazo.models.mpnet import MPNetForTokenClassification as MPNetForTokenClassification
from abrazo.models.mpnet import MPNetModel as MPNetModel
from abrazo.models.mt5 import MT5Config as MT5Config
from abrazo.models.mt5 import MT5EncoderModel as MT5EncoderModel
from abrazo.models.mt5 import MT5ForConditionalGeneration as MT5ForConditionalGeneration
from abrazo.models.mt5 import MT5Model as MT5Model
from abrazo.models.multi_task import MultiTaskModel as MultiTaskModel
from abrazo.models.nomic_bert import NomicBertConfig as NomicBertConfig
from abrazo.models.nomic_bert import NomicBertForMaskedLM as NomicBertForMaskedLM
from abrazo.models.nomic_bert import NomicBertForQuestionAnswering as NomicBertForQuestionAnswering
from abrazo.models.nomic_bert import (
    NomicBertForSequenceClassification as NomicBertForSequenceClassification,
)
from abrazo.models.nomic_bert import (
    NomicBertForTokenClassification as NomicBertForTokenClassification,
)
from abrazo.models.nomic_bert import NomicBertModel as NomicBertModel
from abrazo.models.pegasus import PegasusConfig as PegasusConfig
from abrazo.models.pegasus import PegasusForConditionalGeneration as PegasusForConditionalGeneration
from abrazo.models.pegasus import PegasusModel as PegasusModel
from abrazo.models.qwen2 import Qwen2Config as Qwen2Config
from abrazo.models.qwen2 import Qwen2ForCausalLM as Qwen2ForCausalLM
from abrazo.models.qwen2 import Qwen2ForSequenceClassification as Qwen2ForSequenceClassification
from abrazo.models.qwen2 import Qwen2Model as Qwen2Model
from abrazo.models.qwen3 import Qwen3Config as Qwen3Config
from abrazo.models.qwen3 import Qwen3ForCausalLM as Qwen3ForCausalLM
from abrazo.models.qwen3 import Qwen3ForSequenceClassification as Qwen3ForSequenceClassification
from abrazo.models.qwen3 import Qwen3Model as Qwen3Model
from abrazo.models.roberta import RobertaConfig as RobertaConfig
from abrazo.models.roberta import RobertaForCausalLM as RobertaForCausalLM
from abrazo.models.roberta import RobertaForMaskedLM as RobertaForMaskedLM
from abrazo.models.roberta import RobertaForQuestionAnswering as RobertaForQuestionAnswering
from abrazo.models.roberta import (
    RobertaForSequenceClassification as RobertaForSequenceClassification,
)
from abrazo.models.roberta import RobertaForTokenClassification as RobertaForTokenClassification
from abrazo.models.roberta import RobertaModel as RobertaModel
from abrazo.models.sentence import SentenceModel as SentenceModel
from abrazo.models.t5 import T5Config as T5Config
from abrazo.models.t5 import T5EncoderModel as T5EncoderModel
from abrazo.models.t5 import T5ForConditionalGeneration as T5ForConditionalGeneration
from abrazo.models.t5 import T5Model as T5Model
from abrazo.models.xlm_roberta import XLMRobertaConfig as XLMRobertaConfig
from abrazo.models.xlm_roberta import XLMRobertaForCausalLM as XLMRobertaForCausalLM
from abrazo.models.xlm_roberta import XLMRobertaForMaskedLM as XLMRobertaForMaskedLM
from abrazo.models.xlm_roberta import (
    XLMRobertaForQuestionAnswering as XLMRobertaForQuestionAnswering,
)
from abrazo.models.xlm_roberta import (
    XLMRobertaForSequenceClassification as XLMRobertaForSequenceClassification,
)
from abrazo.models.xlm_roberta import (
    XLMRobertaForTokenClassification as XLMRobertaForTokenClassification,
)
from abrazo.models.xlm_roberta import XLMRobertaModel as XLMRobertaModel
from abrazo.tasks.auto import TASKS as TASKS
from abrazo.tasks.base import Features as Features
from abrazo.tasks.base import Task as Task
from abrazo.tasks.base import TaskSettings as TaskSettings
from abrazo.tasks.sentence_similarity import SentenceSimilarity as SentenceSimilarity
from abrazo.tasks.similarity_rows import SentenceSimilaritySettings as SentenceSimilaritySettings
from abrazo.tasks.text_classification import TextClassification as TextClassification
from abrazo.tasks.text_classification import (
    TextClassificationSettings as TextClassificationSettings,
)
from abrazo.tasks.token_classification import TokenClassification as TokenClassification
from abrazo.tasks.token_classification import (
    TokenClassificationSettings as TokenClassificationSettings,
)
from abrazo.tokenization.auto import AutoTokenizer as AutoTokenizer
from abrazo.tokenization.bert import BertTokenizer as BertTokenizer
from abrazo.tokenization.families import AlbertTokenizer as AlbertTokenizer
from abrazo.tokenization.families import BartTokenizer as BartTokenizer
from abrazo.tokenization.families import CamembertTokenizer as CamembertTokenizer
from abrazo.tokenization.families import GemmaTokenizer as GemmaTokenizer
from abrazo.tokenization.families import GPT2Tokenizer as GPT2Tokenizer
from abrazo.tokenization.families import LlamaTokenizer as LlamaTokenizer
from abrazo.tokenization.families import M2M100Tokenizer as M2M100Tokenizer
from abrazo.tokenization.families import MarianTokenizer as MarianTokenizer
from abrazo.tokenization.families import MBart50Tokenizer as MBart50Tokenizer
from abrazo.tokenization.families import MBartTokenizer as MBartTokenizer
from abrazo.tokenization.families import NllbTokenizer as NllbTokenizer
from abrazo.tokenization.families import PegasusTokenizer as PegasusTokenizer
from abrazo.tokenization.families import Qwen2Tokenizer as Qwen2Tokenizer
from abrazo.tokenization.families import RobertaTokenizer as RobertaTokenizer
from abrazo.tokenization.families import T5Tokenizer as T5Tokenizer
from abrazo.tokenization.families import TranslationTokenizer as TranslationTokenizer
from abrazo.tokenization.families import XLMRobertaTokenizer as XLMRobertaTokenizer
from abrazo.tokenization.families import XLNetTokenizer as XLNetTokenizer
from abrazo.tokenization.tokenizer import Tokenizer as Tokenizer
from abrazo.tokenization.training import train_tokenizer as train_tokenizer
from abrazo.training.arguments import TrainingArguments as TrainingArguments
from abrazo.training.callbacks.base import Callback as Callback
from abrazo.training.callbacks.early_stopping import EarlyStoppingCallback as EarlyStoppingCallback
from abrazo.training.fit import fit as fit
from abrazo.training.pretraining import PretrainingArguments as PretrainingArguments
from abrazo.training.pretraining import PretrainingOptions as PretrainingOptions
from abrazo.training.pretraining import pretrain as pretrain
from abrazo.training.search import BestRun as BestRun
from abrazo.training.search import SearchOptions as SearchOptions
from abrazo.training.search_space import Choice as Choice
from abrazo.training.search_space import IntRange as IntRange
from abrazo.training.search_space import Uniform as Uniform
from abrazo.training.trainer import Trainer as Trainer

__version__: str
