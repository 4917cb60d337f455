/*
 * What a program writes by stdio. libc's own writes go past all hooks, so bytes are taken when they
 * are handed to stdio, which is also the moment that tells whose request they are for; a buffer may
 * be written out much later. What was not accepted (an error, a stream of wide characters) is not
 * taken.
 *
 * Formatted text: where the program has one thread, and the buffer has grown by just as many bytes
 * as were printed, these are they. Otherwise the text is formatted once more, after the call and
 * into a buffer of ours: nobody else's bytes can be mistaken for it, and the program's call is as
 * it was.
 *
 * The checks that come first are two loads: most programs are not captured.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "hooks/flow.h"
#include "hooks/log.h"
#include "preload/exports.h"
#include "preload/fds.h"
#include "preload/process.h"

/* libc's: a stream that has a descriptor (those of memory and cookies have not). */
#define IS_FILE 0x2000

/* The entry of what a FILE writes to, 0: not captured. */
static uint32_t entry_of(const FILE *file)
{
	if (!(file->_flags & IS_FILE) || file->_fileno < 0 || !atomic_load(&sw_armed))
		return 0;
	return sw_log_entry(file->_fileno);
}

/* The hot half of a hook: where nothing is captured it needs no stack frame. The other half is the
 * function captured_NAME. */
#define HOOK(type, name, params, args)                                                             \
	static __attribute__((noinline)) type captured_##name params;                              \
	type sw_plain_##name params                                                                \
	{                                                                                          \
		if (!sw_log_active())                                                              \
			return sw_real.name args;                                                  \
		return captured_##name args;                                                       \
	}                                                                                          \
	static type captured_##name params

/* ---- bytes that are known ---- */

static void wrote(uint32_t entry, const void *at, size_t len, bool line_end)
{
	struct iovec iov[] = {{(void *)(uintptr_t)at, len}, {(void *)(uintptr_t) "\n", line_end}};
	struct sw_guest *g = sw_guest_enter();

	if (!g) {
		sw_log_unseen(entry);
		return;
	}
	sw_log_wrote(g, entry, iov, 2, (ssize_t)(len + line_end));
	sw_guest_leave(g);
}

#define FWRITE(name)                                                                               \
	HOOK(size_t, name, (const void *at, size_t size, size_t count, FILE *file),                \
	     (at, size, count, file))                                                              \
	{                                                                                          \
		/* Of nothing libc does not even look at the stream. */                            \
		uint32_t entry = size && count ? entry_of(file) : 0;                               \
		size_t done;                                                                       \
                                                                                                   \
		if (!entry)                                                                        \
			return sw_real.name(at, size, count, file);                                \
		done = sw_real.name(at, size, count, file);                                        \
		if (done)                                                                          \
			wrote(entry, at, done *size, false);                                       \
		return done;                                                                       \
	}

FWRITE(fwrite)
FWRITE(fwrite_unlocked)

#define FPUTS(name)                                                                                \
	HOOK(int, name, (const char *text, FILE *file), (text, file))                              \
	{                                                                                          \
		uint32_t entry = entry_of(file);                                                   \
		int result;                                                                        \
                                                                                                   \
		if (!entry)                                                                        \
			return sw_real.name(text, file);                                           \
		result = sw_real.name(text, file);                                                 \
		if (result >= 0)                                                                   \
			wrote(entry, text, strlen(text), false);                                   \
		return result;                                                                     \
	}

FPUTS(fputs)
FPUTS(fputs_unlocked)

HOOK(int, puts, (const char *text), (text))
{
	uint32_t entry = entry_of(stdout);
	int result;

	if (!entry)
		return sw_real.puts(text);
	result = sw_real.puts(text);
	if (result >= 0)
		wrote(entry, text, strlen(text), true);
	return result;
}

static void wrote_char(uint32_t entry, int c)
{
	struct sw_guest *g = sw_guest_enter();

	if (!g) {
		sw_log_unseen(entry);
		return;
	}
	sw_log_char(g, entry, (uint8_t)c);
	sw_guest_leave(g);
}

