"""Learn how near texts are in meaning from scored pairs, then compare and search.

Run: python examples/similar_texts.py [model] [folder] [epochs] [en|zh]
"""

import sys

from abrazo import fit, load_dataset, load_model, search


def main(
    model: str = "minilm", folder: str = "similar", epochs: str = "2", language: str = "en"
) -> None:
    data = load_dataset("abrazo/starter", language=language)
    pairs = data.apply(lambda split: split.select_columns(["text", "paraphrase", "score"]))
    result = fit(
        "sentence-similarity",
        pairs["train"],
        model=model,
        eval_data=pairs["validation"],
        text_column="text",
        pair_column="paraphrase",
        label_column="score",
        output_dir=folder,
        num_train_epochs=float(epochs),
    )
    print("Spearman", round(result.metrics["eval_spearman"], 3))

    encoder = load_model(result.path)
    corpus, queries = pairs["test"]["text"].to_list(), pairs["test"]["paraphrase"].to_list()[:3]
    print(encoder.similarity(encoder.encode(queries), encoder.encode(corpus[:3])))
    for query, hits in zip(queries, search(queries, corpus, model=encoder, top_k=2), strict=True):
        print(query)
        for hit in hits:
            print(f"  {hit.score:.3f} {hit.text}")


if __name__ == "__main__":
    main(*sys.argv[1:])
