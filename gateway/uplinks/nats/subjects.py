"""Subjects: words with dots between them. ``*`` stands for one word, ``>`` at the end for one or more. Pure."""

from __future__ import annotations


def token(name: str) -> str:
    """A name of ours as one word of a subject."""
    return name.replace(".", "_")


def subject_for(template: str, gateway: str, pipeline: str, uplink: str) -> str:
    """Where the batches of a pipeline go; ``*`` as the pipeline for those of all."""
    return template.format(gateway=token(gateway), pipeline=token(pipeline), uplink=token(uplink))


def all_subjects(template: str) -> list[str]:
    """What a stream has to take for all gateways, pipelines and uplinks: batches, and the directories below them.

    Receipts, one level below the batches as well, are not among them.
    """
    batches = template.format(gateway="*", pipeline="*", uplink="*")
    batches = ".".join("*" if "*" in word else word for word in batches.split("."))
    return [batches, f"{batches}.directory.*"]


def covers(pattern: str, subject: str) -> bool:
    """Whether a pattern takes a subject."""
    wanted, words = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted.pop()
        if len(words) <= len(wanted):
            return False
        words = words[: len(wanted)]
    return len(wanted) == len(words) and all(w in {"*", word} for w, word in zip(wanted, words, strict=True))
