"""The public names, for type checkers and editors; a test holds them equal to `__init__.py`."""

from abrazo.config import Config as Config
from abrazo.data.dataset import Dataset as Dataset
from abrazo.data.dataset import DatasetDict as DatasetDict
from abrazo.data.dataset import concatenate_datasets as concatenate_datasets
from abrazo.data.loading import load_dataset as load_dataset
from abrazo.errors import AbrazoError as AbrazoError
from abrazo.errors import CheckpointError as CheckpointError
from abrazo.errors import ConfigError as ConfigError
from abrazo.errors import DataError as DataError
from abrazo.errors import HubError as HubError
from abrazo.errors import MissingExtraError as MissingExtraError
from abrazo.errors import TokenizerError as TokenizerError
from abrazo.errors import TrainingError as TrainingError
from abrazo.heads.outputs import BackboneOutput as BackboneOutput
from abrazo.heads.outputs import MaskedLMOutput as MaskedLMOutput
from abrazo.heads.outputs import ModelOutput as ModelOutput
from abrazo.heads.outputs import NextSentencePredictorOutput as NextSentencePredictorOutput
from abrazo.heads.outputs import PreTrainingOutput as PreTrainingOutput
from abrazo.heads.outputs import QuestionAnsweringOutput as QuestionAnsweringOutput
from abrazo.heads.outputs import SequenceClassifierOutput as SequenceClassifierOutput
from abrazo.heads.outputs import TokenClassifierOutput as TokenClassifierOutput
from abrazo.inference.pipeline import Pipeline as Pipeline
from abrazo.inference.pipeline import pipeline as pipeline
from abrazo.metrics import ClassificationMetrics as ClassificationMetrics
from abrazo.metrics import EvalPrediction as EvalPrediction
from abrazo.metrics import Metric as Metric
from abrazo.metrics import MultiLabelMetrics as MultiLabelMetrics
from abrazo.metrics import RegressionMetrics as RegressionMetrics
from abrazo.models.auto import AutoConfig as AutoConfig
from abrazo.models.auto import AutoModel as AutoModel
from abrazo.models.auto import AutoModelForMaskedLM as AutoModelForMaskedLM
from abrazo.models.auto import (
    AutoModelForNextSentencePrediction as AutoModelForNextSentencePrediction,
)
from abrazo.models.auto import AutoModelForPreTraining as AutoModelForPreTraining
from abrazo.models.auto import AutoModelForQuestionAnswering as AutoModelForQuestionAnswering
from abrazo.models.auto import (
    AutoModelForSequenceClassification as AutoModelForSequenceClassification,
)
from abrazo.models.auto import AutoModelForTokenClassification as AutoModelForTokenClassification
from abrazo.models.auto import load_model as load_model
from abrazo.models.base import PretrainedModel as PretrainedModel
from abrazo.models.bert import BertConfig as BertConfig
from abrazo.models.bert import BertForMaskedLM as BertForMaskedLM
from abrazo.models.bert import BertForNextSentencePrediction as BertForNextSentencePrediction
from abrazo.models.bert import BertForPreTraining as BertForPreTraining
from abrazo.models.bert import BertForQuestionAnswering as BertForQuestionAnswering
from abrazo.models.bert import BertForSequenceClassification as BertForSequenceClassification
from abrazo.models.bert import BertForTokenClassification as BertForTokenClassification
from abrazo.models.bert import BertModel as BertModel
from abrazo.models.config import ModelConfig as ModelConfig
from abrazo.tasks.auto import TASKS as TASKS
from abrazo.tasks.base import Task as Task
from abrazo.tasks.base import TaskSettings as TaskSettings
from abrazo.tasks.text_classification import TextClassification as TextClassification
from abrazo.tasks.text_classification import (
    TextClassificationSettings as TextClassificationSettings,
)
from abrazo.tokenization.auto import AutoTokenizer as AutoTokenizer
from abrazo.tokenization.bert import BertTokenizer as BertTokenizer
from abrazo.tokenization.tokenizer import Tokenizer as Tokenizer
from abrazo.training.arguments import TrainingArguments as TrainingArguments
from abrazo.training.callbacks.base import Callback as Callback
from abrazo.training.callbacks.early_stopping import EarlyStoppingCallback as EarlyStoppingCallback
from abrazo.training.fit import fit as fit
from abrazo.training.trainer import Trainer as Trainer

__version__: str
