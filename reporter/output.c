/* Numbers are of our own making: what libc prints depends on the program's locale. */
#include "reporter/output.h"

#define SEPARATORS_LEN 3 /* bytes of U+2028 and U+2029 */

void sw_output_init(struct sw_output *out, bool (*put)(void *arg, const void *at, size_t len),
		    void *arg)
{
	out->put = put;
	out->arg = arg;
	out->failed = false;
	out->len = 0;
}

void sw_output_flush(struct sw_output *out)
{
	if (!out->failed && out->len)
		out->failed = !out->put(out->arg, out->at, out->len);
	out->len = 0;
}

void sw_output_bytes(struct sw_output *out, struct sw_bytes bytes)
{
	while (bytes.len) {
		size_t some = SW_MIN(bytes.len, sizeof(out->at) - out->len);

		memcpy(out->at + out->len, bytes.at, some);
		out->len += some;
		bytes = sw_bytes_from(bytes, some);
		if (out->len == sizeof(out->at))
			sw_output_flush(out);
	}
}

void sw_output_number(struct sw_output *out, uint64_t n)
{
	uint8_t digits[20];
	struct sw_writer writer = sw_writer(digits, sizeof(digits));

	sw_write_number(&writer, n);
	sw_output_bytes(out, sw_written(&writer));
}

void sw_output_signed(struct sw_output *out, int64_t n)
{
	if (n < 0)
		sw_output_char(out, '-');
	sw_output_number(out, n < 0 ? -(uint64_t)n : (uint64_t)n);
}

static void put_escaped(struct sw_output *out, unsigned code)
{
	uint8_t digits[6] = {'\\', 'u'};

	for (int i = 5; i > 1; i--, code >>= 4)
		digits[i] = (uint8_t) "0123456789abcdef"[code & 15];
	sw_output_bytes(out, sw_bytes(digits, sizeof(digits)));
}

static bool is_separator(struct sw_bytes text)
{
	return text.len >= SEPARATORS_LEN && text.at[0] == 0xe2 && text.at[1] == 0x80 &&
	       (text.at[2] == 0xa8 || text.at[2] == 0xa9);
}

/* How many bytes from the front are written as they are. */
static size_t plain(struct sw_bytes text)
{
	size_t n = 0;

	for (; n < text.len; n++) {
		uint8_t c = text.at[n];

		if (c < 0x20 || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' ||
		    c == 0x7f || (c == 0xe2 && is_separator(sw_bytes_from(text, n))))
			break;
	}
	return n;
}

void sw_output_json(struct sw_output *out, struct sw_bytes text)
{
	sw_output_char(out, '"');
	while (text.len) {
		size_t n = plain(text);

		sw_output_bytes(out, sw_bytes_slice(text, 0, n));
		text = sw_bytes_from(text, n);
		if (is_separator(text)) {
			put_escaped(out, 0x2000u | (text.at[2] & 0x3f));
			text = sw_bytes_from(text, SEPARATORS_LEN);
		} else if (text.len) {
			put_escaped(out, text.at[0]);
			text = sw_bytes_from(text, 1);
		}
	}
	sw_output_char(out, '"');
}
