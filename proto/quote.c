/*
 * Texts and whole numbers as JSON; see quote.h.
 *
 * Almost every text is plain ASCII as a whole, and short: looked at and copied eight bytes at a
 * time, the last of them perhaps twice.
 */
#include "proto/quote.h"

#include "proto/text.h"

/* ---- texts ---- */

static bool is_plain(uint8_t c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* All eight, by the borrows of a subtraction. */
static bool are_plain(uint64_t c)
{
	const uint64_t ones = 0x0101010101010101, tops = ones << 7;
	uint64_t quote = c ^ ones * '"', slash = c ^ ones * '\\';

	/* What stands above a byte that borrows may be taken for odd, too; then there is one. */
	return !((c | (c - ones * 0x20) | (quote - ones) | (slash - ones)) & tops);
}

static uint64_t word_at(const uint8_t *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return word;
}

/* All of a text of 4 to 7 bytes, if it is plain. */
static bool copy_short(struct sw_bytes text, uint8_t *ret_text)
{
	uint32_t first, last;

	memcpy(&first, text.at, sizeof(first));
	memcpy(&last, text.at + text.len - sizeof(last), sizeof(last));
	if (!are_plain((uint64_t)first << 32 | last))
		return false;
	memcpy(ret_text, &first, sizeof(first));
	memcpy(ret_text + text.len - sizeof(last), &last, sizeof(last));
	return true;
}

/* Copies what is plain at the beginning of `text`, and returns its length. */
static size_t copy_plain(struct sw_bytes text, uint8_t *ret_text)
{
	const size_t word = sizeof(uint64_t);
	size_t run = 0;

	if (text.len >= sizeof(uint32_t) && text.len < word && copy_short(text, ret_text))
		return text.len;
	for (; run + word <= text.len && are_plain(word_at(text.at + run)); run += word)
		memcpy(ret_text + run, text.at + run, word);
	if (text.len >= word && text.len - run < word &&
	    are_plain(word_at(text.at + text.len - word))) {
		memcpy(ret_text + text.len - word, text.at + text.len - word, word);
		return text.len;
	}
	for (; run < text.len && is_plain(text.at[run]); run++)
		ret_text[run] = text.at[run];
	return run;
}

static uint8_t *escape(uint8_t *at, uint8_t c)
{
	static const char digit[16] = "0123456789abcdef";

	*at++ = '\\';
	if (c == '"' || c == '\\') {
		*at++ = c;
		return at;
	}
	memcpy(at, "u00", 3);
	at[3] = (uint8_t)digit[c >> 4];
	at[4] = (uint8_t)digit[c & 15];
	return at + 5;
}

/* What is not plain, one byte: those above ASCII are mended with their neighbours, later. A NUL is
 * no character of a text (proto/text.h). */
static uint8_t *write_odd(uint8_t *at, uint8_t c)
{
	if (c && c < 0x80)
		return escape(at, c);
	*at++ = c ? c : '?';
	return at;
}

/* From a text's first byte that is not plain on. */
static uint8_t *write_escaped(uint8_t *at, struct sw_bytes left)
{
	uint8_t *from = at, above = 0;

	while (left.len) {
		size_t run;

		above |= left.at[0];
		at = write_odd(at, left.at[0]);
		left = sw_bytes_from(left, 1);
		run = copy_plain(left, at);
		at += run;
		left = sw_bytes_from(left, run);
	}
	if (above & 0x80)
		sw_text_mend(from, (size_t)(at - from));
	return at;
}

uint8_t *sw_quote(uint8_t *at, struct sw_bytes text)
{
	size_t run;

	*at++ = '"';
	run = copy_plain(text, at);
	at += run;
	if (run < text.len)
		at = write_escaped(at, sw_bytes_from(text, run));
	*at++ = '"';
	return at;
}

/* ---- numbers ---- */

/* Two digits for each division. */
uint8_t *sw_quote_unsigned(uint8_t *at, uint64_t n)
{
	static const char pairs[] = "00010203040506070809101112131415161718192021222324"
				    "25262728293031323334353637383940414243444546474849"
				    "50515253545556575859606162636465666768697071727374"
				    "75767778798081828384858687888990919293949596979899";
	uint8_t digits[20];
	size_t from = sizeof(digits);

	for (; n >= 10; n /= 100) {
		from -= 2;
		memcpy(digits + from, pairs + n % 100 * 2, 2);
	}
	if (n || from == sizeof(digits))
		digits[--from] = (uint8_t)('0' + n);
	memcpy(at, digits + from, sizeof(digits) - from);
	return at + sizeof(digits) - from;
}

uint8_t *sw_quote_signed(uint8_t *at, int64_t n)
{
	if (n < 0)
		*at++ = '-';
	return sw_quote_unsigned(at, n < 0 ? -(uint64_t)n : (uint64_t)n);
}
