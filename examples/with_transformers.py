"""transformers' Trainer on made-up text; then: lrtrack runs --experiment with-transformers"""

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

from lrtrack.integrations.transformers import LRTrack

TOKENS, LENGTH, ROWS = 16, 16, 256


def rows() -> list[dict[str, torch.Tensor]]:
    """Texts that count upwards in steps of one to four: something to learn."""
    begin, pace = torch.randint(TOKENS, (ROWS, 1)), torch.randint(1, 5, (ROWS, 1))
    texts = (begin + pace * torch.arange(LENGTH)) % TOKENS
    return [{"input_ids": text, "labels": text} for text in texts]


def main() -> None:
    """A model without a download; only the callback is lrtrack's."""
    set_seed(0)
    small = {"n_layer": 1, "n_head": 2, "n_embd": 32, "n_positions": LENGTH, "vocab_size": TOKENS}
    model = GPT2LMHeadModel(GPT2Config(**small, bos_token_id=0, eos_token_id=0))
    arguments = TrainingArguments(
        output_dir="out",
        num_train_epochs=2,
        per_device_train_batch_size=16,
        learning_rate=1e-2,
        lr_scheduler_type="cosine",
        warmup_steps=8,
        logging_steps=8,  # lrtrack has each step all the same
        eval_strategy="epoch",
        save_strategy="no",
        report_to="none",  # with "mlflow" or "wandb", the run that is opened there is joined
        use_cpu=True,
        seed=0,
        disable_tqdm=True,
    )
    trainer = Trainer(
        model,
        arguments,
        train_dataset=rows(),
        eval_dataset=rows()[:64],
        callbacks=[LRTrack(experiment="with-transformers")],
    )
    trainer.train()


if __name__ == "__main__":
    main()
