"""``/v1``: models, chat completions, completions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from appliance.data.chat import TemplateRefused
from appliance.errors import nearest
from serving.openai.answers import Ask, Piece, answer, check, fit
from serving.openai.body import parse_json
from serving.openai.choices import (
    Chunk,
    Lines,
    chat_choice,
    chat_chunks,
    completion_choice,
    completion_chunks,
    split_finish,
    sse,
)
from serving.openai.errors import ApiError, invalid
from serving.openai.parameters import (
    PUBLIC_LOGPROBS,
    ChatWish,
    CompletionWish,
    Wish,
    parse_chat,
    parse_completion,
)
from serving.openai.shapes import (
    Gathered,
    head,
    model_object,
    usage,
)
from serving.shelf import Loaded, ServedModel, Shelf
from serving.telemetry import Meter


@dataclass(frozen=True)
class Api:
    """The routes over one shelf of models."""

    shelf: Shelf
    meter: Meter
    most_logprobs: int = PUBLIC_LOGPROBS

    async def models(self, _request: Request) -> Response:
        """``GET /v1/models``."""
        listed = [self._described(name) for name in self.shelf.names]
        return JSONResponse({"object": "list", "data": listed})

    async def model(self, request: Request) -> Response:
        """``GET /v1/models/{id}``."""
        name = request.path_params["id"]
        self._find(name)
        return JSONResponse(self._described(name))

    async def chat(self, request: Request) -> Response:
        """``POST /v1/chat/completions``."""
        wish = parse_chat(parse_json(await request.body()))
        loaded = self._find(wish.model).loaded
        ids = tuple(await asyncio.to_thread(render, loaded, wish.messages))
        lost = await asyncio.to_thread(loss, loaded, [message["content"] for message in wish.messages])
        room = fit(len(ids), wish, loaded.engine.facts.context)
        asks = [Ask(ids=ids, max_tokens=room) for _ in range(wish.choices)]
        check(loaded, wish, asks)
        if wish.stream:
            opening = head("chat.completion.chunk", wish.model, "chatcmpl")
            return _telling(self._stream(loaded, wish, asks, chat_chunks(opening, loaded, wish)), wish, lost)
        choices = await self._gather(request, loaded, wish, asks)
        body = head("chat.completion", wish.model, "chatcmpl").as_dict()
        body["choices"] = [chat_choice(index, choice, loaded, wish) for index, choice in enumerate(choices)]
        return _telling(self._whole(body, len(ids), choices), wish, lost)

    async def completions(self, request: Request) -> Response:
        """``POST /v1/completions``."""
        wish = parse_completion(parse_json(await request.body()), most_logprobs=self.most_logprobs)
        loaded = self._find(wish.model).loaded
        prompts = [_prompt_ids(loaded, prompt) for prompt in wish.prompts]
        texts = [prompt for prompt in wish.prompts if isinstance(prompt, str)]
        lost = await asyncio.to_thread(loss, loaded, texts)
        asks = [
            Ask(
                ids=ids,
                max_tokens=fit(len(ids), wish, loaded.engine.facts.context),
                echo=wish.echo and wish.logprobs is not None,
                before=ids,
            )
            for ids in prompts
            for _ in range(wish.choices)
        ]
        check(loaded, wish, asks)
        if wish.stream:
            opening = head("text_completion", wish.model, "cmpl")
            return _telling(self._stream(loaded, wish, asks, completion_chunks(opening, loaded, wish)), wish, lost)
        choices = await self._gather(request, loaded, wish, asks)
        body = head("text_completion", wish.model, "cmpl").as_dict()
        shown = [_echo_text(loaded, wish, prompt) for prompt in wish.prompts for _ in range(wish.choices)]
        body["choices"] = [
            completion_choice(index, choice, shown[index], loaded, wish) for index, choice in enumerate(choices)
        ]
        return _telling(self._whole(body, sum(map(len, prompts)), choices), wish, lost)

    def _find(self, name: str) -> ServedModel:
        model = self.shelf.find(name)
        if model is not None:
            return model
        if self.shelf.is_coming(name):
            raise ApiError(503, "model_loading", f"The model '{name}' is being loaded.", retry_after=1)
        failure = self.shelf.failure(name)
        if failure is not None:
            raise ApiError(503, "model_failed", f"The model '{name}' cannot be served: {failure}")
        guess = nearest(name, self.shelf.names)
        advice = f" Did you mean '{guess}'?" if guess else " GET /v1/models lists what is served."
        raise ApiError(404, "model_not_found", f"No model '{name[:200]}' is served here.{advice}", param="model")

    def _described(self, name: str) -> dict[str, Any]:
        model = self._find(name)
        context = model.loaded.engine.facts.context
        return model_object(name, {"id": model.entry.id, "created": model.entry.created, "context": context})

    async def _gather(self, request: Request, loaded: Loaded, wish: Wish, asks: Sequence[Ask]) -> list[Gathered]:
        """Every choice, complete; given up when the client goes away."""
        choices = [Gathered() for _ in asks]

        async def collect() -> None:
            async for piece in answer(loaded, wish, asks):
                if piece is not None:
                    choices[piece.index].add(piece)

        work = asyncio.create_task(collect())
        gone = asyncio.create_task(_disconnected(request))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise ApiError(499, "client_closed_request", "The client went away.")
            work.result()
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        return choices

    def _whole(self, body: dict[str, Any], prompt: int, choices: Sequence[Gathered]) -> Response:
        completion = sum(len(choice.scores) for choice in choices)
        self.meter.count(prompt, completion)
        body["usage"] = usage(prompt, completion)
        return JSONResponse(body)

    def _stream(self, loaded: Loaded, wish: Wish, asks: Sequence[Ask], chunks: Chunk) -> Response:
        opening = [chunks(Piece(index=index)) for index in range(len(asks))] if isinstance(wish, ChatWish) else []
        events = self._events(loaded, wish, asks, Lines(chunks, opening))
        return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})

    async def _events(self, loaded: Loaded, wish: Wish, asks: Sequence[Ask], lines: Lines) -> AsyncIterator[str]:
        prompt, completion = sum(len(ask.ids) for ask in asks), 0
        blank: dict[str, Any] = {}
        for first in lines.opening:
            yield sse(first)
        try:
            async for piece in answer(loaded, wish, asks):
                if piece is None:
                    yield ": still working\n\n"
                    continue
                completion += len(piece.scores)
                blank = lines.chunks(piece)
                for chunk in split_finish(blank):
                    yield sse(chunk | ({"usage": None} if wish.usage else {}))
            if wish.usage:
                yield sse(blank | {"choices": [], "usage": usage(prompt // wish.choices, completion)})
        except ApiError as error:
            yield sse(error.body())
        finally:
            self.meter.count(prompt, completion)
        yield "data: [DONE]\n\n"


def render(loaded: Loaded, messages: Sequence[Mapping[str, Any]]) -> list[int]:
    """The ids of a conversation, ready for the answer. Raises ``ApiError`` when the template refuses it."""
    try:
        text = loaded.template.render(messages, add_generation_prompt=True)
    except TemplateRefused as error:
        raise invalid(error.message, "messages", "template_refused") from error
    return loaded.tokenizer.encode(text)


def encode_text(loaded: Loaded, text: str) -> list[int]:
    """The ids of a plain text, with the begin token where the model was trained with it."""
    begin = loaded.engine.facts.begin
    return [*([] if begin is None else [begin]), *loaded.tokenizer.encode(text)]


def _prompt_ids(loaded: Loaded, prompt: str | tuple[int, ...]) -> tuple[int, ...]:
    return tuple(encode_text(loaded, prompt)) if isinstance(prompt, str) else prompt


def _echo_text(loaded: Loaded, wish: CompletionWish, prompt: str | tuple[int, ...]) -> str:
    if not wish.echo:
        return ""
    return prompt if isinstance(prompt, str) else loaded.tokenizer.decode(prompt)


def loss(loaded: Loaded, texts: Sequence[str]) -> int:
    """How many characters of ``texts`` the model never sees, because no token stands for them."""
    return sum(len(loaded.tokenizer.loss_of(text)) for text in texts)


def _telling(response: Response, wish: Wish, lost: int) -> Response:
    """The response, with what it did not heed in its headers."""
    if wish.ignored:
        names = ",".join(name if name.isascii() and name.isidentifier() else "?" for name in wish.ignored[:32])
        response.headers["x-luthier-ignored"] = names[:1000]
    if lost:
        response.headers["x-luthier-lost-characters"] = str(lost)
    return response


async def _disconnected(request: Request) -> None:
    """Returns when the client goes away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
