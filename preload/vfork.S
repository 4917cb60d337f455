/*
 * vfork(2) under another name than libc's.
 *
 * The child runs on the caller's stack and in its memory, and the call returns twice, so no C
 * function may stand between: the return address would be overwritten by the child. It is kept in
 * a register across the system call, as libc does. While the child lives, sw_guest_vfork of this
 * thread is set and every hook passes straight through without writing (pitfall 22); the parent,
 * which the kernel suspends until then, clears it.
 */
	.text
	.globl	vfork
	.type	vfork, %function
#if defined(__x86_64__)
	.p2align 4
vfork:
	.cfi_startproc
	endbr64
	movq	sw_guest_vfork@gottpoff(%rip), %rdx
	movl	$1, %fs:(%rdx)
	popq	%rdi			/* survives the system call; %rcx and %r11 do not */
	.cfi_adjust_cfa_offset -8
	.cfi_register %rip, %rdi
	movl	$58, %eax		/* SYS_vfork */
	syscall
	pushq	%rdi
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %rip, 0
	testq	%rax, %rax
	je	1f			/* the child keeps the mark */
	movl	$0, %fs:(%rdx)
	cmpq	$-4095, %rax
	jb	1f
	pushq	%rax			/* also aligns the stack for the call */
	.cfi_adjust_cfa_offset 8
	call	__errno_location@plt
	popq	%rdx
	.cfi_adjust_cfa_offset -8
	negl	%edx
	movl	%edx, (%rax)
	movq	$-1, %rax
1:	ret
	.cfi_endproc
#elif defined(__aarch64__)
	.p2align 4
vfork:
	.cfi_startproc
	bti	c
	mrs	x9, tpidr_el0
	adrp	x10, :gottprel:sw_guest_vfork
	ldr	x10, [x10, :gottprel_lo12:sw_guest_vfork]
	add	x9, x9, x10
	mov	w11, #1
	str	w11, [x9]
	mov	x0, #0x4111		/* CLONE_VM | CLONE_VFORK | SIGCHLD */
	mov	x1, #0
	mov	x2, #0
	mov	x3, #0
	mov	x4, #0
	mov	x8, #220		/* SYS_clone */
	svc	#0
	cbz	x0, 1f
	str	wzr, [x9]
	cmn	x0, #4095
	b.lo	1f
	stp	x29, x30, [sp, #-32]!
	.cfi_adjust_cfa_offset 32
	.cfi_rel_offset x29, 0
	.cfi_rel_offset x30, 8
	neg	w0, w0
	str	w0, [sp, #16]
	bl	__errno_location
	ldr	w1, [sp, #16]
	str	w1, [x0]
	ldp	x29, x30, [sp], #32
	.cfi_adjust_cfa_offset -32
	.cfi_restore x29
	.cfi_restore x30
	mov	x0, #-1
1:	ret
	.cfi_endproc
#else
#error "no vfork for this architecture"
#endif
	.size	vfork, .-vfork
	.section .note.GNU-stack,"",%progbits
