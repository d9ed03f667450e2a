"""Wordings by which services say what failed, where no code says it: one family of patterns for each class. Pure.

A pattern is the grammar of a sentence rather than one vendor's text: what is too long and by what measure, what is used
up, which model is not there. A word alone ("context", "limit", "model") is never enough, since prompts are quoted in
errors. Each family is looked at only for the statuses that services send it with.
"""

from __future__ import annotations

import re
from collections.abc import Container
from functools import cache
from typing import NamedTuple

from nexus_core.contract.errors import (
    AuthError,
    ConnectorError,
    ContentFilterError,
    ContextLengthError,
    ModelNotFoundError,
    OverloadedError,
    QuotaError,
    RateLimitError,
    UnsupportedRequestError,
)

_NEAR = r"(?:[^.;]|\.(?=\S))"
"""A character of the same sentence: a dot within a name or number is one. Patterns write `[^.]` for it."""


def _any(*patterns: str) -> str:
    return "|".join(f"(?:{pattern})" for pattern in patterns)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Return a pattern, compiled when the first error asks for it: all of them take 80 ms."""
    return re.compile(pattern.replace("[^.]", _NEAR), re.IGNORECASE)


def _says(pattern: str, text: str) -> bool:
    return _compiled(pattern).search(text) is not None


class Wording(NamedTuple):
    """What a message of this family means, and with which statuses; 200 stands for errors within good answers."""

    error: type[ConnectorError]
    pattern: str
    statuses: Container[int]
    unless: str = ""
    """What says that the sentence means something else."""


_PER_MINUTE = r"per[ _-]?(?:minute|min\b|second|sec\b|hour)|PerMinute|PerSecond|\b[RT]P[MS]\b|/ ?min\b"
_RATE = _any(
    _PER_MINUTE, r"\brate[ _-]?limit", r"concurren", r"too many requests", r"throttl", r"frequen", r"\brequest rate\b"
)
_PER_DAY = _any(r"per[ _-]?(?:day|week|month)\b|Per(?:Day|Week|Month)", r"\b[RT]PD\b")
"""Limits that no wait within a call helps against."""

_ANY_LENGTH = r"(?:context|prompt|input|model|sequence|seq|message|token)s?"
_MEASURE = r"(?:length|len|size|window|limit|count|budget|tokens?)"
_BOUND = (
    r"(?:(?:the|this|its|your|a|our|model'?s?|max(?:imum)?|available|allowed|configured|current|total|supported|is|of|by"
    r"|endpoint'?s?|for|server'?s?|number|permitted|specified)[ _]|\(?[\d,]+\)?[ -])*"
)
_OVER = (
    r"(?:exceed(?:s|ed|ing)?|(?:longer|larger|greater|bigger|more) than|over|beyond|out of room in"
    r"|too (?:long|large|big) for)"
)
_CONTEXT = _any(
    # OpenAI, Azure, OpenRouter, vLLM, xAI: "maximum context (prompt) length is N"; Databricks: "(N)"
    r"max(?:imum)? (?:allowed )?(?:context|prompt|input|model|sequence) (?:length|size|window)(?: is| of|:)? ?\(?\d",
    r"\d maximum (?:context|prompt|input) length",
    # SGLang, LM Studio, llama.cpp, Kimi, Poolside, Cloudflare: "exceeds the ... context size", "model token limit"
    rf"{_OVER} {_BOUND}{_ANY_LENGTH}[ _-]{_MEASURE}",
    rf"{_OVER} {_BOUND}(?:max_seq_len|max_model_len|n_ctx|num_ctx)",
    # MiniMax, llama.cpp, LM Studio: the limit first
    r"context[ _](?:window|length|size|limit)(?: of \d+)?(?: tokens)?(?: has been| was| is)? ?"
    r"(?:exceed\w*|overflow\w*|reached|too small|full\b|(?:is|of) only)",
    r"(?:reached|hit) (?:the )?(?:max(?:imum)? )?context (?:length|window|size)",
    r"context (?:length|size|window) (?:is|of) only|\d tokens?,? but [^.]{0,40}context (?:length|size|window) is \d",
    # vLLM, older: what is left for the answer
    r"max_tokens must be at least 1, got -\d",
    r"max_(?:prompt|input|context|model)_(?:tokens|len(?:gth)?) exceeded",
    r"too (?:large|big) for (?:the |this )?model'?s? context",
    r"configured context (?:size|length|window) is \d",
    r"context overflow",
    # Anthropic, Bedrock, Ollama, LiteLLM, Fireworks: "prompt is too long"
    r"\b(?:prompt|input|inputs|conversation|message history|messages?(?: you \w+)?|context)"
    r"(?: (?:text|token|tokens|length|size|list|history))*(?: (?:is|are|was))? too (?:long|big|large)\b"
    r"(?! for (?:this|the) (?:field|column|name))",
    # z.ai, SambaNova: "Prompt exceeds max length", "Sequence length N exceeds the maximum of M"
    r"\b(?:prompt|input|sequence|context) (?:length|size|tokens?)(?: \(?[\d,]+\)?)? (?:would )?"
    r"exceed(?:s|ed)? (?:the |its |your )?(?:max(?:imum)?|limit|context|model)\b",
    r"\b(?:prompt|input)(?: text)?(?: ?\([^)]{1,40}\))? exceed(?:s|ed)? (?:the )?max(?:imum)?(?: allowed)? "
    r"(?:length|size|context|tokens)\b",
    r"\b(?:prompt|input|messages|conversation|context)\b[^.]{0,40} exceed(?:s|ed)? (?:the )?max(?:imum)? "
    r"(?:allowed )?number of tokens|max(?:imum)? of [\d,]+ tokens [^.]{0,20}\b(?:prompt|input|context)\b",
    r"\bmax(?:imum)? (?:context|input|prompt|sequence) (?:length|size) (?:was |has been |is )?exceeded",
    r"\btokens? limit (?:was |has been |is )?(?:exceeded|reached)|\bn_ctx\b[^.]{0,20}exceed",
    r"\d tokens?[^.]{0,40}(?:over|above|more than|greater than|exceeds?) (?:the )?(?:model'?s )?(?:limit|max)",
    r"too (?:long|large|big)(?: for (?:the|this) model)?: \(?\d[\d,]* tokens?\b",
    # Gemini, Copilot, watsonx, SiliconFlow: tokens of the prompt against a number
    r"\b(?:prompt|inputs?|request(?:ed)?|messages?|conversation|total|number of)(?=\W|_)[^.]{0,60}?[ _]tokens?\b"
    r"(?![^.]{0,20}(?:completion|output))[^.]{0,80}?"
    r"(?:exceed(?!s? (?:your|the) (?:rate|quota))|must be (?:less|smaller|fewer|at most|<)|more than|greater than"
    r"|larger than|only supports|supports (?:only )?up to)",
    r"\binput(?: length)? (?:\d+ tokens )?(?:would )?exceeds? the (?:maximum|max|model) (?:number of )?(?:tokens"
    r"|limit)",
    # Perplexity, Voyage
    r"tokens? in (?:the |your )?(?:request|prompt|input)(?: \([\d,]+\))? "
    r"(?:(?:is |are )?(?:more|greater|larger)|exceeds?\b)",
    r"max(?:imum)? (?:allowed )?tokens per (?:submitted )?(?:batch|input|prompt)",
    # TGI, TEI, Together
    r"`?inputs`? must have (?:less|fewer) than \d+ tokens",
    r"`?inputs`? (?:tokens )?\+ `?max_(?:new_)?tokens`? must be",
    # Cohere, Bedrock ("too many tokens, please wait" is throttling)
    r"too many (?:input |prompt |total )?tokens\b(?! (?:per|requested))(?!.{0,40}wait)",
    r"max tokens of \d+ exceeded",
    # DashScope, Bedrock
    r"range of input length",
    r"expected maxlength: ?\d+, actual",
    # Groq, Cerebras, Cohere: what to do about it
    r"(?:reduce|shorten|decrease) (?:the |your )?(?:length|size|number) of (?:the |your )?(?:input|prompt|messages?"
    r"|context)",
    r"(?:reduce|shorten) (?:the|your) (?:input|prompt|messages|context)\b",
    r"(?:use|try|using) (?:a )?shorter (?:prompt|input)",
    # GitHub Models
    r"max size: ?\d+ tokens",
    # OpenAI: only where the text itself was meant, not a name
    r"string too long\b.*?maximum length \d{5,}",
    r"context_?(?:length|window)_?exceeded",
    r"(?:上下文|输入|提示词?|prompt)[^。]{0,12}(?:超长|过长|超过|超出|超限)|超[出过]?最大(?:上下文|输入)",
)
_QUOTA = _any(
    r"insufficient[ _](?:\w+ ){0,2}(?:balance|credits?|funds)|insufficient user quota",
    r"balance (?:is |has )?(?:not enough|insufficient|too low|exhausted|run out|depleted|is used up|negative)",
    r"\bkey limit exceeded",
    r"(?:not (?:have )?(?:enough|sufficient)|no|out of|lack of|run out of|requires? more|add|purchase|buy) (?:\w+ )?"
    r"(?:credits?|balance|funds)\b",
    r"credits?\b[^.]{0,30}(?:too low|exhausted|depleted|used up|run out|expired)",
    r"(?:quota|limit)[^.]{0,30}for (?:this|the|your) billing",
    r"(?:used|consumed|spent|exhausted) (?:up )?(?:all|the|its|your)(?: of)?(?: its| your)? ?(?:available |free "
    r"|prepaid |included |monthly |remaining )?credits?",
    r"(?:monthly|weekly|daily|plan|subscription|session|billing(?: cycle)?|spend(?:ing)?|usage|budget)"
    r"(?:/\w+)?(?: \w+)? (?:limit|quota|cap|allowance)s?\b",
    r"billing (?:hard )?(?:limit|is not active|not active|details)|billing_(?:hard_limit|not_active)",
    r"budget (?:has been )?exceeded|out of budget|exceeded ?budget|over (?:the )?budget",
    r"(?:reached|exceeded|exhausted|hit|used up) (?:\w+ ){0,3}(?:monthly|weekly|daily|free|plan|current) ?"
    r"(?:tier )?(?:quota|allowance|limit)",
    r"free[ -](?:tier|trial|quota|credits?|allocated quota)[^.]{0,40}(?:expired|ended|exhausted|exceeded|used up)",
    r"account[^.]{0,40}(?:suspended|overdue|in arrears|arrearage|past due|frozen|unpaid|not in good standing)",
    r"account is in good standing|exceeds? the service quota",
    r"payment (?:is )?(?:required|failed|overdue)|past invoices|unpaid invoices?|plans? (?:&|and) billing",
    r"please (?:recharge|top[ -]?up|upgrade your plan)",
    r"insufficient_(?:quota|balance|credits)",
    r"余额不足|欠费|额度(?:不足|已用尽)|配额已用尽|请充值",
)
_MODEL = _any(
    r"\bmodel(?:s/\S+)?\b[^.]{0,80}? (?:is |was |could )?(?:not (?:be )?found|does not exist|not exist"
    r"|(?:is |has been )?(?:decommissioned|deprecated|retired|discontinued|removed|shut down|sunset)"
    r"|no longer (?:supported|available|served)"
    r"|is unknown|is invalid|not (?:a )?valid|not (?:available|deployed|served|enabled|recogni[sz]ed)"
    r"(?! (?:when|with|in combination)))",
    r"\bmodel\b[^;]{0,60}? is not supported(?! (?:when|with|for (?:this|tool|image|function|stream)"
    r"|by (?:this )?param))",
    r"\bmodel\b[^;]{0,80}?(?:end of (?:its )?life|end-of-life)",
    r"(?:invalid|unknown|no such|unrecogni[sz]ed|unsupported|nonexistent|bad) model"
    r"(?! (?:param|option|setting|output|config))(?:\b|_)",
    r"model (?:identifier|id|name)s? (?:is|are|was) (?:invalid|not valid|unknown|required)",
    r"not a (?:valid|supported|known|recogni[sz]ed) model|model names (?:are|supported)",
    r"(?:specify|provide|choose) a (?:valid|supported|different) model|model is not active",
    r"(?:could|can) ?not (?:find|locate) (?:the |any )?(?:requested )?model\b",
    r"(?:failed|unable) to load (?:the )?model\b",
    r"not (?:allowed to |have )access (?:to )?(?:the |this )?model\b|not in the list of (?:\w+ )?models",
    r"\A\W*(?:the )?model \S+ not supported\W*\Z",
    r"there is no model\b|no (?:model|deployment|endpoint)s? (?:found (?:for|matching)|named|called|with)",
    r"\b(?:deployment|endpoint)\b[^.]{0,60} (?:does not exist|(?:was |could )?not (?:be )?found)",
    r"\bmodel\b[^.]{0,60} unavailable (?:in|for|to|on) ",
    r"unable to access (?:non-serverless )?model|does not work with the specified model",
    r"(?:on-demand throughput|inference profile)[^.]{0,40}(?:not|required|supported)",
    r"no models? (?:is |are |was )?(?:currently )?loaded|模型不存在",
    r"not a (?:chat|completions?|generative|text generation) model|does not support (?:chat|generate|completions?)\b",
    r"(?:only (?:be )?(?:supported|available|used|works)|use)[^.]{0,30}\bv1/(?:responses|completions|embeddings|chat)",
    r"not supported (?:in|with|by|on) (?:the )?/?v1/",
    r"operation does not work with",
)
_UNSUPPORTED = _any(
    r"no endpoints? found that (?:support|can)",
    r"(?:unsupported|unknown|unrecogni[sz]ed|unexpected) (?:request )?(?:param|value|option|field|argument|key"
    r"|property|feature)",
    r"(?:extra|additional) (?:inputs?|fields?|propert(?:y|ies))(?: \S+)? (?:are |is )?not (?:permitted|allowed)",
    r"(?:is|are|was|currently) ?not (?:currently |yet )?(?:supported|allowed|available|permitted|enabled) "
    r"(?:with|by|for|on|in|when) ",
    r"(?:is|are) (?:not|un)[ -]?supported|not supported by",
    r"does not (?:currently )?support|do not support|only the default|unsupported_(?:parameter"
    r"|value)",
    r"\b(?:not supported|unsupported)\b|only [^.]{1,60} (?:is|are) supported|cannot both be|mutually exclusive",
    r"(?:for|with|on|by) this model\b|\b\w+_\w+['\"`]? (?:is|are) not (?:allowed|permitted)",
    r"maximum allowed number of output tokens|(?:is|are) not (?:yet )?implemented|support for .{1,40} is not enabled",
    r"use '?max_completion_tokens'? instead|not (?:permitted|allowed) for this model|cannot be used (?:with|together)",
    r"model supports at most|max_(?:completion_|new_|output_)?tokens\W[^.]{0,60}(?:too large|exceed|at most"
    r"|less than or equal)",
    r"range of max_tokens|requires? --[\w-]+|to be enabled for (?:this|your)|only supported by",
    r"(?:payload|request|body|entity)(?: \w+)? (?:is )?too large|exceeds? the (?:maximum|limit|max)[^.]{0,30}(?:bytes"
    r"|\dMB|size)",
    r"not available (?:on|in|for|with) (?:your|the|this) (?:current )?(?:plan|tier|subscription|region)",
)
_NEEDS_MORE = _any(r"no endpoints? found that (?:support|can)", r"extra usage is required")
_AUTH = _any(
    r"(?:invalid|incorrect|missing|wrong|expired|no|bad|provide an?|malformed) (?:\w+ )?(?:api[ _-]?key|access key"
    r"|subscription key)",
    r"api[ _-]?key\b[^.]{0,30}(?:invalid|not valid|not found|expired|missing|required|revoked|disabled|deleted"
    r"|incorrect)",
    r"(?:security|access|auth\w*|bearer|oauth|session) token\b[^.]{0,40}(?:expired|invalid|missing|not valid|revoked)",
    r"(?:invalid|expired|missing) (?:access|auth\w*|bearer|security|oauth) (?:token|credentials?|header)",
    r"\bun-?authori[sz]ed\b|\bauthentication\b[^.]{0,24}(?:fail|requir|error|invalid)|could not authenticate",
    r"not authori[sz]ed to|permission denied|access denied|signature[^.]{0,40}(?:not match|mismatch|expired)",
    r"(?:user )?location is not supported|(?:country|region)[^.]{0,40}not (?:supported|available)",
    r"(?:organization|account|identity) must be verified|key has been (?:disabled|revoked)"
    r"|account[^.]{0,20}deactivated",
    r"\A\W*invalid token\W*\Z|login fail|carry the api secret key|认证失败|鉴权失败|密钥无效|无权访问|无效的令牌",
)
_LIMITED = _any(
    r"\brate[ _-]?limit(?:ed|ing)?\b",
    r"too many (?:(?:\w+ )?requests|(?:tokens|queries) per)|\bthrottl(?:ed|ing)",
    r"(?:requests?|tokens?|queries) " + r"per[ _-]?(?:minute|second|hour)[^.]{0,40}(?:exceed|limit|reach)",
    r"(?:exceed|reach)\w*[^.]{0,60}(?:" + _PER_MINUTE + ")",
    r"concurren\w+[^.]{0,40}(?:limit|exceed|reach|too (?:high|many)|high)|high concurrency",
    r"resource[ _]?(?:has been )?exhausted|请求过于频繁|速率限制|调用频率|频率限制|error code: ?1015",
)
_BUSY = _any(
    r"\boverload",
    r"\bmodel\b[^.]{0,40}(?:still |currently |being )?(?:loading|warming up|initiali[sz]ing|starting|not ready)"
    r"|loading (?:the )?model",
    r"(?:at|over|no|insufficient|out of) capacity|capacity (?:exceeded|limits?|exhausted)",
    r"high (?:demand|load|traffic)|(?:server|service|system|engine|model|api) is (?:\w+ )?busy|server busy",
    r"no (?:healthy )?(?:deployments?|instances?|replicas?|backends?|upstreams?|workers?) (?:is |are )?available",
    r"(?:temporarily|currently|service) unavailable|under maintenance|scheduled maintenance|slow down",
    r"服务(?:过载|繁忙)|负载过高|访问量过大|系统繁忙",
)
_FILTERED = _any(
    r"content[ _]?(?:management |usage )?(?:policy|policies|filter\w*|moderation|safety)|safety (?:system|policy"
    r"|filter|setting)",
    r"(?:was|were|been) (?:flagged|blocked|filtered)|responsible ai|guardrail\w*[^.]{0,30}(?:blocked|intervened)",
    r"\bcontent\b[^.]{0,40} is (?:blocked|flagged|filtered)",
    r"violat\w+[^.]{0,40}(?:polic|guideline|terms)|inappropriate content|content exists risk|considered high risk",
    r"(?:sensitive|unsafe|prohibited) (?:content|words?|information)|requires moderation|敏感|不安全",
)


class _AllBut(frozenset[int]):
    def __contains__(self, status: object) -> bool:
        return not super().__contains__(status)


_ASKS = frozenset({200, 400, 413, 422, 500})
"""Statuses that say little: a request was refused, or a server gave up on it."""
_WORDINGS = (
    Wording(QuotaError, _QUOTA, _AllBut({401, 404}), unless=_RATE),
    Wording(ContentFilterError, _FILTERED, _ASKS | {403, 451}),
    Wording(ContextLengthError, _CONTEXT, _AllBut({401, 402, 403, 408, 429, 503, 529}), unless=_PER_MINUTE),
    Wording(UnsupportedRequestError, _NEEDS_MORE, frozenset({404, 429})),
    Wording(ModelNotFoundError, _MODEL, _ASKS | {404, 410, 412, 424, 501}),
    Wording(AuthError, _AUTH, _ASKS),
    Wording(UnsupportedRequestError, _UNSUPPORTED, _ASKS | {415}),
    Wording(RateLimitError, _LIMITED, _ASKS | {403, 449, 502}),
    Wording(OverloadedError, _BUSY, _ASKS | {404, 409, 424}),
)
"""In this order: the more precise before the vaguer."""

_LARGER = r"request(?: is)? too large|tokens must be reduced|too large for [^.]*per[ _-]min"
_TOKENS = r"\btokens?\b|TPM\b|TokensPerMinute"
_LIMIT = r"\b(?:limit|allowance|maximum|allowed)(?: is| of| to|:|=| \()? ?(\d[\d,]*)(?! ?(?:requests|rpm))"
_SIZE = (
    r"\brequest(?:ed|s|ing)?(?: is| of| for| has| with| contains| needs| uses|:|=| \()? ?(\d[\d,]*)(?! ?requests)"
    r"|\b(\d[\d,]*) tokens (?:were |are )?requested"
)
_REFUSED_AT = r"\bnot (?:supported )?(?:in|with|on|by|via|for)\b"
_ENDPOINT = r"\bv1/(?:chat/completions|completions|responses|embeddings|messages|images/\w+|audio/\w+)"


def is_per_day(text: str) -> bool:
    """Tell whether a limit is of a day or longer, by its name or by what is said of it."""
    return _says(_PER_DAY, text)


def is_per_minute(text: str) -> bool:
    """Tell whether a limit is of an hour or shorter."""
    return _says(_PER_MINUTE, text)


def is_larger_than_a_minute(message: str) -> bool:
    """Tell whether one request asks for more than the service gives in a minute: then no wait helps."""
    if not _says(_PER_MINUTE, message):
        return False
    if _says(_LARGER, message):
        return True
    limit, size = re.search(_LIMIT, message, re.IGNORECASE), re.search(_SIZE, message, re.IGNORECASE)
    if limit is None or size is None or not re.search(_TOKENS, message, re.IGNORECASE):
        return False
    return _count(size[1] or size[2]) > _count(limit[1]) > 0


def classify_message(message: str, status: int) -> type[ConnectorError] | None:
    """Return the class that a message means with this status, `None` where its wording is not known."""
    message = re.sub(r"n['’]t\b", " not", message)
    for wording in _WORDINGS:
        if status not in wording.statuses or not _says(wording.pattern, message):
            continue
        if not wording.unless or not _says(wording.unless, message):
            return wording.error
    return None


def endpoint_needed(message: str) -> str:
    """Return the endpoint that a model needs by what the service says of it, empty where it names none."""
    before, *after = re.split(_REFUSED_AT, message, maxsplit=1, flags=re.IGNORECASE)
    wanted = re.findall(_ENDPOINT, before)
    if not wanted and after:
        wanted = re.findall(_ENDPOINT, after[0])[1:]  # the first is the one that was called
    return wanted[-1] if wanted else ""


def _count(digits: str) -> int:
    return int(digits.replace(",", "")[:15] or 0)
