"""Any backbone as a model that turns each text into one vector.

    model = SentenceModel.from_pretrained("minilm")
    model.encode(["a fine film", "a bore"])          # (2, 384)

On disk it is a folder of the bare backbone and of the sentence-transformers library at once; what
that library saved, loads here, and the other way round, with equal vectors.
"""

import dataclasses
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from abrazo.checkpoints.folder import open_weights
from abrazo.checkpoints.keymap import KeyMap, Row
from abrazo.checkpoints.loading import Expectations, load_weights
from abrazo.checkpoints.safetensors import save_tensors
from abrazo.heads.similarity import EmbeddingHead, Projection
from abrazo.layers.init import SkipInit
from abrazo.models.auto import AutoModel, class_with_head
from abrazo.models.base import MAX_SHARD_SIZE, PretrainedModel
from abrazo.models.config import ModelConfig
from abrazo.models.sentence_files import (
    WEIGHTS_FILE,
    SentenceRecipe,
    read_recipe,
    write_recipe,
)
from abrazo.tokenization.tokenizer import Tokenizer


class SentenceModel(PretrainedModel):
    """A backbone of any family with pooling on it."""

    head_name = "similarity"
    head: EmbeddingHead

    def __init__(self, model: PretrainedModel, recipe: SentenceRecipe | None = None) -> None:
        """Put pooling on a model's backbone, whose weights are shared and not copied.

        Args:
            model: Any model; a head that it has is not used, except that of a SentenceModel.
            recipe: How tokens become a vector; None takes what the model's folder says, or else
                the mean of the tokens at length 1.

        Raises:
            CheckpointError: The files in the model's folder are damaged or not understood.
        """
        nn.Module.__init__(self)
        self.bare_class = _bare_class(model)
        self.family = self.bare_class.family  # type: ignore[misc]
        self.config = model.config
        self.backbone = model.backbone
        self.task_settings = dict(model.task_settings)
        self.source = model.source
        self._tokenizer = model._tokenizer
        if recipe is None:
            recipe = model.recipe if isinstance(model, SentenceModel) else _recipe_of(model)
        self.recipe: SentenceRecipe = recipe
        self.head = EmbeddingHead(recipe.poolings, recipe.projections, normalize=recipe.normalize)
        if isinstance(model, SentenceModel):
            self.head.projections = model.head.projections
        elif recipe.projection_folders and model.source is not None:
            self._load_projections(model.source)
        self.head.to(model.device)
        self.train(model.training)

    @classmethod
    def of(cls, model: PretrainedModel) -> "SentenceModel":
        """Return the model itself, or pooling on its backbone."""
        return model if isinstance(model, SentenceModel) else cls(model)

    @property
    def text_length(self) -> int:
        """How many tokens are read of a text unless more are asked for; special ones included."""
        length = self.recipe.max_length
        if length is None and self._has_tokenizer():
            length = self.tokenizer.settings.model_max_length
        return self.backbone.max_length if length is None else min(length, self.backbone.max_length)

    @property
    def width(self) -> int:
        """Width of the vectors."""
        if self.recipe.projections:
            return self.recipe.projections[-1].out_width
        return len(self.recipe.poolings) * self.config.width

    def change_recipe(self, **changes: Any) -> None:
        """Change how tokens become a vector, where the weights stay what they are.

        Args:
            changes: Fields of `SentenceRecipe`, such as `poolings` or `max_length`.
        """
        self.recipe = dataclasses.replace(self.recipe, **changes)
        self.head.poolings, self.head.normalize = self.recipe.poolings, self.recipe.normalize

    # Loading and saving --------------------------------------------------------------------

    @classmethod
    def from_config(cls, config: ModelConfig, *, tokenizer: Tokenizer | None = None) -> Self:
        """Build a backbone with new weights, and the mean of its tokens on it.

        Args:
            config: The configuration of any family.
            tokenizer: As in `PretrainedModel.from_config`.

        Raises:
            ConfigError: It is none, or has no place for an id of the tokenizer.
        """
        return cls(AutoModel.from_config(config, tokenizer=tokenizer))

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, **options: Any) -> Self:
        """Load from a folder, the local cache or a hub; see `PretrainedModel.from_pretrained`.

        Raises:
            HubError: The name leads to no folder.
            CheckpointError: Files are damaged, do not fit or are not understood.
        """
        return cls(AutoModel.from_pretrained(name_or_path, **options)).eval()

    def save_pretrained(self, folder: str | Path, *, max_shard_size: int = MAX_SHARD_SIZE) -> None:
        """Write a folder that abrazo, `transformers` and sentence-transformers load.

        Raises:
            CheckpointError: The folder cannot be written.
        """
        self._bare().save_pretrained(folder, max_shard_size=max_shard_size)
        recipe = dataclasses.replace(self.recipe, max_length=self.text_length)
        places = write_recipe(Path(folder), recipe, self.config.width)
        for projection, place in zip(self.head.projections, places, strict=True):
            tensors = {name: weight.detach() for name, weight in projection.named_parameters()}
            save_tensors(tensors, place / WEIGHTS_FILE)

    def load_weights(self, folder: str | Path) -> None:
        """Take the weights of a folder with a model like this one.

        Raises:
            CheckpointError: They are damaged, or those of another model.
        """
        self._bare().load_weights(folder)
        self.recipe = dataclasses.replace(
            self.recipe, projection_folders=read_recipe(Path(folder)).projection_folders
        )
        self._load_projections(Path(folder))

    def key_map(self) -> KeyMap:
        """Return the two-way table of the backbone's tensor names."""
        return self.family.key_map(self.config, "")

    def _bare(self) -> PretrainedModel:
        """Return the backbone as a model of its own, sharing the weights."""
        with torch.device("meta"), SkipInit():
            bare = self.bare_class(self.config)
        bare.backbone = self.backbone
        bare.task_settings = self.task_settings
        bare.source, bare._tokenizer = self.source, self._tokenizer
        return bare

    def _load_projections(self, folder: Path) -> None:
        key_map = KeyMap([Row("linear", "linear")])
        expectations = Expectations("", (), ())
        places = self.recipe.projection_folders
        for projection, place in zip(self.head.projections, places, strict=True):
            assert isinstance(projection, Projection)
            load_weights(projection, open_weights(folder / place), key_map, expectations)


def _bare_class(model: PretrainedModel) -> type[PretrainedModel]:
    """Return the class of a model's backbone alone."""
    return class_with_head(model, "") if model.head_name else type(model)


def _recipe_of(model: PretrainedModel) -> SentenceRecipe:
    return SentenceRecipe() if model.source is None else read_recipe(model.source)
