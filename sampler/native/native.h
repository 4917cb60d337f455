/*
 * Native stacks: from registers and a copy of a piece of a thread's stack to the functions that
 * stand on it, by the unwind tables (.eh_frame) that every library carries, and what those
 * functions are called, by symbols and lines on this machine.
 *
 * One thread of ours at a time (sw_native_take), never in a signal handler, never a thread of the
 * program's: the list of libraries is asked for under the loader's lock. No allocation but whole
 * mappings, no other lock, and the program's memory is read by the kernel's answers, never by a
 * load: a file that was cut short under its mapping, or unwind tables that are nonsense, end a
 * stack early and nothing else. Files are opened to read symbols; the calling thread should have a
 * descriptor table of its own (preload/fds.h), as numbers are seen by the program otherwise.
 *
 * What cannot be told is left out and marked: a stack is `cut`, a name is empty.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "preload/bytes.h"

#define SW_NATIVE_MAX 384 /* frames of one stack; the innermost are kept */

#define SW_NATIVE_REGISTERS 32

struct sw_native_registers {
	uint64_t pc, sp;
	uint64_t fp; /* rbp, x29 */
	uint64_t lr; /* x30; r10, by which functions that align their stack begin and end */
	/* fp and lr are what the thread has; false: only pc and sp are known, as of a thread that
	 * stands in a system call (/proc/self/task/TID/syscall). */
	bool all;
	/* Those of the machine, by DWARF's numbers. Borrowed; NULL: not known. */
	const uint64_t *others;
};

/* A copy of the thread's stack from `at` (its sp, or below) up. */
struct sw_native_piece {
	const void *bytes; /* Borrowed; any alignment */
	uint64_t at;
	size_t len;
};

enum sw_native_end {
	SW_NATIVE_WHOLE,   /* reached the first function of the thread */
	SW_NATIVE_DEEP,	   /* more than SW_NATIVE_MAX */
	SW_NATIVE_SHORT,   /* the piece ends; or it is another stack's from here on */
	SW_NATIVE_NOWHERE, /* a pc that is of no library, or of a function without unwind rows */
	SW_NATIVE_NO_FP,   /* the row needs fp or another register, which is not known */
	SW_NATIVE_ODD,	   /* a row that ours cannot express, or one that leads nowhere */
};

struct sw_native_stack {
	uint32_t count;		/* innermost first */
	enum sw_native_end end; /* all but WHOLE: the outermost are missing */
	uint64_t pc[SW_NATIVE_MAX];
};

static inline bool sw_native_is_cut(const struct sw_native_stack *stack)
{
	return stack->end != SW_NATIVE_WHOLE;
}

/* Whoever uses what is here takes it first: the sampler while it is there, or the reporter's thread
 * for a moment. False: another thread has it. delicate: called around what takes the loader's lock,
 * with true and with false; NULL: nobody needs to know. */
bool sw_native_take(void (*delicate)(bool delicate));
void sw_native_give(void);

/* Once before the stacks of a tick are unwound: which libraries there are. 20 ns where none came or
 * went; else all are listed (under the loader's lock, some 100 ns each) and what was known of those
 * that went is dropped. False: no memory; then nothing is known. */
bool sw_native_refresh(void);

/* The pcs of a stack that was copied at `taken_ns` (CLOCK_MONOTONIC), after sw_native_refresh: the
 * innermost as it is, those of callers moved back into their call. Some 7 ns a frame, and 1 to 2 us
 * for each that was not met before. None, where the library of the innermost has gone meanwhile. */
void sw_native_unwind(const struct sw_native_registers *from, const struct sw_native_piece *piece,
		      uint64_t taken_ns, struct sw_native_stack *ret_stack);

/* What is called so at a pc of sw_native_unwind's. */
struct sw_native_name {
	struct sw_bytes library; /* the file's name without its folder: "libc.so.6" */
	struct sw_bytes symbol;	 /* as the compiler wrote it (demangle.h); empty: not known */
	uint64_t offset;	 /* from the symbol; without one, from the beginning of the file */
	/* Of the instruction where it is the function's own, else of the last instruction before it
	 * that is: what was inlined from another file has that file's. Empty and 0: no debug
	 * information on this machine, or it is compressed in a way that we cannot read. */
	struct sw_bytes file; /* its path as the compiler was given it, or the end of it */
	uint32_t line;
};

/* The texts are good until the next call of any function here. The pc must be of a stack that was
 * unwound since the last sw_native_refresh: later it may be another library's. False: of no
 * library. The first of a library reads its symbols (some ms for big ones), and the first with
 * lines its lines; a caller keeps what it is told. */
bool sw_native_name(uint64_t pc, struct sw_native_name *ret_name);

/* The range of the function that begins at `address`, by its symbol. */
bool sw_native_function(uint64_t address, uint64_t *ret_end);

/* The entry of the unwind tables that `pc` lies in: a function, or a part of one that the compiler
 * has put elsewhere. */
bool sw_native_part(uint64_t pc, uint64_t *ret_from, uint64_t *ret_to);

/* Where a library lies whose file's name begins so; the first one. */
bool sw_native_library(struct sw_bytes beginning, uint64_t *ret_from, uint64_t *ret_to);

/* Another number each time that libraries came or went; 0: never listed. */
unsigned sw_native_changes(void);

/* What is mapped for names is given back; rows stay. */
void sw_native_forget_names(void);

/* In the child of a fork, where a thread of ours may have stood anywhere in here. */
void sw_native_forked(void);
