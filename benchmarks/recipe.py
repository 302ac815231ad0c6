"""The reference recipe of joint training, as plain uses of transformers write it.

In: a builder of our examples, (task, row, prompt) triples. Out: batches, and one pass of a
Trainer-style loop over them: what the training bench is measured against. Strings are built and
tokenised when a sample is asked for, tasks are shuffled together, a batch is padded to its longest
sample, the loss is over the whole vocabulary, fp32, AdamW as it comes. This file does not know our
own loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from gensar_lite.identifiers import TokenLayout
from gensar_lite.training import PROMPTS, TASKS, SequenceBuilder
from gensar_lite.training.text import EOS, PAD

Example = tuple[str, int, int]  # task, row, number of the prompt
Sample = tuple[torch.Tensor, torch.Tensor]  # token ids of source and target, not padded
IGNORED = -100  # a label without a loss


class StringSamples(torch.utils.data.Dataset):
    """Samples as strings, tokenised one by one:
    ``prompt <R_I> <a_3> <b_17> <S_Q> query ... -> <R_I> <a_5> <b_2>``.

    What a recipe reads from its prepared files, histories and code words, is prepared here once.
    """

    def __init__(
        self,
        examples: list[Example],
        builder: SequenceBuilder,
        queries: list[str],
        texts: list[str],
        tokenizer: PreTrainedTokenizerFast,
    ):
        self.examples = examples
        self.builder = builder
        self.queries = queries
        self.texts = texts
        self.tokenizer = tokenizer
        # each item's words in both views, (N,) strings
        self.codes = {
            view: _code_words(builder.layout, view, tokens)
            for view, tokens in builder.item_tokens.items()
        }
        # the events before each example, as rows of the log
        self.histories = {
            row: builder.window(np.array([row]))[1].tolist()
            for task, row, _ in examples
            if TASKS[task].events
        }

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, place: int) -> Sample:
        task = TASKS[self.examples[place][0]]
        source, target = self.strings(*self.examples[place])
        return self._tokens(source), self._tokens(target, ends=task.writes == "text")

    def strings(self, name: str, row: int, prompt: int) -> tuple[str, str]:
        """Source and target of one example, spelled out."""
        task = TASKS[name]
        # a source is the prompt, then what the task reads, in its order
        words = [PROMPTS[task.base][prompt]]
        for kind in task.reads:
            if kind == "history":
                words += [self._event(event) for event in self.histories[row]]
            elif kind == "query":
                words.append(self._query(row))
            elif kind == "pseudo":
                words.append(f"<S_Q> {self.builder.pseudo.texts[row]}")
            elif kind == "text":
                words.append(self.texts[row])
            else:
                words.append(self.codes[kind][row])
        # targets of codes have a fixed length and no end token
        if task.writes == "codes":
            target = self.codes[task.view][int(self.builder.items(task, np.array([row]))[0])]
        else:
            target = self._query(row) if task.events else self.texts[row]
        return " ".join(words), target

    def _query(self, row: int) -> str:
        return f"<S_Q> {self.queries[self.builder.query[row]]}"

    def _event(self, row: int) -> str:
        item = self.builder.item[row]
        if self.builder.is_search[row]:
            return f"{self._query(row)} {self.codes['semantic'][item]}"
        return self.codes["collaborative"][item]

    def _tokens(self, text: str, ends: bool = True) -> torch.Tensor:
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return torch.tensor([*ids, EOS] if ends else ids)


def _code_words(layout: TokenLayout, view: str, tokens: np.ndarray) -> list[str]:
    """Per item its behaviour token and its codes, tokens (N, L), as words."""
    behaviour = "<S_I>" if view == "semantic" else "<R_I>"
    return [
        " ".join([behaviour, *(word(layout, token) for token in row)]) for row in tokens.tolist()
    ]


def word(layout: TokenLayout, token: int) -> str:
    """A code or behaviour token as a word of the recipe's vocabulary, e.g. ``<col2:17>``."""
    name = layout.name(token)
    return name if name.startswith("<") else f"<{name}>"


def collate(samples: list[Sample]) -> dict[str, torch.Tensor]:
    """A padded batch as `transformers` models take it."""
    source = pad_sequence([s for s, _ in samples], batch_first=True, padding_value=PAD)
    lengths = torch.tensor([len(s) for s, _ in samples])
    mask = (torch.arange(source.shape[1])[None] < lengths[:, None]).long()  # (B, S)
    labels = pad_sequence([t for _, t in samples], batch_first=True, padding_value=IGNORED)
    return {"input_ids": source, "attention_mask": mask, "labels": labels}


def shuffled_batches(
    samples: Sequence[Sample], batch_size: int, seed: int
) -> Iterable[dict[str, torch.Tensor]]:
    """Batches in random order, each padded to its longest sample; the same order in every call."""
    order = torch.Generator().manual_seed(seed)
    return torch.utils.data.DataLoader(
        samples, batch_size, shuffle=True, collate_fn=collate, generator=order
    )


def plain_model(model: T5ForConditionalGeneration) -> T5ForConditionalGeneration:
    """The same weights in a model as transformers builds it: with its own dropout and attention."""
    # the choice of attention is left to transformers, as a plain user leaves it
    settings = model.config.to_dict()
    config = T5Config(**{k: v for k, v in settings.items() if "attn_implementation" not in k})
    plain = T5ForConditionalGeneration(config).train(model.training)
    plain.load_state_dict(model.state_dict())
    return plain


def plain_loop(
    model: T5ForConditionalGeneration, batches: Iterable[dict[str, torch.Tensor]], lr: float
) -> int:
    """One pass as a plain Trainer makes it: forward with labels, backward, clip, AdamW, schedule.

    Returns its steps.
    """
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=1000)
    model.train()
    steps = 0
    # no mixed precision, no accumulation: the first loop that one writes
    for batch in batches:
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        steps += 1
    return steps
