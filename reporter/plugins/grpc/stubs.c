/*
 * What Debian's libgrpc.a wants of RE2: for matching in rules that come from an xDS server, which
 * no channel of ours asks for. Who gets here gives up as C core itself does. RE2 instead would be
 * another archive that is not made for shared objects.
 */
#include <stdlib.h>

#define STUB(function, name)                                                                       \
	void function(void) __asm__(name);                                                         \
	void function(void)                                                                        \
	{                                                                                          \
		abort();                                                                           \
	}

STUB(sw_re2_match, "_ZN3re23RE210FullMatchNERKNS_11StringPieceERKS0_PKPKNS0_3ArgEi")
STUB(sw_re2_replace, "_ZN3re23RE213GlobalReplaceEPNSt7__cxx1112basic_stringIcSt11char_"
		     "traitsIcESaIcEEERKS0_RKNS_11StringPieceE")
STUB(sw_re2_of_piece, "_ZN3re23RE2C1ERKNS_11StringPieceERKNS0_7OptionsE")
STUB(sw_re2_of_string, "_ZN3re23RE2C1ERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE")
STUB(sw_re2_end, "_ZN3re23RE2D1Ev")

/*
 * Functions that would prepare thread-local variables, which need no preparation: the compiler asks
 * for them all the same, by names that the program's own copy of C core may have.
 */
#define UNPREPARED(function, name)                                                                 \
	void function(void) __asm__(name);                                                         \
	void function(void)                                                                        \
	{                                                                                          \
	}

UNPREPARED(sw_cordz_next, "_ZTHN4absl7debian313cord_internal17cordz_next_sampleE")
UNPREPARED(sw_callbacks, "_ZTHN9grpc_core26ApplicationCallbackExecCtx18callback_exec_ctx_E")
UNPREPARED(sw_exec_ctx, "_ZTHN9grpc_core7ExecCtx9exec_ctx_E")
UNPREPARED(sw_activity, "_ZTHN9grpc_core8Activity19g_current_activity_E")
