"""Endpoints that answer as OpenAI's chat completions do: of a provider, or of a server on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

from tunesmith.augmentation.rewriters.chat_requests import Requests, is_local
from tunesmith.errors import RecipeError
from tunesmith.models.catalogue import secret


@dataclass(frozen=True)
class Endpoint:
    """Ask an endpoint with OpenAI's chat completions. Texts leave this machine only where the recipe says so.

    Attributes:
        url: where its API begins, such as https://api.example.org/v1; "/chat/completions" is put behind it.
        model: the name of the model there.
        send_texts: must be true for an endpoint that is not on this machine: training texts are sent to it.
        key: the name of the environment variable that holds the key; empty sends none. A key never stands in a recipe.
        temperature: how freely words are drawn there.
        max_new_tokens: the most tokens of an answer.
        together: requests that are under way at a time.
        timeout: seconds that an answer may take.
        tries: how often a request is made that fails for a passing reason, with longer and longer waits between.
    """

    url: str = ""
    model: str = ""
    send_texts: bool = False
    key: str = ""
    temperature: float = 0.0
    max_new_tokens: int = 256
    together: int = 4
    timeout: float = 60.0
    tries: int = 4

    def __post_init__(self) -> None:
        check_place(self.url, self.model, send_texts=self.send_texts)
        check_numbers(self.temperature, self.max_new_tokens, self.together, self.timeout, self.tries)

    def opened(self) -> Asking:
        """The same with its key.

        Raises:
            RecipeError: the environment variable is not set.
        """
        key = secret(self.key, "augmenters.by.key") if self.key else ""
        requests = Requests(
            self.url.rstrip("/"), self.model, key, self.temperature, self.max_new_tokens, self.timeout, self.tries
        )
        return Asking(requests, self.together)


@dataclass(frozen=True)
class TranslatingEndpoint:
    """Translate by an endpoint with OpenAI's chat completions, there and back.

    Texts leave this machine only where the recipe says so.

    Attributes:
        pivot: the other language, in English.
        language: the language of the texts, in English.
        request: how a translation is asked for; {language} is the one that is wanted, {text} the text.
        url, model, send_texts, key, temperature, max_new_tokens, together, timeout, tries: as for a paraphrase.
    """

    pivot: str = "German"
    language: str = "English"
    request: str = "Translate this text into {language}. Answer with the translation alone.\n\n{text}"
    url: str = ""
    model: str = ""
    send_texts: bool = False
    key: str = ""
    temperature: float = 0.0
    max_new_tokens: int = 256
    together: int = 4
    timeout: float = 60.0
    tries: int = 4

    def __post_init__(self) -> None:
        _ = self._endpoint
        if "{text}" not in self.request or "{language}" not in self.request:
            raise RecipeError(
                "request must say {text} and {language}.", where="augmenters.by.request", to_do="Add what is missing."
            )

    @property
    def _endpoint(self) -> Endpoint:
        return Endpoint(**{name: self.__dict__[name] for name in Endpoint.__dataclass_fields__})

    def opened(self) -> Translating:
        """The same with its key.

        Raises:
            RecipeError: the environment variable is not set.
        """
        return Translating(self._endpoint.opened(), self.request, self.pivot, self.language)


@dataclass(frozen=True)
class Asking:
    """An endpoint that is asked several things at a time."""

    requests: Requests
    together: int

    @property
    def identity(self) -> str:
        """The endpoint, the model and its settings."""
        asked = self.requests
        return f"{asked.url} {asked.model} {asked.temperature} {asked.max_new_tokens}"

    @property
    def at_once(self) -> int:
        """Few, so that little is asked again after an interruption."""
        return 4 * self.together

    @property
    def destination(self) -> str:
        """The endpoint, unless it is on this machine."""
        return "" if is_local(self.requests.url) else f"{self.requests.url} (model {self.requests.model})"

    def rewritten(self, texts: Sequence[str]) -> list[str]:
        """The answer to each request; an empty one is not made."""
        with ThreadPoolExecutor(self.together) as pool:
            waiting = [pool.submit(self.requests.answer, text) if text else None for text in texts]
            try:
                return [one.result() if one is not None else "" for one in waiting]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class Translating:
    """An endpoint that translates there and back."""

    asking: Asking
    request: str
    pivot: str
    language: str

    @property
    def identity(self) -> str:
        """The endpoint, and how it is asked."""
        return f"{self.asking.identity} {self.request} {self.pivot} {self.language}"

    @property
    def at_once(self) -> int:
        """As many as the endpoint."""
        return self.asking.at_once

    @property
    def destination(self) -> str:
        """The endpoint's."""
        return self.asking.destination

    def rewritten(self, texts: Sequence[str]) -> list[str]:
        """Each text translated there and back."""
        found = list(texts)
        for language in (self.pivot, self.language):
            asked = [self._asked(text, language) if text else "" for text in found]
            found = self.asking.rewritten(asked)
        return found

    def _asked(self, text: str, language: str) -> str:
        # The text last: what stands in it is no part of the request.
        return self.request.replace("{language}", language).replace("{text}", text)


def check_place(url: str, model: str, *, send_texts: bool) -> None:
    """See that a URL is one to which texts may be sent.

    Raises:
        RecipeError: it is not.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not model:
        raise RecipeError(
            "An endpoint needs a url and a model.",
            where="augmenters.by",
            to_do="Set url: https://.../v1 and model: the name of a model there.",
        )
    if parts.username or parts.password or parts.query:
        raise RecipeError(
            "The url holds more than a place; keys come from the environment.",
            where="augmenters.by.url",
            to_do="Write it without a user or a query, and name the variable of the key: key: MY_KEY.",
        )
    if is_local(url):
        return
    if parts.scheme != "https":
        raise RecipeError(
            "Texts are sent to other machines over https only.", where="augmenters.by.url", to_do="Use https."
        )
    if not send_texts:
        raise RecipeError(
            f"Training texts would be sent to {parts.hostname}.",
            where="augmenters.by.send_texts",
            to_do="Set send_texts: true if they may leave this machine, or use a model on it.",
        )


def check_numbers(temperature: float, max_new_tokens: int, together: int, timeout: float, tries: int) -> None:
    """See that settings of requests make sense.

    Raises:
        RecipeError: they do not.
    """
    if temperature < 0 or timeout <= 0:
        raise RecipeError("temperature must not be negative, timeout above 0.", where="augmenters.by")
    if min(max_new_tokens, together, tries) < 1 or together > 64:
        raise RecipeError(
            "max_new_tokens, together and tries must be at least 1, and together at most 64.", where="augmenters.by"
        )
