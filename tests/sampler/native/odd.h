/* Functions with odd unwind rows; see odd.S. */
#pragma once

typedef void odd_called(unsigned long number);
typedef void odd_called_by(odd_called *function, unsigned long number);

odd_called_by odd_sp_at, odd_rbx, odd_expression, odd_val_offset, odd_ra_in_rcx, odd_rax;
