/*
 * Writes examples/oap/ from reporter/meters.def: rules by which an OAP keeps our meters, and a
 * dashboard of them. Both follow from a row's type and labels, so that a meter without either
 * cannot be. Names that begin with instance_pvm_ are not ours: an OAP has rules and widgets for
 * them.
 *
 * An OAP takes time as increase per minute, and of a histogram percentiles; all that is kept are
 * whole numbers.
 */
#include "docs/oap.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "preload/bytes.h"

#define ACROSS 3 /* widgets in a row of the dashboard, which has 24 columns */
#define HEIGHT 13

static const struct meter {
	const char *name, *type, *unit, *labels, *doc;
} meters[] = {
#define SW_METER(id, name, type, unit, labels, doc) {name, #type, unit, labels, doc},
#include "reporter/meters.def"
#undef SW_METER
};

static bool is_ours(const struct meter *meter)
{
	return strncmp(meter->name, "swagent_", 8) == 0;
}

static bool is_a(const struct meter *meter, const char *type)
{
	return strcmp(meter->type, type) == 0;
}

/* ---- rules ---- */

static void print_sum(FILE *out, const struct meter *meter)
{
	fprintf(out, "%s.sum([%s'service', 'instance'", meter->name,
		is_a(meter, "HISTOGRAM") ? "'le', " : "");
	for (const char *at = meter->labels; *at;) {
		size_t len = strcspn(at, ",");

		fprintf(out, ", '%.*s'", (int)len, at);
		at += len + (at[len] == ',');
	}
	fputs("])", out);
}

static void print_rule(FILE *out, const struct meter *meter)
{
	fprintf(out, "  # %s\n  - name: %s\n    exp: ", meter->doc, meter->name);
	print_sum(out, meter);
	if (!is_a(meter, "GAUGE"))
		fputs(".increase('PT1M')", out);
	if (is_a(meter, "HISTOGRAM"))
		fputs(".histogram().histogram_percentile([50,75,90,95,99])", out);
	fputc('\n', out);
}

static void print_rules(FILE *out)
{
	fputs("# Generated from reporter/meters.def by docs/oap.c. Do not edit.\n"
	      "#\n"
	      "# Rules for meters of libswagent. Into the folder meter-analyzer-config of an OAP, "
	      "and "
	      "its name,\n"
	      "# swagent, into SW_METER_ANALYZER_ACTIVE_FILES (docs/metrics.md). What arrives as "
	      "swagent_X is kept\n"
	      "# for each instance as meter_swagent_X; what only grows, as its increase in a "
	      "minute.\n"
	      "expSuffix: instance(['service'], ['instance'], Layer.GENERAL)\n"
	      "metricPrefix: meter\n"
	      "metricsRules:\n",
	      out);
	for (size_t i = 0; i < SW_COUNT_OF(meters); i++) {
		if (is_ours(&meters[i]))
			print_rule(out, &meters[i]);
	}
}

/* ---- dashboard ---- */

/* As a JSON string: our tables have no letters beyond ASCII and no line ends. */
static void print_string(FILE *out, const char *text)
{
	fputc('"', out);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		fputc(*text, out);
	}
	fputc('"', out);
}

/* The name in words: without what all of them begin with. */
static void print_title(FILE *out, const struct meter *meter)
{
	char text[128];

	snprintf(text, sizeof(text), "%s%s%s%s%s", meter->name + 8,
		 meter->unit[0] || !is_a(meter, "GAUGE") ? " (" : "", meter->unit,
		 is_a(meter, "COUNTER") ? meter->unit[0] ? " / minute" : "per minute" : "",
		 meter->unit[0] || !is_a(meter, "GAUGE") ? ")" : "");
	for (char *at = text; *at; at++)
		*at = *at == '_' ? ' ' : *at;
	print_string(out, text);
}

static void print_widget(FILE *out, const struct meter *meter, unsigned n)
{
	fprintf(out,
		"%s      {\n"
		"        \"x\": %u, \"y\": %u, \"w\": %u, \"h\": %u, \"i\": \"%u\",\n"
		"        \"type\": \"Widget\",\n"
		"        \"expressions\": [\"meter_%s\"],\n"
		"        \"graph\": {\"type\": \"Line\", \"showXAxis\": true, \"showYAxis\": "
		"true},\n"
		"        \"widget\": {\"title\": ",
		n ? ",\n" : "", n % ACROSS * (24 / ACROSS), n / ACROSS * HEIGHT, 24 / ACROSS,
		HEIGHT, n, meter->name);
	print_title(out, meter);
	fputs(", \"tips\": ", out);
	print_string(out, meter->doc);
	fputs("}\n      }", out);
}

static void print_dashboard(FILE *out)
{
	unsigned n = 0;

	fputs("[\n"
	      "  {\n"
	      "    \"id\": \"General-Instance-swagent\",\n"
	      "    \"configuration\": {\n"
	      "      \"id\": \"General-Instance-swagent\",\n"
	      "      \"name\": \"General-Instance-swagent\",\n"
	      "      \"layer\": \"GENERAL\",\n"
	      "      \"entity\": \"ServiceInstance\",\n"
	      "      \"isRoot\": false,\n"
	      "      \"isDefault\": false,\n"
	      "      \"children\": [\n",
	      out);
	for (size_t i = 0; i < SW_COUNT_OF(meters); i++) {
		if (is_ours(&meters[i]))
			print_widget(out, &meters[i], n++);
	}
	fputs("\n      ]\n    }\n  }\n]\n", out);
}

/* ---- files ---- */

static int write_file(const char *directory, const char *name, void (*print)(FILE *out))
{
	char path[4096];
	FILE *out;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	out = fopen(path, "w");
	if (out)
		print(out);
	if (out && fclose(out) == 0)
		return 0;
	perror(path);
	return 1;
}

int write_oap(const char *directory)
{
	return write_file(directory, "swagent.yaml", print_rules) |
	       write_file(directory, "swagent-dashboard.json", print_dashboard);
}
