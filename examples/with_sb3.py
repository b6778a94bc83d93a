"""Stable-Baselines3, two rates for PPO on CartPole; then: lrtrack compare --experiment with-sb3"""

from stable_baselines3 import PPO

from lrtrack.integrations.stable_baselines3 import LRTrack

RATES = {"constant": 3e-4, "falling": lambda remaining: 1e-3 * remaining}


def train(rate: str, seed: int) -> None:
    """An ordinary training; the callback is all there is of lrtrack."""
    model = PPO(
        "MlpPolicy", "CartPole-v1", learning_rate=RATES[rate], n_steps=256, batch_size=64,
        n_epochs=4, seed=seed, device="cpu",
    )  # fmt: skip
    model.learn(1024, callback=LRTrack(experiment="with-sb3"))


if __name__ == "__main__":
    for rate in RATES:
        for seed in range(2):
            train(rate, seed)
