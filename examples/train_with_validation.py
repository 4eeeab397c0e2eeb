"""Evaluate while training, stop when it no longer helps, save, load, and compare.

Run: python examples/train_with_validation.py [model] [output folder] [steps between evaluations]
"""

import sys

from abrazo import EarlyStoppingCallback, fit, load_dataset, load_model


def main(model: str = "minilm", output: str = "validated", steps: str = "10") -> None:
    data = load_dataset("abrazo/starter", language="en")
    result = fit(
        "text-classification",
        data["train"],
        model=model,
        output_dir=output,
        eval_data=data["validation"],
        label_column="sentiment",
        eval_steps=int(steps),  # evaluate and save while training
        save_steps=int(steps),
        save_total_limit=2,
        metric_for_best_model="accuracy",
        learning_rate=2e-4,
        callbacks=[EarlyStoppingCallback(early_stopping_patience=3)],
    )
    trainer = result.trainer  # it has the best weights
    print(f"stopped after step {trainer.state.global_step}, best was {trainer.state.best_step}")
    print({name: round(value, 3) for name, value in trainer.evaluate(data["test"]).items()})
    trainer.save_model(f"{output}/saved")
    again = load_model(f"{output}/saved")
    pairs = zip(trainer.model.parameters(), again.parameters(), strict=True)
    print("equal to the last bit:", all(bool((ours == saved).all()) for ours, saved in pairs))


if __name__ == "__main__":
    main(*sys.argv[1:])
