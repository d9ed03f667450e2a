"""The words by which services refuse: each sentence means one class, whoever says it, and none by a word alone."""

from __future__ import annotations

import pytest

from nexus_core import (
    AuthError,
    ConnectorError,
    ContentFilterError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    OverloadedError,
    QuotaError,
    RateLimitError,
    ServerError,
    UnsupportedRequestError,
)
from nexus_core.toolkit import classify_error, parse_error_body, read_error_body

SAID: dict[type[ConnectorError], str] = {
    ContextLengthError: r"""
        400 This model's maximum context length is 262144 tokens. However, you requested 0 output tokens and your
            prompt contains at least 262145 input tokens
        400 Your input exceeds the context window of this model. Please adjust your input and try again.
        400 The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).
        400 The input token count exceeds the maximum number of tokens allowed 32768.
        400 Unable to submit request because the input token count is 40000 but model only supports up to 32768.
            Reduce the input token count and try again.
        400 Please reduce the length of the messages or completion.
        400 Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192
        400 prompt token count of 70000 exceeds the limit of 64000
        400 Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length
        400 The prompt is too long: 40000, model maximum context length: 32767
        400 Prompt too long: 5152 tokens exceeds max_seq_len 2048 (leave room for output tokens)
        400 Request size exceeds model context window
        400 input length and max_tokens exceed context limit (i.e 156321 + 48384 > 200000)
        400 max_tokens would exceed context window
        400 input length would exceed context budget for this model
        400 input length 14295 tokens exceeds the model limit
        400 上下文过长，请减少输入
        400 上下文超出限制
        400 上下文长度超出模型最大限制
        400 超出最大上下文长度
        400 input exceeds the maximum number of tokens
        400 Input token count exceeds the maximum number of input tokens
        424 Input is too long for this model
        400 ollama error: context length exceeded, too many tokens
        400 total tokens exceeds the model's maximum limit of 4096
        400 Context size has been exceeded.
        500 Context size has been exceeded.
        400 request (130000 tokens) exceeds available context size (131072 tokens)
        400 prompt (8500 tokens) exceeds the available context size (8192 tokens), try increasing it
        400 Prompt has 256468 tokens, but the configured context size is 256000 tokens
        422 Input validation error: `inputs` tokens + `max_new_tokens` must be <= 32768. Given: 28897 `inputs`
            tokens and 3872 `max_new_tokens`
        413 Input validation error: `inputs` must have less than 512 tokens. Given: 600
        400 ran out of room in the model's context window. Start a new thread
        400 Your request exceeded model token limit
        400 too many tokens: size limit exceeded by 11326 tokens. Try using shorter or fewer inputs. The limit for
            this model is 4096 tokens.
        400 Malformed input request: expected maxLength: 51200, actual: 61200, please reformat your input and try again.
        400 Input Tokens Exceeded: Number of input tokens exceeds maximum length. Please update the input to try again.
        400 The model returned the following errors: Input is too long for requested model.
        400 length of prompt_tokens (66000) must be less than max_seq_len (65536).
        400 Requested input length 40000 exceeds maximum input length 32768
        400 AiError: The estimated number of input and maximum output tokens (9000) exceeded this model context
            window limit (8192).
        400 invalid_input_argument: the number of input tokens 5000 cannot exceed the total tokens limit 4096 for
            this model
        400 max tokens of 8192 exceeded
        400 Prompt length 5000 is greater than max_seq_len 4096
        400 Prompt exceeds max length
        400 tokens in request more than max tokens allowed
        400 The max allowed tokens per submitted batch is 120000. Your batch has 137000 tokens after truncation.
        400 Invalid 'messages[1].content': string too long. Expected a string with maximum length 1048576, but got a
            string with length 2000000 instead.
        400 Total tokens of image and text exceed max message tokens
        400 Input prompt (9000 tokens) is too long and exceeds limit of 8192
        400 The decoder prompt (length 8825) is longer than the maximum model length of 8192.
        400 litellm.ContextWindowExceededError: OpenAIException - too much
        400 Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with
            context length of only 4096 tokens
        400 The number of tokens to keep from the initial prompt is greater than the context length.
        400 input is too long for model gpt-5.4
        400 The conversation is too long for this model.
        400 Token limit exceeded for this model: 9000 > 8192
        400 Input exceeds model's context length of 8,192 tokens
        400 The request exceeds the model's context window of 128k tokens
        413 Prompt is too large: 130000 tokens, maximum 128000
        400 Request too long: 12000 tokens, but the model supports at most 8192 tokens of context
        400 Your prompt has 12000 tokens, which is more than the model's limit of 8192 tokens
        400 messages resulted in 9000 tokens which is over the limit of 8192
        400 Sequence length 9000 exceeds the maximum of 8192
        400 The text is too long: 9000 tokens, max 8192
        400 n_ctx exceeded: 4097 > 4096
        400 prompt length exceeds context
        400 Requested tokens (5000) exceed context window of 4096
        400 the prompt size exceeds the context window size and cannot be processed
        400 Input text is too long: 12000 tokens. Maximum is 8192.
        500 input is too large to process. increase the physical batch size
        400 Maximum input length exceeded
        400 Max context length exceeded
        400 Exceeded maximum context length
        400 This request's input tokens (12000) exceed the 8192 token context window
        400 Token indices sequence length is longer than the specified maximum sequence length for this model (9 > 8)
        400 max_tokens must be at least 1, got -500. Your prompt has 8692 tokens and the model's context is 8192
        400 Your prompt is longer than the 8192-token window of this model.
        400 Failed to generate: context window full
        400 The conversation has exceeded the maximum number of tokens supported by the model (8192).
        400 The text is too long for the model: 9000 tokens (limit: 8192 tokens)
        400 Requested 9000 tokens but the context window is 8192 tokens
        400 max_prompt_tokens exceeded: 9000 > 8192
        400 Input text exceeds the maximum length of 8192 tokens for this model.
        400 prompt (length 9000) exceeds the maximum allowed length
        400 A maximum of 8192 tokens is allowed in the prompt, but 9000 were given
        400 Tokens in prompt (9000) exceed the limit of 8192
        400 request too large for model context
    """,
    QuotaError: r"""
        429 You exceeded your current quota, please check your plan and billing details.
        402 This request requires more credits, or fewer max_tokens. You requested up to 8192 tokens, but can only
            afford 1234.
        400 Budget has been exceeded! Current cost: 1.2, Max budget: 1.0
        429 ExceededBudget: User has exceeded their budget
        403 Your account has insufficient balance
        400 Insufficient Balance
        500 Insufficient MBT balance
        429 Your prepayment credits are depleted. Please go to AI Studio to manage your project.
        400 Access denied, please make sure your account is in good standing.
        403 The free tier of the model has been exhausted. If you wish to continue access the model on a paid basis,
            please disable it
        403 Free allocated quota exceeded.
        429 Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day
        429 You've hit your usage limit. Upgrade to Pro
        429 you (bob) have reached your session usage limit, upgrade for higher limits
        429 Weekly/Monthly Limit Exhausted.
        429 Too many tokens per day, please wait before trying again.
        429 Monthly usage limit reached
        402 Payment required
        429 Your team has run out of credits
        429 Account balance is negative
        403 Key limit exceeded (total limit). Manage it in the settings
        429 You have used all of your included credits
        403 You have no credits left
        429 Organization spending limit exceeded.
        400 Your credit balance is too low to access the Anthropic API.
        412 Account suspended, failure to pay past invoices
        429 The account is overdue, please recharge
        429 账户余额不足
        429 You have exceeded your monthly quota
        403 Your account is in arrears
        429 Insufficient funds. Please top up.
        400 Insufficient account balance
        400 Your request exceeds the service quota for your account.
        429 You have used all of your free credits
        429 Billing hard limit has been reached
        429 Your billing is not active
        403 Insufficient credits. Add more using https://openrouter.ai/credits
        429 Insufficient balance or no resource package. Please recharge.
        429 quota exhausted for this billing period
        403 The spending cap of this project was reached
        429 Daily limit reached, resets tomorrow.
        429 You exceeded your daily request limit.
        200 insufficient balance
        500 insufficient user quota, remaining quota: $0.00
        403 The credits of your account have expired
        429 Wallet balance is too low
        402 Insufficient USD or Diem balance to complete request
    """,
    RateLimitError: r"""
        429 Rate limit reached for gpt-4 in organization org-x on tokens per min (TPM): Limit 10000, Used 9000,
            Requested 2000. Please try again in 6s.
        429 This request would exceed your organization's rate limit of 40,000 input tokens per minute.
        429 Quota exceeded for
            aiplatform.googleapis.com/generate_content_requests_per_minute_per_project_per_base_model with base model:
            x. Please submit a quota increase request.
        429 Too many requests
        429 Too many tokens, please wait before trying again.
        429 Number of request tokens has exceeded your per-minute rate limit
        429 You exceeded your current quota, please check your plan and billing details. Please retry in 34.2s.
        429 Resource has been exhausted (e.g. check quota).
        429 Requests to the ChatCompletions_Create Operation have exceeded token rate limit of your current OpenAI
            S0 pricing tier. Please retry after 26 seconds.
        429 Your account reached max organization concurrency: 3, please try again after 1 seconds
        429 Allocated quota exceeded, please increase your quota limit.
        200 You exceeded your current rate limit
        200 Too many requests, please slow down
        400 Rate limit exceeded
        403 rate limit exceeded for requests
        500 Rate limit reached
        200 请求过于频繁，请稍后重试
        429 Tokens per minute limit exceeded - too many tokens processed.
        429 concurrency limit has been reached
        429 workers_ai gateway error: quota limit exceeded
        429 Provider returned error: error code: 1015
        200 Throttled: request rate too high
        429 Usage limit of 60 requests per minute reached
    """,
    ModelNotFoundError: r"""
        400 The model `foo` does not exist
        400 Model not found: foo
        400 Unknown model: foo
        400 Invalid model name passed in model=foo
        400 models/foo is not found for API version v1beta
        400 model 'foo' not found, make sure the correct model ID was used
        400 The requested model 'x' is not supported by any provider you have enabled.
        400 No such model @cf/foo or task
        400 Invalid model 'x'. Permitted models can be found in the documentation
        400 Model Not Exist
        400 Model does not exist. Please check it carefully.
        400 foo is not a valid model
        400 model "foo" is not available
        400 The model foo has been deprecated and is no longer available
        400 Invocation of model ID x with on-demand throughput isn't supported. Retry your request with the ID or
            ARN of an inference profile that contains this model.
        400 This model version has reached the end of its life. Please refer to the documentation.
        400 "nomic-embed-text" does not support chat
        404 This model is only supported in v1/responses and not in v1/chat/completions.
        400 This model is not a chat model
        400 The model `x` was retired on 2025-01-01
        400 No models loaded. Please load a model in the developer page or use the 'lms load' command.
        400 模型不存在，请检查模型代码
        422 model: foo is not a supported model
        400 Unsupported model: foo
        400 Unrecognized model foo
        500 model foo could not be found
        404 The model or endpoint X does not exist or you do not have access to it.
        400 There is no model named foo
        400 foo: no such model
        400 The specified model is not deployed
        400 Deployment foo does not exist
        400 The API deployment for this resource does not exist
        404 The given endpoint does not exist
        400 Model foo is currently unavailable in your region
        400 Model is not active: foo
        400 Please specify a valid model
    """,
    UnsupportedRequestError: r"""
        400 Unsupported parameter: 'temperature' is not supported with this model.
        400 Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is
            supported.
        400 Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.
        400 Unknown parameter: 'foo'.
        400 Unrecognized request argument supplied: top_k
        422 Extra inputs are not permitted
        400 max_tokens is too large: 200000. This model supports at most 16384 completion tokens, whereas you
            provided 200000.
        400 Range of max_tokens should be [1, 8192]
        400 "auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set
        404 No endpoints found that support tool use. To learn more about provider routing
        400 registry.ollama.ai/library/gemma3 does not support tools
        400 `temperature` and `top_p` cannot both be specified for this model. Please use only one.
        400 System role not supported
        500 Only user and assistant roles are supported!
        400 This model does not support image input
        400 Function calling is not enabled for models/x
        400 Developer instruction is not enabled for models/gemma-3
        400 Thinking is not supported by this model
        400 property 'reasoning_effort' is unsupported
        400 argument not supported on this model: presencePenalty
        400 logprobs is not available for this model
        400 response_format json_schema is not supported
        413 <html><head><title>413 Request Entity Too Large</title></head></html>
        413 Request exceeds the maximum size
        429 Extra usage is required for long context requests
        400 max_tokens: 9000 > 8192, which is the maximum allowed number of output tokens for x
        400 stream_options is not allowed
        400 `n` must be 1 for this model
        400 The model x does not support assistant message prefill
        400 Streaming is not supported for this organization
    """,
    AuthError: r"""
        400 API key not valid. Please pass a valid API key.
        400 Incorrect API key provided: sk-***.
        400 The security token included in the request is invalid
        400 User location is not supported for the API use.
        400 Your organization must be verified to stream this model.
        200 Invalid API key
        400 Authentication Fails (no such user)
        500 invalid api key
        400 The API key has expired. Please renew the API key.
        400 Missing Authentication header
        200 login fail: Please carry the API secret key in the 'Authorization' field
        400 The provided API key is disabled
        400 Invalid token
    """,
    OverloadedError: r"""
        200 The model is overloaded. Please try again later.
        400 Model is currently loading
        400 Model foo is loading, please wait
        200 Service temporarily unavailable
        500 The engine is currently overloaded, please try again later
        200 This model is currently experiencing high demand.
        400 Selected model is at capacity. Please try a different model.
        200 The server is busy, please try again later.
        200 The service is under maintenance
    """,
    InvalidRequestError: r"""
        400 Invalid value for 'temperature': must be between 0 and 2
        400 max_tokens must be positive
        400 messages: at least one message is required
        400 Invalid role in the context of this conversation
        400 The context parameter is invalid
        400 'messages' must contain the word 'json' in some form
        400 Invalid input: expected a string
        400 Input validation error: temperature must be strictly positive
        422 Input should be a valid string
        400 tool_use ids were found without tool_result blocks
        400 Invalid schema for response_format 'x': In context=(), 'additionalProperties' is required to be supplied
            and to be false
        400 Invalid 'tools[0].function.name': string too long. Expected a string with maximum length 64, but got a
            string with length 70 instead.
        400 The conversation must end with a user message
        400 Request body is not valid JSON
        400 Error parsing the body: limit is wrong
        400 missing required field: quota
        400 We could not parse the JSON body of your request.
        400 temperature exceeds the maximum value of 2
        400 Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with length 5
            instead.
        422 message content must not be empty
        400 too many messages in the array
        400 The rate of the audio is invalid
        400 Image could not be decoded
        400 AiError: Invalid input
    """,
    ContentFilterError: r"""
        400 The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please
            modify your prompt and retry.
        400 Your prompt was flagged as potentially violating our usage policy
        400 Input data may contain inappropriate content.
        400 Content Exists Risk
        403 Your chosen model requires moderation and your input was flagged for "violence".
        400 Output blocked by content filtering policy
        400 The request was rejected because it was considered high risk
        400 Your request was rejected as a result of our safety system.
        200 系统检测到输入或生成内容可能包含不安全或敏感内容
        403 Content violates usage guidelines. Failed check: SAFETY
        400 The content in this context violates our policies: the prompt is too sensitive
    """,
    ServerError: r"""
        500 Internal server error
        500 CUDA out of memory
        502 Provider returned error
        500 EngineCore encountered an issue
        200 Internal error
        504 Gateway timeout
        524 <html><head><title>A timeout occurred</title></head></html>
    """,
}
"""A status and what is said with it, as services are known to; a line that goes on is indented further."""


