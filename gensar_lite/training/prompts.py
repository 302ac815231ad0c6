"""What is said to the model before the history: ten ways to ask for each task.

In: a task's name. Out: sentences. The first one is used at test, all are drawn from in training.
"""

from __future__ import annotations

PROMPTS: dict[str, tuple[str, ...]] = {
    "nrip": (
        "suggest the next item",
        "what will this user like next",
        "pick an item for this user",
        "continue the list of items",
        "recommend one more item",
        "which item follows",
        "guess the next purchase",
        "choose what to show next",
        "find a fitting item for the user",
        "name the item that comes after these",
    ),
    "nsip": (
        "answer the query with an item",
        "which item did the user search for",
        "find the item for this query",
        "search the catalogue",
        "pick the result that gets the click",
        "match the query to an item",
        "what does this query look for",
        "return the wanted item",
        "retrieve one item for the search",
        "name the item behind the query",
    ),
}
