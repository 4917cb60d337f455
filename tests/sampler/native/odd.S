/*
 * Functions whose unwind rows compilers do not write, made by hand; x86-64. Each gets a function
 * in rdi and a number in rsi, and calls function(number); those of the second kind call nothing
 * and turn round rsi times. See odd.h.
 */
	.text

	.macro BEGIN name
	.globl \name
	.type \name, @function
	.p2align 4
\name:
	.cfi_startproc
	endbr64
	.endm

	.macro END name
	.cfi_endproc
	.size \name, . - \name
	.endm

	.macro GO
	mov %rdi, %rax
	mov %rsi, %rdi
	call *%rax
	.endm

/* sp as it was lies on the stack, as in OpenSSL: CFA = *(rsp + 40) + 8. */
	BEGIN odd_sp_at
	mov %rsp, %rax
	.cfi_def_cfa_register %rax
	push %rbp
	.cfi_offset %rbp, -16
	sub $64, %rsp
	and $-64, %rsp
	mov %rax, 40(%rsp)
	.cfi_escape 0x0f, 5, 0x77, 40, 0x06, 0x23, 8
	xor %ebp, %ebp
	GO
	mov 40(%rsp), %rsi
	.cfi_def_cfa %rsi, 8
	mov -8(%rsi), %rbp
	.cfi_restore %rbp
	lea (%rsi), %rsp
	.cfi_def_cfa_register %rsp
	ret
	END odd_sp_at

/* By rbx, which others keep: the loader's lazy binding. */
	BEGIN odd_rbx
	push %rbx
	.cfi_adjust_cfa_offset 8
	.cfi_offset %rbx, -16
	mov %rsp, %rbx
	.cfi_def_cfa_register %rbx
	sub $128, %rsp
	and $-64, %rsp
	GO
	mov %rbx, %rsp
	.cfi_def_cfa_register %rsp
	pop %rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore %rbx
	ret
	END odd_rbx

/* CFA = r12 + 2 * 8; rbp lies at CFA - 24 by an expression, and was overwritten. */
	BEGIN odd_expression
	push %r12
	.cfi_adjust_cfa_offset 8
	.cfi_offset %r12, -16
	mov %rsp, %r12
	push %rbp
	.cfi_escape 0x0f, 6, 0x7c, 0, 0x32, 0x38, 0x1e, 0x22
	.cfi_escape 0x10, 6, 2, 0x48, 0x1c
	sub $136, %rsp
	and $-64, %rsp
	mov $7, %ebp
	GO
	lea -8(%r12), %rsp
	pop %rbp
	.cfi_restore %rbp
	.cfi_def_cfa %rsp, 16
	pop %r12
	.cfi_adjust_cfa_offset -8
	.cfi_restore %r12
	ret
	END odd_expression

/* CFA = r12 + 64. */
	BEGIN odd_val_offset
	push %r12
	.cfi_adjust_cfa_offset 8
	.cfi_offset %r12, -16
	push %rbp
	.cfi_adjust_cfa_offset 8
	.cfi_offset %rbp, -24
	sub $72, %rsp
	.cfi_adjust_cfa_offset 72
	lea 32(%rsp), %r12
	.cfi_def_cfa %r12, 64
	xor %ebp, %ebp
	sub $16, %rsp
	call odd_val_offset_inner
	add $88, %rsp
	.cfi_def_cfa %rsp, 24
	pop %rbp
	.cfi_adjust_cfa_offset -8
	.cfi_restore %rbp
	pop %r12
	.cfi_adjust_cfa_offset -8
	.cfi_restore %r12
	ret
	END odd_val_offset

/* It gives r12 another value, by which it finds its own frame, and says what its caller's was, not
 * where: CFA + 48 (DW_CFA_val_offset_sf). */
	BEGIN odd_val_offset_inner
	sub $8, %rsp
	.cfi_adjust_cfa_offset 8
	mov %rsp, %r12
	.cfi_escape 0x0f, 4, 0x7c, 0, 0x40, 0x22
	.cfi_escape 0x15, 12, 0x7a
	GO
	add $8, %rsp
	.cfi_def_cfa %rsp, 8
	lea 56(%rsp), %r12
	.cfi_same_value %r12
	ret
	END odd_val_offset_inner

/* The return address is in rcx while it turns. */
	BEGIN odd_ra_in_rcx
	pop %rcx
	.cfi_adjust_cfa_offset -8
	.cfi_register %rip, %rcx
1:	dec %rsi
	jnz 1b
	push %rcx
	.cfi_adjust_cfa_offset 8
	.cfi_offset %rip, -8
	ret
	END odd_ra_in_rcx

/* The frame is found by rax, in the innermost function. */
	BEGIN odd_rax
	mov %rsp, %rax
	.cfi_def_cfa_register %rax
	sub $200, %rsp
	and $-64, %rsp
1:	dec %rsi
	jnz 1b
	mov %rax, %rsp
	.cfi_def_cfa_register %rsp
	ret
	END odd_rax

	.section .note.GNU-stack, "", @progbits
