/* ptx.c: see ptx.h. The texts are made by `make` (build/embedded/gpu) and read in by the assembler. */
#include "gpu/ptx.h"

#include <stddef.h>

#ifdef B2_HAVE_PTX
#define TEXT(n)                                                                                                        \
    extern const char b2_ptx_##n[];                                                                                    \
    __asm__(".section .rodata\n.hidden b2_ptx_" #n "\n.globl b2_ptx_" #n "\nb2_ptx_" #n ":\n.incbin \"" B2_HAVE_PTX    \
            "/kernels_" #n ".ptx\"\n.byte 0\n.previous\n");
TEXT(61)
TEXT(75)
TEXT(80)
#else
static const char b2_ptx_61[] = "", b2_ptx_75[] = "", b2_ptx_80[] = "";
#endif

const char *b2_ptx_find(int capability) {
    return capability >= 80 ? b2_ptx_80 : capability >= 75 ? b2_ptx_75 : capability >= 61 ? b2_ptx_61 : NULL;
}
