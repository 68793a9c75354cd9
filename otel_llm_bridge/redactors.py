"""Redactors: functions from text to text that take out what must not leave the process.

A redactor is any ``Callable[[str], str]``. It is given every text of a captured prompt, completion, tool
call or exception, one at a time, and its answer is what is recorded::

    otel_llm_bridge.instrument(capture_content="SPAN_ONLY", redactor=redactors.chain(redactors.emails, mine))

The ready-made ones know shapes, not meanings: they find what looks like an e-mail address, they do not
find a name. `keys` always runs, whatever the redactor is.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

Redactor = Callable[[str], str]

#: How keys begin, by what follows: prefixes that vendors give on purpose, so that scanners find them.
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    # OpenAI, Anthropic, Stripe, LiteLLM's virtual keys
    r"[A-Za-z0-9_\-]{8,}": ("sk-", "sk_", "pk-", "pk_", "rk-", "rk_"),
    r"[A-Za-z0-9_\-]{16,}": tuple(
        name + sign for name in ("gsk", "xai", "pplx", "hf", "nvapi", "r8", "fw", "csk", "tgp_v1") for sign in "-_"
    ),
    r"[A-Za-z0-9_\-]{20,}": ("AIza",),  # Google
    r"[A-Za-z0-9_\-.]{16,}": ("ya29.",),
    r"[A-Z0-9]{16}\b": ("AKIA", "ASIA"),  # AWS
    r"[A-Za-z0-9]{20,}": ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"),  # GitHub
    r"[A-Za-z0-9_]{20,}": ("github_pat_",),
    r"[A-Za-z0-9\-]{10,}": tuple(f"xox{kind}-" for kind in "abposr"),  # Slack
    r"[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*": ("eyJ",),  # JSON web token
}
#: Last sign of a beginning -> beginning -> pattern. Many texts have none of these signs, and most have no beginning. In the
#: pattern the boundary before the literal comes after it: so `re` looks for the literal, which is fast.
_BY_BEGINNING: Final[dict[str, dict[str, re.Pattern[str]]]] = {}
for _rest, _beginnings in _KEYS.items():
    for _beginning in _beginnings:
        _literal = re.escape(_beginning)
        _BY_BEGINNING.setdefault(_beginning[-1], {})[_beginning] = re.compile(rf"{_literal}(?<!\w{_literal}){_rest}")
_PEM: Final = re.compile(r"-----BEGIN[ A-Z]*PRIVATE KEY-----.*?(?:-----END[ A-Z]*PRIVATE KEY-----|\Z)", re.DOTALL)
#: With a digit or a sign in it, with a change to a capital letter, or longer than words are: "basic understanding" is none.
_HEADERS: Final = re.compile(
    r"\b((?i:bearer|basic))(\s+)(?=[A-Za-z./\-]*(?:[0-9_~+=]|[a-z][A-Z]|[A-Za-z]{20}))[A-Za-z0-9._~+/\-]{8,}=*"
)
_ASSIGNED: Final = re.compile(
    r"""(?i)\b((?:x-)?(?:api|access|secret|subscription)[-_ ]?key|authorization|password|client[-_]secret)\b"""
    r"""(["']?\s*[=:]\s*["']?)[^\s"',;&]{6,}"""
)
#: What a header and an assignment have in lower case. The rest of the pattern is worth trying only there.
_SCHEMES: Final = ("bearer", "basic")
_NAMES: Final = ("key", "authorization", "password", "secret")
_MAYBE_ASSIGNED: Final = re.compile(rf"""(?:{"|".join(_NAMES)})["']?\s*[=:]""")
_EMAILS: Final = re.compile(r"\b[A-Za-z0-9._%+\-]{1,64}@(?:[A-Za-z0-9\-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")
_CARDS: Final = re.compile(r"(?<![\w.])\d(?:[ -]?\d){12,18}(?![\w])")


def keys(text: str) -> str:
    """Without API keys, tokens, private keys and credentials of headers."""
    for sign, patterns in _BY_BEGINNING.items():
        if sign in text:
            for beginning, pattern in patterns.items():
                if beginning in text:
                    text = pattern.sub("[key]", text)
    if "-----BEGIN" in text:
        text = _PEM.sub("[key]", text)
    lower = text.lower()
    # Some letters are two in lower case: then a place in the one text says nothing of the other.
    same = len(lower) == len(text)
    if any(not same or _HEADERS.match(text, place) for place in _places(lower, _SCHEMES)):
        text = _HEADERS.sub(r"\1\2[key]", text)
    if ("=" in text or ":" in text) and any(_MAYBE_ASSIGNED.match(lower, place) for place in _places(lower, _NAMES)):
        text = _ASSIGNED.sub(r"\1\2[key]", text)
    return text


def _places(text: str, words: tuple[str, ...]) -> Iterator[int]:
    """Where one of ``words`` is. A search for a plain word takes a tenth of the time that one for a pattern takes."""
    for word in words:
        place = text.find(word)
        while place >= 0:
            yield place
            place = text.find(word, place + 1)


def emails(text: str) -> str:
    """Without e-mail addresses."""
    return _EMAILS.sub("[e-mail]", text) if "@" in text else text


def cards(text: str) -> str:
    """Without numbers of payment cards: 13 to 19 digits with a right check digit (ISO/IEC 7812)."""
    return _CARDS.sub(_card, text)


def _card(match: re.Match[str]) -> str:
    digits = [int(char) for char in match[0] if char.isdigit()]
    doubled = (digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2])
    return "[card]" if (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 else match[0]


def everything(text: str) -> str:
    """Nothing but the length: the shape of a conversation without its words."""
    return f"[{len(text)} characters]"


def chain(*redactors: Redactor) -> Redactor:
    """One redactor that runs all of them in order."""

    def redact(text: str) -> str:
        return functools.reduce(lambda done, redactor: redactor(done), redactors, text)

    return redact


#: Names for the option ``redactor``.
READY_MADE: Final[Mapping[str, Redactor]] = {
    "keys": keys,
    "emails": emails,
    "cards": cards,
    "everything": everything,
}
_ACCEPTED: Final = ", ".join((*READY_MADE, "module:function"))


def by_name(names: str) -> Redactor:
    """The redactor that the option names: ready-made ones and ``module:function``, separated by commas.

    Raises:
        ImportError, AttributeError, ValueError, TypeError: there is no such redactor, or none is named.
    """
    found = [_find(name.strip()) for name in names.split(",") if name.strip()]
    if not found:  # a chain of none would let everything through
        raise ValueError(f"no redactor is named; accepted: {_ACCEPTED}")
    return chain(*found)


def _find(name: str) -> Redactor:
    if name in READY_MADE:
        return READY_MADE[name]
    import importlib

    module, colon, path = name.partition(":")
    if not colon:
        raise ValueError(f"no redactor {name!r}; accepted: {_ACCEPTED}")
    found = functools.reduce(getattr, path.split("."), importlib.import_module(module))
    if not callable(found):
        raise TypeError(f"{name} is not callable")
    return found
