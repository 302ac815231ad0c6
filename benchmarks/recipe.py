"""The reference recipe of joint training, as plain uses of transformers write it: what the training bench beats.

In: a corpus, identifiers, (task, row, prompt) examples. Out: batches, and one pass of a Trainer-style loop over them.
Strings are built and tokenised when a sample is asked for, tasks are shuffled together, a batch is padded to its
longest sample, the loss is over the whole vocabulary, fp32, AdamW as it comes. This file does not know our own loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from gensar_lite.identifiers import TokenLayout
from gensar_lite.training import PROMPTS, TASKS, SequenceBuilder
from gensar_lite.training.text import EOS, PAD

Example = tuple[str, int, int]  # task, row, number of the prompt
IGNORED = -100  # a label without a loss


class StringSamples(torch.utils.data.Dataset):
    """Samples as strings: ``prompt <R_I> <a_3> <b_17> <S_Q> query ... -> <R_I> <a_5> <b_2>``, tokenised one by one.

    What a recipe reads from its prepared files, histories and code words, is prepared here once as well.
    """

    def __init__(
        self,
        examples: list[Example],
        builder: SequenceBuilder,
        queries: list[str],
        texts: list[str],
        tokenizer: PreTrainedTokenizerFast,
    ):
        self.examples, self.queries, self.texts, self.tokenizer = (
            examples,
            queries,
            texts,
            tokenizer,
        )
        self.builder, layout = builder, builder.layout
        self.codes = {
            view: _code_words(layout, tokens) for view, tokens in builder.item_tokens.items()
        }
        self.histories = {
            row: self._history(row) for task, row, _ in examples if TASKS[task].events
        }

    def _history(self, row: int) -> list[int]:
        return self.builder.window(np.array([row]))[1].tolist()

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, torch.Tensor]:
        source, target = self.strings(*self.examples[place])
        return self._tokens(source), self._tokens(
            target, ends=TASKS[self.examples[place][0]].writes == "text"
        )

    def strings(self, task: str, row: int, prompt: int) -> tuple[str, str]:
        """One example, spelled out."""
        about, builder = TASKS[task], self.builder
        said = [PROMPTS[about.base][prompt]]
        for kind in about.reads:
            if kind == "history":
                said += [self._event(other) for other in self.histories[row]]
            elif kind == "query":
                said.append(f"<S_Q> {self.queries[builder.query[row]]}")
            elif kind == "pseudo":
                said.append(f"<S_Q> {builder.pseudo.texts[row]}")
            else:
                said.append(self.texts[row] if kind == "text" else self.codes[kind][row])
        if about.writes == "codes":
            return " ".join(said), self.codes[about.view][
                int(builder.items(about, np.array([row]))[0])
            ]
        return " ".join(
            said
        ), f"<S_Q> {self.queries[builder.query[row]]}" if about.events else self.texts[row]

    def _event(self, row: int) -> str:
        if not self.builder.is_search[row]:
            return self.codes["collaborative"][self.builder.item[row]]
        return f"<S_Q> {self.queries[self.builder.query[row]]} {self.codes['semantic'][self.builder.item[row]]}"

    def _tokens(self, text: str, ends: bool = True) -> torch.Tensor:
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return torch.tensor([*ids, EOS] if ends else ids)


def _code_words(layout: TokenLayout, tokens: np.ndarray) -> list[str]:
    behaviour = (
        "<R_I>"
        if (tokens[:, -1] >= layout.level_offset("collaborative", layout.num_levels - 1)).all()
        else "<S_I>"
    )
    return [
        " ".join([behaviour, *(word(layout, token) for token in row)]) for row in tokens.tolist()
    ]


def word(layout: TokenLayout, token: int) -> str:
    """A code or behaviour token as a word of the recipe's vocabulary, e.g. ``<col2:17>``."""
    name = layout.name(token)
    return name if name.startswith("<") else f"<{name}>"


def collate(samples: list[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """A padded batch as `transformers` models take it."""
    source = pad_sequence([s for s, _ in samples], batch_first=True, padding_value=PAD)
    lengths = torch.tensor([len(s) for s, _ in samples])
    mask = (torch.arange(source.shape[1])[None] < lengths[:, None]).long()
    labels = pad_sequence([t for _, t in samples], batch_first=True, padding_value=IGNORED)
    return {"input_ids": source, "attention_mask": mask, "labels": labels}


def plainly(model: T5ForConditionalGeneration) -> T5ForConditionalGeneration:
    """The same weights in a model as transformers builds it: its own dropout, and the attention that it chooses."""
    config = T5Config(
        **{k: v for k, v in model.config.to_dict().items() if "attn_implementation" not in k}
    )
    found = T5ForConditionalGeneration(config).train(model.training)
    found.load_state_dict(model.state_dict())
    return found


def plain_loop(
    model: T5ForConditionalGeneration, batches: Iterator[dict[str, torch.Tensor]], lr: float
) -> int:
    """One pass as a plain Trainer makes it: forward with labels, backward, clip, AdamW, schedule. Returns its steps."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=1000)
    model.train()
    steps = 0
    for batch in batches:
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        steps += 1
    return steps


def string_batches(
    samples: StringSamples, batch_size: int, seed: int
) -> Callable[[], Iterator[dict]]:
    """Tasks shuffled together, strings tokenised as they are asked for."""

    def make() -> Iterator[dict]:
        order = torch.Generator().manual_seed(seed)
        yield from torch.utils.data.DataLoader(
            samples, batch_size, shuffle=True, collate_fn=collate, generator=order
        )

    return make


def ready_batches(
    tokens: list[tuple[torch.Tensor, torch.Tensor]], batch_size: int, seed: int
) -> Callable[[], Iterator[dict]]:
    """Samples of one task that are tokenised already, in random order, padded to the longest of a batch."""

    def make() -> Iterator[dict]:
        order = torch.Generator().manual_seed(seed)
        yield from torch.utils.data.DataLoader(
            tokens, batch_size, shuffle=True, collate_fn=collate, generator=order
        )

    return make