#define PUTC(name)                                                                                 \
	HOOK(int, name, (int c, FILE *file), (c, file))                                            \
	{                                                                                          \
		uint32_t entry = entry_of(file);                                                   \
		int result;                                                                        \
                                                                                                   \
		if (!entry)                                                                        \
			return sw_real.name(c, file);                                              \
		result = sw_real.name(c, file);                                                    \
		if (result != EOF)                                                                 \
			wrote_char(entry, c);                                                      \
		return result;                                                                     \
	}

PUTC(fputc)
PUTC(fputc_unlocked)
PUTC(putc)
PUTC(_IO_putc)
PUTC(putc_unlocked)

#define PUTCHAR(name)                                                                              \
	HOOK(int, name, (int c), (c))                                                              \
	{                                                                                          \
		uint32_t entry = entry_of(stdout);                                                 \
		int result;                                                                        \
                                                                                                   \
		if (!entry)                                                                        \
			return sw_real.name(c);                                                    \
		result = sw_real.name(c);                                                          \
		if (result != EOF)                                                                 \
			wrote_char(entry, c);                                                      \
		return result;                                                                     \
	}

PUTCHAR(putchar)
PUTCHAR(putchar_unlocked)

/* Apart: its memory is not to lie below libc's on a small stack. */
static __attribute__((noinline)) void wrote_error(uint32_t entry, const char *text, int error)
{
	struct sw_guest *g;
	int after = errno;
	char room[128];
	const char *what;

	what = strerror_r(error, room, sizeof(room));
	errno = after;
	g = stderr->_mode <= 0 ? sw_guest_enter() : NULL;
	if (g) {
		size_t name = text ? strlen(text) : 0, len = strlen(what);
		struct iovec iov[] = {{(void *)(uintptr_t)text, name},
				      {(void *)(uintptr_t) ": ", name ? 2 : 0},
				      {(void *)(uintptr_t)what, len},
				      {(void *)(uintptr_t) "\n", 1}};

		sw_log_wrote(g, entry, iov, 4, (ssize_t)(name + (name ? 2 : 0) + len + 1));
		sw_guest_leave(g);
	}
}

void sw_plain_perror(const char *text)
{
	uint32_t entry = sw_log_active() ? entry_of(stderr) : 0;
	int error = errno;

	sw_real.perror(text);
	if (entry)
		wrote_error(entry, text, error);
}

/* ---- formatted text ---- */

/* The program has functions of its own that print (register_printf_*). */
static _Atomic bool own_specifiers;

int sw_plain_register_printf_specifier(int spec, printf_function *print,
				       printf_arginfo_size_function *arginfo)
{
	atomic_store(&own_specifiers, true);
	return sw_real.register_printf_specifier(spec, print, arginfo);
}

int sw_plain_register_printf_function(int spec, printf_function *print,
				      printf_arginfo_function *arginfo)
{
	atomic_store(&own_specifiers, true);
	return sw_real.register_printf_function(spec, print, arginfo);
}

int sw_plain_register_printf_modifier(const wchar_t *text)
{
	atomic_store(&own_specifiers, true);
	return sw_real.register_printf_modifier(text);
}

/* Not in the memory of who waits for a vfork; and such functions would be called twice. */
bool sw_stdio_formats_again(void)
{
	return !sw_guest_hidden() && !atomic_load(&own_specifiers);
}

/* How a buffer stood before a call. */
struct before {
	const char *base, *at;
	int error;
};

/* Formats into a buffer of the pool. NULL: none was free, or it says something else by now. */
static char *format_again(const char *format, va_list list, int error, int len, uint32_t *ret_slot)
{
	int64_t slot = sw_pool_take(&sw_log_texts);
	int after = errno, again;
	char *text;

	if (slot < 0)
		return NULL;
	text = sw_pool_item(&sw_log_texts, (uint32_t)slot);
	errno = error; /* %m */
	again = vsnprintf(text, SW_LOG_TEXT_MAX, format, list);
	errno = after;
	if (again == len || len < 0) {
		*ret_slot = (uint32_t)slot;
		return text;
	}
	sw_pool_give(&sw_log_texts, (uint32_t)slot);
	return NULL;
}

static void wrote_formatted(uint32_t entry, struct sw_bytes text, size_t len)
{
	struct sw_guest *g = sw_guest_enter();

	if (!g) {
		sw_log_unseen(entry);
		return;
	}
	sw_log_formatted(g, entry, text, len);
	sw_guest_leave(g);
}

