/*
 * The Huffman code of HPACK's strings (RFC 7541 section 5.2 and appendix B).
 *
 * Pure: no allocation, nothing global that changes; may run on any thread, also in a signal
 * handler.
 */
#pragma once

#include "preload/bytes.h"

/* Bytes that `text` takes when it is coded. */
size_t sw_huffman_size(struct sw_bytes text);

/* Appends the coded text; marks `out` as cut when it does not fit. */
void sw_huffman_write(struct sw_writer *out, struct sw_bytes text);

/*
 * Appends the decoded text. What does not fit is left out, `text` marked as cut, and *ret_len still
 * the whole length. False where it is broken (then too `text` may have been appended to).
 */
bool sw_huffman_read(struct sw_bytes code, struct sw_writer *text, size_t *ret_len);
