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
from abrazo.metrics.multilabel import MultiLabelMetrics
from abrazo.metrics.regression import RegressionMetrics
from abrazo.metrics.retrieval import RetrievalMetrics
from abrazo.metrics.selective import SelectiveMetrics
from abrazo.metrics.similarity import PairLabelMetrics, SimilarityMetrics
from abrazo.metrics.spans import SpanMetrics

__all__ = [
    "Average",
    "CalibrationBin",
    "ClassFigures",
    "ClassificationDetails",
    "ClassificationMetrics",
    "EvalPrediction",
    "FunctionMetric",
    "Metric",
    "MetricGroup",
    "MetricLike",
    "MultiLabelMetrics",
    "PairLabelMetrics",
    "PlainMetric",
    "RegressionMetrics",
    "RetrievalMetrics",
    "SelectiveMetrics",
    "SimilarityMetrics",
    "SpanMetrics",
    "as_metric",
]