def sentences(error: type[ConnectorError]) -> list[tuple[int, str]]:
    lines = SAID[error].replace("\n" + 12 * " ", " ").split("\n")
    return [(int(line.split()[0]), line.split(maxsplit=1)[1].strip()) for line in lines if line.strip()]


CASES = [
    pytest.param(status, said, error, id=f"{error.kind}-{number}")
    for error in SAID
    for number, (status, said) in enumerate(sentences(error))
]


@pytest.mark.parametrize(("status", "said", "error"), CASES)
def test_a_sentence_of_a_service_means_a_class(status: int, said: str, error: type[ConnectorError]) -> None:
    """Where no code tells it, the wording does, with the statuses that it comes with."""
    payload = {"error": {"message": said}} if said[0] != "<" else parse_error_body(said.encode())
    assert classify_error(read_error_body(payload), status) is error


LOOKS_LIKE_MORE: dict[type[ConnectorError], str] = {
    InvalidRequestError: r"""
        400 'messages' : array too short. Expected an array with minimum length 1
        400 Invalid parameter: 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'.
        400 Invalid image data. The context of the image is unclear
        400 The input contains an invalid character in its context
        400 Message content 'how do I raise the limit of my credit card?' is not a list
        400 1 validation error for ChatCompletionRequest: messages.0.role Input should be 'user' or 'system'
        400 Model output must be JSON
        400 Expected a model name of type string
        400 'model' is a required property
        400 you must provide a model parameter
        400 Invalid type for 'max_tokens': expected an integer, but got a string
        400 max_tokens must be at least 1, got 0
        400 Invalid 'input': the key is missing
        400 Missing required parameter: 'messages[0].content[0].type'.
        400 The last message must be from the user
        400 JSON schema of the tool is invalid: quota is not of type object
        400 Malformed JSON: rate
        400 Prompt is required and cannot be empty
        400 Input must not contain more than one system message
        400 The number of messages exceeds the maximum of 2048
        400 Too many images: at most 5 per request
        400 The total number of images exceeds 20
        400 n must be less than 8
        400 Number of tools exceeds the maximum of 128
        400 stop: at most 4 sequences
        400 Invalid base64 in message content: input is not too large
        400 The assistant's message must be over 1 token long
        422 body.messages.0.content: String should have at most 100 characters
        400 Invalid value: 'usage'. Supported values are: 'a' and 'b'.
        400 Invalid value: 'developer'. Supported values are: 'system', 'assistant', 'user'.
    """,
    RateLimitError: r"""
        429 Rate limit reached: check your plan and billing details to raise it
        429 You have sent too many requests. Your account balance is fine.
        429 Request rate limit exceeded for your current plan limit of 60 requests per minute
        429 Concurrency limit of your subscription: 2
        429 The context window of requests is full, retry
    """,
    ServerError: r"""
        500 The server had an error while processing your request. Sorry about that!
        500 KV cache is full: context not found
        500 An error occurred in the billing module
    """,
    OverloadedError: r"""
        503 The model is not available now
        503 No available capacity for this model
    """,
    ModelNotFoundError: r"""
        404 Not Found
        404 page not found
    """,
    AuthError: r"""
        401 Your account balance page requires a login
        403 Forbidden
    """,
}
"""What holds a word of another class and is none: a limit that is no quota, a context that is no window."""


@pytest.mark.parametrize(
    ("status", "said", "error"),
    [
        pytest.param(int(line.split()[0]), line.split(maxsplit=1)[1].strip(), error, id=f"{error.kind}-{number}")
        for error, lines in LOOKS_LIKE_MORE.items()
        for number, line in enumerate(lines.strip().split("\n"))
    ],
)
def test_a_word_alone_means_nothing(status: int, said: str, error: type[ConnectorError]) -> None:
    """Prompts, names of options and other limits hold the same words."""
    assert classify_error(read_error_body({"error": {"message": said}}), status) is error