static void again_and_wrote(uint32_t entry, const char *format, va_list list, int error, int len)
{
	uint32_t slot;
	char *text = NULL;

	if (sw_stdio_formats_again())
		text = format_again(format, list, error, len, &slot);
	if (!text) {
		sw_log_unseen(entry);
		return;
	}
	wrote_formatted(entry, sw_bytes(text, SW_MIN((size_t)len, SW_LOG_TEXT_MAX - 1)),
			(size_t)len);
	sw_pool_give(&sw_log_texts, slot);
}

/* The bytes that were just printed, where the buffer shows them beyond doubt, else NULL. */
static const char *grown(const FILE *file, const struct before *before, int len)
{
	const char *base = file->_IO_write_base, *at = file->_IO_write_ptr;

	if (atomic_load_explicit(&sw_process_threads, memory_order_relaxed))
		return NULL;
	if (base == before->base && at == before->at + len)
		return before->at;
	return NULL;
}

int sw_stdio_vfprintf(FILE *file, int flag, const char *format, va_list list)
{
	uint32_t entry = sw_log_active() ? entry_of(file) : 0;
	struct before before;
	const char *text;
	va_list copy;
	int len;

	if (!entry)
		return flag < 0 ? sw_real.vfprintf(file, format, list)
				: sw_real.__vfprintf_chk(file, flag, format, list);
	before = (struct before){file->_IO_write_base, file->_IO_write_ptr, errno};
	va_copy(copy, list);
	len = flag < 0 ? sw_real.vfprintf(file, format, list)
		       : sw_real.__vfprintf_chk(file, flag, format, list);
	text = len > 0 ? grown(file, &before, len) : NULL;
	if (text)
		wrote_formatted(entry, sw_bytes(text, (size_t)len), (size_t)len);
	else if (len > 0)
		again_and_wrote(entry, format, copy, before.error, len);
	va_end(copy);
	return len;
}

int sw_stdio_vdprintf(int fd, int flag, const char *format, va_list list)
{
	uint32_t entry = sw_log_active() ? sw_log_entry(fd) : 0;
	int error = errno, len;
	va_list copy;

	if (!entry)
		return flag < 0 ? sw_real.vdprintf(fd, format, list)
				: sw_real.__vdprintf_chk(fd, flag, format, list);
	va_copy(copy, list);
	len = flag < 0 ? sw_real.vdprintf(fd, format, list)
		       : sw_real.__vdprintf_chk(fd, flag, format, list);
	if (len > 0)
		again_and_wrote(entry, format, copy, error, len);
	va_end(copy);
	return len;
}

int sw_plain_vfprintf(FILE *file, const char *format, va_list list)
{
	return sw_stdio_vfprintf(file, -1, format, list);
}

int sw_plain___vfprintf_chk(FILE *file, int flag, const char *format, va_list list)
{
	return sw_stdio_vfprintf(file, flag & INT_MAX, format, list);
}

int sw_plain_vprintf(const char *format, va_list list)
{
	return sw_stdio_vfprintf(stdout, -1, format, list);
}

int sw_plain___vprintf_chk(int flag, const char *format, va_list list)
{
	return sw_stdio_vfprintf(stdout, flag & INT_MAX, format, list);
}

int sw_plain_vdprintf(int fd, const char *format, va_list list)
{
	return sw_stdio_vdprintf(fd, -1, format, list);
}

int sw_plain___vdprintf_chk(int fd, int flag, const char *format, va_list list)
{
	return sw_stdio_vdprintf(fd, flag & INT_MAX, format, list);
}

/* ---- the end of a stream ---- */

int sw_plain_fclose(FILE *file)
{
	struct sw_guest *g;

	/* Before the call: the number may be another thread's the moment it is free. What stdio has
	 * said on a conversation the kernel has counted, but for what it still holds. */
	if (file && (file->_flags & IS_FILE) && file->_fileno >= 0 &&
	    (sw_fd_entry(file->_fileno) & (SW_FD_TALK | SW_FD_LOG)) && (g = sw_guest_enter())) {
		if (file->_IO_write_ptr > file->_IO_write_base)
			sw_flow_replaced(g, file->_fileno);
		else
			sw_flow_closed(g, file->_fileno);
		sw_guest_leave(g);
	}
	return sw_real.fclose(file);
}
