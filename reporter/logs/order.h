/*
 * Log records in the order of their streams. Rings are not ordered among each other: what a thread
 * put later may be drained first. Our thread only.
 */
#pragma once

#include "preload/record.h"

struct sw_log_order;

/* `take` gets each record, good until it returns. `gap`: what came before the next record of this
 * stream was lost. NULL: no memory. */
struct sw_log_order *sw_log_order_new(void (*take)(void *arg, const struct sw_record_log *record),
				      void (*gap)(void *arg, uint32_t stream), void *arg);
struct sw_log_order *sw_log_order_free(struct sw_log_order *order);

/* One record, borrowed: handed on now, or kept until those before it have come. */
void sw_log_order_take(struct sw_log_order *order, const struct sw_record_log *record);

/* The rings were drained once more. What has waited for two drains, or with `all` anything, waits
 * no longer: what is missing was lost. */
void sw_log_order_turn(struct sw_log_order *order, bool all);

/* Is anything kept? */
bool sw_log_order_waiting(const struct sw_log_order *order);
