/* What a call carries; see carry.h. */
#include "hooks/carry.h"

#include "preload/carrier.h"

/* b64 of 70 bytes of name */
#define NAME64_MAX 104

static struct {
	char service[NAME64_MAX], instance[NAME64_MAX];
} names;

void sw_carry_names(void)
{
	struct sw_writer service = sw_writer(names.service, NAME64_MAX - 1);
	struct sw_writer instance = sw_writer(names.instance, NAME64_MAX - 1);

	memset(&names, 0, sizeof(names));
	sw_write_base64(&service, sw_bytes_text(sw_process_service()));
	sw_write_base64(&instance, sw_bytes_text(sw_process_instance()));
}

static void write_id(struct sw_writer *w, struct sw_id id)
{
	uint8_t text[SW_ID_TEXT];
	struct sw_writer plain = sw_writer(text, sizeof(text));

	sw_write_id(&plain, id);
	sw_write_base64(w, sw_written(&plain));
}

void sw_carry_trace(struct sw_writer *w, struct sw_bytes foreign, struct sw_id segment)
{
	if (foreign.len)
		sw_write(w, foreign);
	else
		write_id(w, sw_process_trace_of(segment));
}

void sw_carry_write(struct sw_writer *w, const struct sw_carried_on *c)
{
	sw_write(w, SW_BYTES("1-"));
	sw_carry_trace(w, c->trace, c->segment);
	sw_write(w, SW_BYTES("-"));
	write_id(w, c->segment);
	sw_write(w, SW_BYTES("-"));
	sw_write_number(w, (uint64_t)c->span);
	sw_write(w, SW_BYTES("-"));
	sw_write(w, sw_bytes_text(names.service));
	sw_write(w, SW_BYTES("-"));
	sw_write(w, sw_bytes_text(names.instance));
	sw_write(w, SW_BYTES("-"));
	sw_write_base64(w, c->endpoint);
	sw_write(w, SW_BYTES("-"));
	sw_write_base64(w, c->peer);
}
