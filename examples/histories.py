"""Histories as pandas frames, for figures of your own; needs what examples/quickstart.py left.

The same experiment on the terminal: lrtrack compare --experiment quickstart
"""

import lrtrack


def main() -> None:
    """Read every step of every run back, and ask something that no report answers."""
    comparison = lrtrack.compare("quickstart")
    print(comparison.schedules_frame()[["schedule", "runs", "final_mean", "final_std"]])

    # One row per run and step, in columns such as label, seed, step and the metric itself.
    losses = comparison.histories_frame("loss")
    last = losses[losses["step"] >= losses["step"].max() - 50]
    jitter = last.groupby(["label", "run_id"])["loss"].std().groupby("label").mean()
    print("\nHow much the loss still moves in the last 50 steps:")
    print(jitter.sort_values().to_string())
    losses.to_csv("losses.csv", index=False)


if __name__ == "__main__":
    main()
