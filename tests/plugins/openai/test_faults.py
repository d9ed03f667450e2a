"""An index: the numbered faults of the service and of its streams, and where each is held.

What one attempt can meet is held here and in the tests of the toolkit for HTTP; what is decided between attempts is
held in the tests of the engine, and is listed as such.
"""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = {
    2: "failures::test_refusals_are_classified", 3: "failures::test_own_classes_go_before_all_others",
    5: "http::test_retry_after_never_raises", 6: "http::test_retry_after",
    7: "connections::test_errors_tell_whether_to_retry",
    11: "http_session::test_stale_connection_is_told_from_a_dead_service",
    12: "http_session::test_connection_closed_while_idle_is_not_used",
    13: "answers::test_upload_to_a_service_that_does_not_read_times_out",
    14: "http::test_session_defaults_are_safe", 15: "answers::test_stalled_answer_times_out",
    16: "answers::test_broken_answers", 17: "http_session::test_full_pool_is_told_from_a_slow_service",
    18: "connections::test_nothing_is_left_after_failures_of_every_kind",
    19: "connections::test_memory_does_not_grow_with_streams",
    20: "answers::test_broken_answers", 21: "answers::test_every_cut_of_an_answer_is_a_truncation",
    22: "answers::test_broken_answers", 23: "http::test_read_body_counts_what_is_decoded",
    24: "answers::test_redirect_is_not_followed", 25: "streams::test_no_stream_where_one_was_asked",
    26: "failures::test_any_body_is_classified", 27: "failures::test_context_length_is_known_by_its_wording",
    28: "answers::test_filtered_answer_is_no_answer", 29: "failures::test_refusals_are_classified",
    30: "failures::test_refusals_are_classified",
    35: "answers::test_early_refusal_while_the_body_is_on_its_way", 36: "answers::test_interim_answers_are_skipped",
    37: "answers::test_refused_connection", 38: "http::test_session_defaults_are_safe",
    40: "answers::test_odd_json_is_a_protocol_error",
    39: "call_id::test_all_attempts_of_a_call_carry_its_id",
    41: "golden_streams::test_golden_stream_reads_the_same_however_it_is_cut",
    42: "streams::test_stream_text_is_valid_unicode",
    43: "golden_streams::test_golden_stream_reads_the_same_however_it_is_cut",
    44: "golden_streams::test_golden_stream_is_read", 45: "streams::test_stream_that_breaks_off_is_truncated",
    46: "golden_streams::test_quirk_options", 47: "streams::test_error_inside_a_stream",
    48: "streams::test_error_inside_a_stream", 49: "golden_streams::test_golden_stream_is_read",
    50: "golden_streams::test_golden_stream_is_read", 51: "golden_streams::test_golden_stream_is_read",
    52: "golden_streams::test_golden_stream_is_read", 53: "sse::test_decoder_reads_the_format",
    54: "sse::test_decoder_takes_a_line_of_700_kilobytes", 55: "streams::test_endless_line_is_refused",
    56: "sse::test_decoder_is_linear_in_tiny_pieces", 57: "golden_streams::test_golden_stream_is_read",
    58: "golden_streams::test_golden_stream_is_read", 59: "streams::test_stream_is_read_chunk_by_chunk",
    60: "tool_calls::test_deltas_are_given_as_they_come", 61: "tool_calls::test_fragments_make_the_same_calls",
    62: "tool_calls::test_cut_arguments_are_an_error", 63: "golden_streams::test_golden_stream_is_read",
    64: "golden_streams::test_golden_stream_is_read", 65: "golden_streams::test_golden_stream_is_read",
    66: "connections::test_what_comes_after_done_is_not_used",
    67: "golden_streams::test_golden_stream_with_invalid_utf_8", 68: "connections::test_endless_stream_ends",
    69: "streams::test_stalled_stream_times_out", 73: "streams::test_leaving_early_closes_the_connection",
    74: "connections::test_slow_reader_is_not_cancelled",
}  # fmt: skip
OF_THE_ENGINE = {1, 4, 8, 9, 10, 31, 32, 33, 34, 70, 71, 72}
"""Retries, waits, deadlines, budgets, breakers and fallbacks: the connector makes one request and knows of none."""

FILES = [*Path(__file__).parent.glob("test_*.py"), *Path(__file__).parents[2].glob("toolkit/test_*.py")]


def test_every_fault_is_held_somewhere() -> None:
    """All numbers of the service (1 to 40) and of streams (41 to 74), each once."""
    assert not OF_THE_ENGINE & set(HERE)
    assert OF_THE_ENGINE | set(HERE) == set(range(1, 75))


@pytest.mark.parametrize("place", sorted(set(HERE.values())))
def test_every_place_of_the_index_is_there(place: str) -> None:
    """A test that is renamed is renamed here too."""
    module, _, name = place.partition("::")
    (file,) = [path for path in FILES if path.stem == f"test_{module}"]
    assert f"def {name}(" in file.read_text("utf-8")
