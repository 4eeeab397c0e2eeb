"""How positive a label is, as a number from -1 to 1."""

import re
from collections.abc import Sequence

from abrazo.errors import ConfigError

_LOWEST = ("very negative", "very bad", "非常负面", "非常消极")
_MIDDLE = ("neutral", "neu", "mixed", "中性", "中立")
_HIGHEST = ("very positive", "very good", "非常正面", "非常积极")
_NEGATIVE = ("negative", "neg", "bad", "负面", "消极", "负向", "差评")
_POSITIVE = ("positive", "pos", "good", "正面", "积极", "正向", "好评")
_STARS = re.compile(r"([1-5]) ?(?:stars?|星)")


def polarities(labels: Sequence[str]) -> list[float]:
    """Return the polarity of each label.

    Known are negative, neutral and positive in English and Chinese, in short and with `very`, and
    one to five stars. Beside labels with `very`, plain negative and positive count half.

    Args:
        labels: All labels of a model.

    Raises:
        ConfigError: A label is not known.
    """
    plain = [label.strip().lower().replace("_", " ") for label in labels]
    strength = 0.5 if any(label in (*_LOWEST, *_HIGHEST) for label in plain) else 1.0
    words = [
        (-1.0, _LOWEST),
        (-strength, _NEGATIVE),
        (0.0, _MIDDLE),
        (strength, _POSITIVE),
        (1.0, _HIGHEST),
    ]
    known = {name: value for value, names in words for name in names}
    known |= {
        label: (int(found[1]) - 3) / 2 for label in plain if (found := _STARS.fullmatch(label))
    }
    unknown = [name for name, label in zip(labels, plain, strict=True) if label not in known]
    if unknown:
        raise ConfigError(
            "A polarity needs labels such as negative, neutral and positive (负面, 中性, 正面), "
            f"but the model has {', '.join(unknown[:5])}."
        )
    return [known[label] for label in plain]
