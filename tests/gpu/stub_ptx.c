/* stub_ptx.c: in place of src/gpu/ptx.c where the fake driver is tested: it looks at the head of a text only, so the
 * tests need no compiler for PTX. */
#include "gpu/ptx.h"

#include <stddef.h>

const char *b2_ptx_find(int capability) {
    if (capability < 61) return NULL;
    return capability >= 80   ? ".version 7.0\n.target sm_80\n"
           : capability >= 75 ? ".version 6.5\n.target sm_75\n"
                              : ".version 6.0\n.target sm_61\n";
}
