/* Datagrams of syslog and journald; see journal.h. */
#include "reporter/logs/journal.h"

static void set_severity(unsigned priority, struct sw_log_facts *facts)
{
	facts->levelled = true;
	facts->severity = sw_log_severity(priority, &facts->level);
}

static bool digits(struct sw_bytes text, size_t most, unsigned *ret_number)
{
	unsigned n = 0;

	for (size_t i = 0; i < text.len; i++) {
		if (i == most || text.at[i] < '0' || text.at[i] > '9')
			return false;
		n = n * 10 + (unsigned)(text.at[i] - '0');
	}
	*ret_number = n;
	return text.len > 0;
}

/* "tag[pid]: " or "tag: " before the text. */
static struct sw_bytes without_tag(struct sw_bytes text, struct sw_log_facts *facts)
{
	size_t colon = sw_bytes_find(sw_bytes_slice(text, 0, SW_FACT_MAX), ':');
	struct sw_bytes tag = sw_bytes_slice(text, 0, colon);
	size_t space = sw_bytes_find(tag, ' ');

	if (colon == text.len || colon + 1 >= text.len || text.at[colon + 1] != ' ' ||
	    space < tag.len || !tag.len || colon == SW_FACT_MAX)
		return text;
	facts->logger = sw_bytes_slice(tag, 0, sw_bytes_find(tag, '['));
	return sw_bytes_from(text, colon + 2);
}

struct sw_bytes sw_log_read_syslog(struct sw_bytes datagram, struct sw_log_facts *ret_facts)
{
	size_t end = sw_bytes_find(sw_bytes_slice(datagram, 0, 8), '>');
	struct sw_bytes text = datagram;
	unsigned priority;

	*ret_facts = (struct sw_log_facts){.layout = NULL};
	if (!datagram.len || datagram.at[0] != '<' || end >= SW_MIN(datagram.len, 8) ||
	    !digits(sw_bytes_slice(datagram, 1, end), 3, &priority))
		return datagram;
	ret_facts->layout = "syslog";
	set_severity(priority, ret_facts);
	text = sw_bytes_from(datagram, end + 1);
	/* "Nov 21 20:00:00 ": of the old format, always that long */
	if (text.len > 16 && text.at[3] == ' ' && text.at[6] == ' ' && text.at[9] == ':' &&
	    text.at[12] == ':' && text.at[15] == ' ')
		text = sw_bytes_from(text, 16);
	while (text.len && (text.at[text.len - 1] == '\0' || text.at[text.len - 1] == '\n'))
		text.len--;
	return without_tag(text, ret_facts);
}

/* The next field. False: there is no whole one. */
static bool next_field(struct sw_bytes *left, struct sw_bytes *ret_name, struct sw_bytes *ret_value)
{
	size_t end = sw_bytes_find(*left, '\n');
	struct sw_bytes line = sw_bytes_slice(*left, 0, end);
	size_t equals = sw_bytes_find(line, '=');
	uint64_t len;

	if (equals < line.len) {
		*ret_name = sw_bytes_slice(line, 0, equals);
		*ret_value = sw_bytes_from(line, equals + 1);
		*left = sw_bytes_from(*left, end + 1);
		return true;
	}
	*left = sw_bytes_from(*left, end + 1);
	if (left->len < sizeof(len))
		return false;
	memcpy(&len, left->at, sizeof(len)); /* little-endian, as the machines that we know */
	*left = sw_bytes_from(*left, sizeof(len));
	if (len > left->len)
		return false;
	*ret_name = line;
	*ret_value = sw_bytes_slice(*left, 0, len);
	*left = sw_bytes_from(*left, len + 1);
	return true;
}

struct sw_bytes sw_log_read_journal(struct sw_bytes datagram, struct sw_log_facts *ret_facts)
{
	struct sw_bytes left = datagram, name, value, message = sw_bytes(NULL, 0), tag = message;
	unsigned priority;

	*ret_facts = (struct sw_log_facts){.layout = "journal"};
	while (left.len && next_field(&left, &name, &value)) {
		bool is_name = value.len <= SW_FACT_MAX;

		if (sw_bytes_equal(name, SW_BYTES("MESSAGE")))
			message = value;
		else if (sw_bytes_equal(name, SW_BYTES("PRIORITY")) && digits(value, 1, &priority))
			set_severity(priority, ret_facts);
		else if (is_name && sw_bytes_equal(name, SW_BYTES("LOGGER")))
			ret_facts->logger = value;
		else if (is_name && sw_bytes_equal(name, SW_BYTES("SYSLOG_IDENTIFIER")))
			tag = value;
		else if (is_name && sw_bytes_equal(name, SW_BYTES("THREAD_NAME")))
			ret_facts->thread = value;
	}
	if (!ret_facts->logger.len)
		ret_facts->logger = tag;
	return message;
}
