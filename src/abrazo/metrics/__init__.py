"""Counts that can be merged, and the figures made of them."""

from abrazo.metrics.base import (
    EvalPrediction,
    FunctionMetric,
    Metric,
    MetricGroup,
    MetricLike,
    PlainMetric,
    as_metric,
)
from abrazo.metrics.classification import (
    Average,
    CalibrationBin,
    ClassFigures,
    ClassificationDetails,
    ClassificationMetrics,
)
from abrazo.metrics.generated_text import ExactMatchMetrics
from abrazo.metrics.multilabel import MultiLabelMetrics
from abrazo.metrics.perplexity import PerplexityMetrics
from abrazo.metrics.regression import RegressionMetrics
from abrazo.metrics.retrieval import RetrievalMetrics
from abrazo.metrics.selective import SelectiveMetrics
from abrazo.metrics.similarity import PairLabelMetrics, SimilarityMetrics
from abrazo.metrics.spans import SpanMetrics
from abrazo.metrics.summaries import RougeMetrics
from abrazo.metrics.translation import BleuMetrics, ChrfMetrics

__all__ = [
    "Average",
    "BleuMetrics",
    "CalibrationBin",
    "ChrfMetrics",
    "ClassFigures",
    "ClassificationDetails",
    "ClassificationMetrics",
    "EvalPrediction",
    "ExactMatchMetrics",
    "FunctionMetric",
    "Metric",
    "MetricGroup",
    "MetricLike",
    "MultiLabelMetrics",
    "PairLabelMetrics",
    "PerplexityMetrics",
    "PlainMetric",
    "RegressionMetrics",
    "RetrievalMetrics",
    "RougeMetrics",
    "SelectiveMetrics",
    "SimilarityMetrics",
    "SpanMetrics",
    "as_metric",
]
